import CertsCore
import CertsCrypto
import CertsHTTP
import CertsIssuers
import CertsTesting
import Foundation
import Testing

/// That the server which tests of renewal information and profiles rely on has them.
@Suite struct ACMEToCertifierTests {
    private struct RenewalInformation: Decodable {
        struct Window: Decodable {
            let start: Date
            let end: Date
        }
        let suggestedWindow: Window
    }

    @Test func `it advertises profiles and suggests a window, which moves after a restart`() async throws {
        let directory = try TemporaryDirectory()
        var options = ACMEToCertifier.Options(
            profiles: ["shortlived": "https://ca.example.net/profiles#shortlived"], validityDays: 20,
            termsOfService: "https://ca.example.net/terms", caaIdentities: ["ca.example.net"], retryAfter: 4321)
        let server = try await ACMEToCertifier.start(in: directory, options)
        defer { server.stop() }
        let client = HTTPClient(caFile: server.caFile)
        let body = try await client.send(HTTPRequest(.get, server.directoryURL)).body
        let resources = try #require(try JSONSerialization.jsonObject(with: body) as? [String: Any])
        let meta = try #require(resources["meta"] as? [String: Any])
        #expect((meta["profiles"] as? [String: String])?.keys.sorted() == ["shortlived"])
        #expect(meta["caaIdentities"] as? [String] == ["ca.example.net"])
        #expect(meta["termsOfService"] as? String == "https://ca.example.net/terms")

        let leaf = try await issue(from: server, in: directory)
        #expect(leaf.record.lifetime == 20 * 86400)
        let renewal = try #require(resources["renewalInfo"] as? String)
        let url = "\(renewal)/\(try certificateID(leaf))"
        let first = try await client.send(HTTPRequest(.get, url))
        #expect(first.headers["Retry-After"] == "4321")
        let window = try decode(first.body)
        #expect(window.start > Date() && window.start < window.end && window.end <= leaf.record.notAfter)

        options.renewsAtOnce = true
        try await server.restart(options)
        let moved = try decode(try await client.send(HTTPRequest(.get, url)).body)
        #expect(moved.start < Date() && moved.end < window.start)
    }

    @Test func `a profile is ordered where it is advertised, and only there`() async throws {
        let scene = try await ACMEScene()
        let server = try await ACMEToCertifier.start(
            in: scene.directory, ACMEToCertifier.Options(profiles: ["short": "https://ca.example.net/short"]))
        defer { server.stop() }
        let key = try PrivateKey.generate(.ecdsaP256)
        let issuer = try scene.issuer(server) { $0.profile = .init(name: "short", isRequired: true) }
        #expect(try await issuer.chain(ACMEScene.request(key)).first.map { key.matches($0) } == true)
        let other = try scene.issuer(server) { $0.profile = .init(name: "long", isRequired: true) }
        let error = await #expect(throws: CertsError.self) {
            try await other.issue(ACMEScene.request(.generate(.ecdsaP256)))
        }
        #expect(error?.code == .issuerRefused)
        let relaxed = try scene.issuer(server) { $0.profile = .init(name: "long") }
        #expect(try await !relaxed.chain(ACMEScene.request(.generate(.ecdsaP256))).isEmpty)
    }

    /// A certificate, ordered by lego.
    private func issue(from server: ACMEToCertifier, in directory: TemporaryDirectory) async throws -> Certificate {
        let port = try LoopbackPort.reserve()
        let outcome = try await BlockingPool.network.run {
            try Tool.run(
                "env", "LEGO_CA_CERTIFICATES=\(server.caFile)", "lego", "--path", directory.path("lego"), "--server",
                server.directoryURL, "--accept-tos", "--email", "ops@example.com", "--domains", "www.example.com",
                "--http", "--http.port", "127.0.0.1:\(port)", "run")
        }
        try #require(outcome.status == 0, "\(outcome.output) \(server.output)")
        let file = directory.url.appending(path: "lego/certificates/www.example.com.crt")
        let chain = try CertificateReader.certificates(in: Data(contentsOf: file))
        #expect(chain.count == 2)
        let roots = try CertificateReader.certificates(in: Data(contentsOf: URL(filePath: server.anchorsFile)))
        #expect(chain.last?.record.issuer == roots[0].record.subject)
        return chain[0]
    }

    /// RFC 9773 §4.1.
    private func certificateID(_ leaf: Certificate) throws -> String {
        let authority = try #require(leaf.record.authorityKeyID.flatMap { Hex.decode($0) })
        let digits = leaf.record.serial
        var serial = try #require(Hex.decode(digits.count.isMultiple(of: 2) ? digits : "0\(digits)"))
        if serial[0] >= 0x80 { serial.insert(0, at: 0) }
        return [authority, serial].map {
            Data($0).base64EncodedString().replacing("+", with: "-").replacing("/", with: "_").replacing("=", with: "")
        }.joined(separator: ".")
    }

    private func decode(_ body: Data) throws -> RenewalInformation.Window {
        let decoder = JSONDecoder()
        decoder.dateDecodingStrategy = .iso8601
        return try decoder.decode(RenewalInformation.self, from: body).suggestedWindow
    }
}
