import CertsCore
import CertsCrypto
import CertsHTTP
import CertsTesting
import Foundation
import Testing

/// That the misbehaving CA behaves where nothing else is asked for (a real client gets a certificate), and misbehaves on
/// demand.
@Suite struct ScriptedCATests {
    let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory() }

    @Test func `lego gets a certificate, through refused nonces, slow validation and slow issuance`() async throws {
        var behaviour = ScriptedCA.Behaviour()
        behaviour.badNonces = 3
        behaviour.pollsBeforeValid = 1
        behaviour.pollsBeforeIssued = 1
        behaviour.termsOfService = "https://ca.example.net/terms"
        behaviour.validity = 10 * 86400
        let ca = try ScriptedCA(in: directory, alternateRoots: 2, behaviour)
        defer { ca.stop() }
        let chain = try await order(["www.example.com", "example.com"], from: ca)
        let leaf = try #require(ca.issued.first)
        #expect(chain == [leaf, ca.pki.intermediate.certificate])
        #expect(leaf.record.dnsNames.sorted() == ["example.com", "www.example.com"])
        #expect(leaf.record.lifetime == 10 * 86400)
        #expect(ca.violations == [])
        #expect(ca.requests(.newOrder).count >= 1)
        #expect(ca.requests(.challenge).filter { !$0.isPostAsGet }.count == 2)
        #expect(ca.accounts.values.sorted() == ["valid"])
        #expect(ca.authorizations == ["valid", "valid"])
    }

    @Test func `lego revokes, and the renewal window of the certificate is in its last third`() async throws {
        let ca = try ScriptedCA(in: directory)
        defer { ca.stop() }
        try await order(["www.example.com"], from: ca)
        let leaf = try #require(ca.issued.first)
        let id = try #require(ScriptedCA.certificateID(of: leaf))
        let client = HTTPClient(caFile: ca.caFile)
        let answer = try await client.send(HTTPRequest(.get, ca.url("/renewal-info/\(id)")))
        #expect(answer.headers["Retry-After"] == "21600")
        #expect(String(decoding: answer.body, as: UTF8.self).contains("suggestedWindow"))
        #expect(try await client.send(HTTPRequest(.get, ca.url("/renewal-info/AAAA.AAAA"))).status == 404)
        #expect(try await lego(ca, "revoke", ["www.example.com"]).status == 0)
        #expect(ca.revoked.keys.sorted() == [leaf.record.serial])
    }

    @Test func `a rule is for one resource and some of its calls`() async throws {
        let ca = try ScriptedCA(in: directory)
        defer { ca.stop() }
        let client = HTTPClient(caFile: ca.caFile)
        func status() async throws -> Int { try await client.send(HTTPRequest(.get, ca.directoryURL)).status }
        ca.on(.directory, calls: 2...3, .reply(.page(502)))
        ca.on(.directory, calls: 3...3, .reply(.problem("rateLimited", status: 429).retryAfter(seconds: 90)))
        var seen: [Int] = []
        for _ in 1...4 { seen.append(try await status()) }
        #expect(seen == [200, 502, 429, 200])
        ca.next(1, .directory, .reply(.redirect(to: "http://127.0.0.1:1/")))
        #expect(try await status() == 302)
        #expect(try await status() == 200)
        ca.on(.directory, .change { $0.edit { $0["newOrder"] = "http://127.0.0.1/../../etc/passwd;$(id)" } })
        let changed = try await client.send(HTTPRequest(.get, ca.directoryURL))
        #expect(String(decoding: changed.body, as: UTF8.self).contains("../../etc/passwd;$(id)"))
        ca.clearScript()
        #expect(try await status() == 200)
        #expect(ca.requests(.directory).map(\.number) == Array(1...8))
        let date = Date(timeIntervalSince1970: 784_111_777)
        #expect(ScriptedCA.Reply(503).retryAfter(date).headers[0].value == "Sun, 06 Nov 1994 08:49:37 GMT")
    }

    static let failures: [ScriptedCA.Act] = [
        .drop, .loseReply, .hang, .reply(.flood(2 << 20)),
        .change { $0.transport = .truncated(after: 10) }, .change { $0.transport = .dripping(1) },
        .change { $0.delay = 3 },
    ]

    @Test(arguments: failures)
    func `a transport that fails is seen by the client as one`(_ act: ScriptedCA.Act) async throws {
        let ca = try ScriptedCA(in: directory)
        defer { ca.stop() }
        ca.next(1, .directory, act)
        let client = HTTPClient(caFile: ca.caFile)
        let limits = HTTPRequest.Limits(deadline: .seconds(2), idle: .seconds(2))
        let error = await #expect(throws: CertsError.self) {
            try await client.send(HTTPRequest(.get, ca.directoryURL, limits: limits))
        }
        #expect(error?.code == .http)
        #expect(try await client.send(HTTPRequest(.get, ca.directoryURL, limits: limits)).status == 200)
        #expect(ca.requests(.directory).count == 2)
    }

    @Test func `what a client must not send is noted`() async throws {
        let ca = try ScriptedCA(in: directory)
        defer { ca.stop() }
        let client = HTTPClient(caFile: ca.caFile)
        let garbage = HTTPRequest(.post, ca.url("/new-order"), body: Data("{}".utf8))
        #expect(try await client.send(garbage).status == 400)
        let header = Data(#"{"alg":"none","nonce":"x","url":"\#(ca.url("/new-order"))","kid":"x"}"#.utf8)
        let encoded = header.base64EncodedString().replacing("=", with: "").replacing("+", with: "-")
            .replacing("/", with: "_")
        let unsigned = Data(#"{"protected":"\#(encoded)","payload":"","signature":""}"#.utf8)
        let headers = [(name: "Content-Type", value: "application/jose+json")]
        let answer = try await client.send(HTTPRequest(.post, ca.url("/new-order"), headers: headers, body: unsigned))
        #expect(answer.status == 400)
        #expect(ca.violations == ["a body that is no JWS: /new-order", "the algorithm none"])
        #expect(ca.requests(.newOrder).last?.message?.protected["kid"] as? String == "x")
    }

    static let lies: [(ScriptedCA.Behaviour.Issued, @Sendable ([Certificate], ScriptedCA) -> Bool)] = [
        (.names(["other.example.net"]), { chain, _ in chain[0].record.dnsNames == ["other.example.net"] }),
        (.expired, { chain, _ in chain[0].record.notAfter < Date() }),
        (.notYetValid, { chain, _ in chain[0].record.notBefore > Date() }),
        (.withRoot, { chain, ca in chain.last == ca.pki.root.certificate }),
        (.withoutIntermediate, { chain, _ in chain.count == 1 }),
    ]

    @Test(arguments: lies.indices)
    func `a certificate that is wrong`(_ index: Int) async throws {
        var behaviour = ScriptedCA.Behaviour()
        behaviour.certificate = Self.lies[index].0
        let ca = try ScriptedCA(in: directory, behaviour)
        defer { ca.stop() }
        let chain = try await order(["www.example.com"], from: ca)
        #expect(Self.lies[index].1(chain, ca))
    }

    /// What lego has on disk after it ordered a certificate.
    @discardableResult
    private func order(_ names: [String], from ca: ScriptedCA) async throws -> [Certificate] {
        let outcome = try await lego(ca, "run", names, "--no-bundle")
        try #require(outcome.status == 0, "\(outcome.output)")
        let folder = directory.url.appending(path: "lego/certificates")
        let leaf = try Data(contentsOf: folder.appending(path: "\(names[0]).crt"))
        let issuer = try Data(contentsOf: folder.appending(path: "\(names[0]).issuer.crt"))
        return try CertificateReader.certificates(in: leaf + issuer)
    }

    private func lego(
        _ ca: ScriptedCA, _ command: String, _ names: [String], _ more: String...
    ) async throws -> Tool.Outcome {
        let port = try LoopbackPort.reserve()
        let folder = directory.path("lego")
        let arguments =
            [
                "env", "LEGO_CA_CERTIFICATES=\(ca.caFile)", "lego", "--path", folder, "--server", ca.directoryURL,
                "--accept-tos", "--email", "ops@example.com", "--http", "--http.port", "127.0.0.1:\(port)",
            ] + names.flatMap { ["--domains", $0] } + [command] + more
        return try await BlockingPool.network.run { try Tool.run(arguments) }
    }
}
