import CertsCore
import CertsTesting
import Foundation
import Testing

/// What is logged: one event a stage, for people or for programs, and never a secret.
@Suite(.timeLimit(.minutes(5))) struct LogTests {
    private struct Line: Decodable {
        let at: String
        let level: String
        let message: String
        let rotation: String?
        let certificate: String?
        let step: String?
        let target: String?
        let elapsedSeconds: Double?
        let outcome: String?
    }

    private func lines(_ errors: String) throws -> [Line] {
        try errors.split(separator: "\n").map { try JSONDecoder().decode(Line.self, from: Data($0.utf8)) }
    }

    @Test func `off a terminal each stage is a JSON line with its rotation, target and time`() async throws {
        let scene = try await RotationScene.make()
        let outcome = try await scene.certs("rotate", exits: 0)
        let stages = try lines(outcome.errors).filter { $0.step != nil }
        #expect(
            stages.compactMap(\.step) == [
                "key", "request", "issue", "check", "stage", "prepare", "apply", "verify", "commit", "finished",
            ])
        #expect(Set(stages.map(\.rotation)).count == 1)
        #expect(stages.allSatisfy { $0.certificate == "messenger" && $0.elapsedSeconds != nil && $0.level == "info" })
        #expect(stages.filter { $0.step == "apply" }.map(\.target) == ["loadbalancer"])
        #expect(stages.last?.outcome == "committed")
        let id = try #require(stages.first?.rotation)
        #expect(try await scene.history().contains { $0.id == id })

        let text = try await scene.certs("rotate", "messenger", "--log-format", "text", exits: 0)
        #expect(text.errors.contains("messenger #2  verifying what loadbalancer serves"))
        #expect(!text.errors.contains("{"))
        #expect(try await scene.certs("rotate", "--log-format", "xml").status == 64)
    }

    @Test(arguments: [
        ["rotate"], ["serve"], ["status", "--log-format", "json"], ["status", "--log-format=json", "nobody"],
        ["rotate", "--no-such-option", "--log-format", "json"],
    ]) func `an error that ends a command is an event of the log, too`(_ arguments: [String]) async throws {
        struct Event: Decodable {
            let at: String
            let level: String
            let code: String
            let message: String
            let hint: String?
        }
        let directory = try TemporaryDirectory()
        let configuration = try directory.write("version: 1\ncertificates: \"none\"\nwrong: [\n", to: "certs.yml")
        let outcome = try await RotationScene.program(arguments + ["--config", configuration]).run()
        #expect(outcome.status == (arguments.contains("--no-such-option") ? 64 : 1), "\(outcome.all)")
        #expect(outcome.text.isEmpty)
        let lines = outcome.errors.split(separator: "\n")
        #expect(!lines.isEmpty)
        let events = try lines.map { try JSONDecoder().decode(Event.self, from: Data($0.utf8)) }
        #expect(events.last?.level == "error")
        #expect(events.last?.code == (outcome.status == 64 ? "usage" : "configuration.invalid"))
        #expect(events.last?.hint != nil)
        let text = try await RotationScene.program(
            ["rotate", "--log-format", "text", "--config", configuration]
        ).run()
        #expect(text.errors.hasPrefix("certs: "))
    }

    @Test func `a full log of each issuer and channel has no secret in it`() async throws {
        let macKey = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"
        let directory = try TemporaryDirectory()
        let pebble = try await Pebble.start(
            in: directory, .init(externalAccounts: ["kid-1": macKey], requiresExternalAccount: true))
        defer { pebble.stop() }
        let receiver = try TestResponder(.answers { _ in Data() })
        let server = try await blocking.run { try MailServer(.init(password: "mail-pass-phrase-1")) }
        defer { server.stop() }
        for (name, secret) in [
            ("eab", macKey), ("hook", "hook-secret-phrase-2"), ("mail", "mail-pass-phrase-1"),
        ] { chmod(try directory.write(secret, to: name), 0o600) }
        try directory.write(
            """
            version: 1
            state: ./state
            issuers:
              own: { type: self-signed }
              local: { type: local-ca, commonName: Log CA }
              ca:
                type: acme
                directory: \(pebble.directoryURL)
                caFile: \(pebble.caFile)
                acceptTerms: true
                externalAccount: { keyID: kid-1, keyFile: ./eab }
                challenge: { type: http-01, listen: "127.0.0.1:\(pebble.httpPort)", selfCheck: { address: "127.0.0.1:\(pebble.httpPort)" } }
            certificates:
              - { name: a, dnsNames: [a.example.com], issuer: own }
              - { name: b, dnsNames: [b.example.com], issuer: local, key: { algorithm: rsa-2048 } }
              - { name: c, dnsNames: [c.example.com], issuer: ca }
              - { name: d, dnsNames: [d.example.com], issuer: own, targets: [gone] }
            targets:
              - name: gone
                type: haproxy
                bundle: ./gone.pem
                reload: { method: runtime, socket: ./gone.sock }
                endpoints: [ { address: "127.0.0.1:1" } ]
            notifications:
              channels:
                - { name: hook, type: webhook, url: "\(receiver.url)", secretFile: ./hook }
                - { name: mail, type: email, server: "localhost:\(server.port)", tls: starttls, from: a@example.com, to: [b@example.com], user: certs, passwordFile: ./mail, caFile: \(server.caFile) }
            """, to: "certs.yml")
        var log = ""
        for format in ["json", "text"] {
            let outcome = try await RotationScene.program([
                "rotate", "--all", "--log-level", "trace", "--log-format", format, "--config",
                directory.path("certs.yml"),
            ]).run()
            #expect(outcome.status == 3, "d has no HAProxy, the others are issued: \(outcome.all)")
            log += outcome.text + outcome.errors
        }
        #expect(receiver.requests.count == 1)
        #expect(try server.mails().count == 1)
        #expect(log.split(separator: "\n").count > 40)

        let secrets =
            try keyLines(below: directory.path("state")) + [macKey, "hook-secret-phrase-2", "mail-pass-phrase-1"]
        #expect(secrets.count > 20, "the keys of the leaves, of the CA and of the account were found")
        for secret in secrets {
            let bytes = Data(secret.utf8)
            let forms = [secret, bytes.base64EncodedString(), bytes.map { String(format: "%02x", $0) }.joined()]
            for form in forms { #expect(!log.contains(form), "a secret is in the log") }
        }
        for key in ["BEGIN PRIVATE KEY", "BEGIN EC PRIVATE KEY", "BEGIN RSA PRIVATE KEY"] {
            #expect(!log.contains(key))
        }
        // The search finds what is there: the certificate's name stands in the log.
        #expect(log.contains("a.example.com") || log.contains("\"certificate\":\"a\""))
    }

    /// Every line of base64 of every private key in PEM.
    private func keyLines(below path: String) throws -> [String] {
        var lines: [String] = []
        for case let name as String in FileManager.default.enumerator(atPath: path) ?? .init() {
            guard let text = try? String(contentsOfFile: "\(path)/\(name)", encoding: .utf8) else { continue }
            for part in text.components(separatedBy: "PRIVATE KEY-----\n").dropFirst() {
                lines += part.split(separator: "\n").prefix { !$0.hasPrefix("-----") }.map(String.init)
            }
        }
        return lines.filter { $0.count > 15 }
    }
}
