import CertsCore
import CertsCrypto
import CertsTesting
import Foundation
import Testing

/// The way of the README: from nothing to a certificate of an ACME CA in HAProxy, the staging environment first. Pebble is
/// both CAs, and HAProxy passes its questions on by the lines that the program prints.
@Suite(.timeLimit(.minutes(3))) struct ACMEFirstCertificateTests {
    private struct CheckDocument: Decodable {
        struct Found: Decodable {
            let subject: String
            let id: String
            let message: String
        }
        let findings: [Found]
    }

    private struct Scene {
        let directory: TemporaryDirectory

        init() throws { directory = try TemporaryDirectory(prefix: "certs-e2e-readme") }
        var configuration: String { directory.path("certs.yml") }

        func certs(
            _ arguments: String..., exits status: Int32 = 0, sourceLocation: SourceLocation = #_sourceLocation
        ) async throws -> Program.Outcome {
            let run = try await Program(
                arguments: [RotationScene.executable] + arguments + ["--config", configuration]
            ).run()
            #expect(run.status == status, "\(arguments): \(run.all)", sourceLocation: sourceLocation)
            return run
        }

        /// What a person does in an editor: each text must be there.
        func edit(_ changes: [(String, String)], sourceLocation: SourceLocation = #_sourceLocation) throws {
            var text = try String(contentsOfFile: configuration, encoding: .utf8)
            for (old, new) in changes {
                #expect(text.contains(old), "not in the file: \(old)", sourceLocation: sourceLocation)
                text = text.replacingOccurrences(of: old, with: new)
            }
            try directory.write(Data(text.utf8), to: "certs.yml")
        }

        func findings(exits status: Int32 = 0) async throws -> [String] {
            let document: CheckDocument = try await certs("check", "--live", "-o", "json", exits: status).decoded()
            return document.findings.map { "\($0.subject) \($0.id)" }
        }
    }

    @Test func `every step of the README works, and is refused where an earlier one is missing`() async throws {
        let scene = try Scene()
        let pebble = try await Pebble.start(in: scene.directory)
        defer { pebble.stop() }
        let listener = try LoopbackPort.reserve()

        _ = try await scene.certs("init", "--acme")
        let first = try TestPKI().selfSigned(["www.example.com"]).bundle(chain: [])
        try FileManager.default.createDirectory(
            atPath: scene.directory.path("certs"), withIntermediateDirectories: false)
        try scene.directory.write(first, to: "certs/www.pem")
        chmod(scene.directory.path("certs/www.pem"), 0o600)
        let selfCheck = "selfCheck: { address: \"127.0.0.1:\(pebble.httpPort)\", port: \(pebble.httpPort) }"
        try scene.edit([
            ("directory: letsencrypt-staging", "directory: \(pebble.directoryURL)\n    caFile: \(pebble.caFile)"),
            ("directory: letsencrypt\n", "directory: \(pebble.directoryURL)\n    caFile: \(pebble.caFile)\n"),
            ("\"127.0.0.1:8402\" }", "\"127.0.0.1:\(listener)\", \(selfCheck) }"),
            ("/etc/haproxy/certs/", "\(scene.directory.path)/certs/"),
            ("/run/haproxy/admin.sock", scene.directory.path("admin.sock")),
        ])

        let terms = try await scene.certs("acme", "directory", "staging").text
        #expect(terms.contains("data:text/plain") || terms.contains("http"), "\(terms)")
        let rules = try await scene.certs("acme", "haproxy-rules", "staging").text
        let balancer = try await RealHAProxy.start(
            in: scene.directory, crt: [scene.directory.path("certs/www.pem")],
            global: rules.replacingOccurrences(of: "bind :", with: "bind 127.0.0.1:"))
        defer { balancer.stop() }
        try scene.edit([("127.0.0.1:443", "127.0.0.1:\(balancer.port)")])
        #expect(try await scene.findings(exits: 1).contains("staging terms-not-accepted"))
        _ = try await scene.certs("rotate", exits: 1)

        try scene.edit([("acceptTerms: false", "acceptTerms: true")])
        let before = try await scene.findings()
        #expect(before == ["letsencrypt account-missing", "staging account-missing"])
        _ = try await scene.certs("rotate", "www")
        let served = try await leaf(balancer)
        #expect(served.record.issuerCommonName?.contains("Pebble") == true)
        #expect(served.record.dnsNames.sorted() == ["example.com", "www.example.com"])
        let after = try await scene.findings()
        #expect(after == ["letsencrypt account-missing"])

        try scene.edit([("issuer: staging", "issuer: letsencrypt")])
        _ = try await scene.certs("rotate")
        #expect(try await leaf(balancer).record.sha256 != served.record.sha256, "another issuer makes it due")
    }

    @Test func `a path that leads elsewhere is found before an order is made`() async throws {
        let scene = try Scene()
        let pebble = try await Pebble.start(in: scene.directory)
        defer { pebble.stop() }
        let listener = try LoopbackPort.reserve()
        try scene.directory.write(
            Data(
                """
                version: 1
                issuers:
                  ca:
                    type: acme
                    directory: \(pebble.directoryURL)
                    caFile: \(pebble.caFile)
                    acceptTerms: true
                    challenge:
                      type: http-01
                      listen: "127.0.0.1:\(listener)"
                      selfCheck: { address: "127.0.0.1:\(pebble.httpPort)", port: \(pebble.httpPort), timeout: 1s }
                certificates:
                  - { name: www, dnsNames: [www.example.com], issuer: ca }
                """.utf8), to: "certs.yml")
        let document: CheckDocument = try await scene.certs("check", "--live", "-o", "json", exits: 1).decoded()
        #expect(document.findings.map(\.id) == ["account-missing", "challenge-path-broken"])
        #expect(document.findings.last?.message.contains("www.example.com") == true)
        #expect(pebble.orders == 0, "nothing was ordered to find that out")
    }

    private func leaf(_ balancer: RealHAProxy) async throws -> Certificate {
        try await blocking.run {
            try TLSProbe(host: "127.0.0.1", port: balancer.port, serverName: "www.example.com").run().leaf
        }
    }
}
