import CertsTesting
import Foundation
import Testing

/// The second issuer, and what is revoked: through the program, with HAProxy in front.
@Suite(.timeLimit(.minutes(10))) struct SecondIssuerTests {
    private struct History: Decodable {
        let rotations: [Rotation]

        struct Rotation: Decodable {
            let outcome: String
            let issuer: String?
            let issuerChanges: [Change]
        }

        struct Change: Decodable {
            let from: String
            let to: String
            let code: String
            let message: String
        }
    }

    @Test func `a CA that is away leads to the next one, and the history says why`() async throws {
        // Nobody listens at the port: it is ours, and bound to nothing.
        let port = try LoopbackPort.reserve()
        let scene = try await RotationScene.make(
            .init(
                issuers: """
                    away:
                        type: acme
                        directory: https://127.0.0.1:\(port)/directory
                        acceptTerms: true
                        challenge: { type: http-01, directory: DIR/certs }
                      local: { type: local-ca, commonName: Scene CA, validity: 90d }
                    """, issuer: "[away, local]"))
        try await scene.certs("rotate", "messenger", exits: 0)
        #expect(try await scene.served() == (try await scene.status().sha256))
        let history = try scene.decoded(History.self, try await scene.certs("history", "-o", "json", exits: 0))
        let rotation = try #require(history.rotations.first)
        #expect((rotation.outcome, rotation.issuer) == ("committed", "local"))
        let change = try #require(rotation.issuerChanges.first)
        #expect((change.from, change.to) == ("away", "local"))
        #expect(change.code == "issuer.unavailable" || change.code == "http", "\(change)")
        let table = try await scene.certs("history", exits: 0)
        #expect(table.all.contains("not away: "), "\(table.all)")
        let again = try await scene.certs("rotate", "-o", "json", exits: 0)
        #expect(
            try scene.decoded(ResultsDocument.self, again).results.first?.outcome == "not-due",
            "the second choice stays")
    }

    @Test func `what is revoked with a replacement is never served again`() async throws {
        let scene = try await RotationScene.make()
        try await scene.certs("rotate", exits: 0)
        let old = try await scene.served()
        try await scene.certs("revoke", "messenger", "--replace", "--reason", "superseded", exits: 0)
        #expect(try await scene.served() != old)
        #expect(try await scene.status().revision == 2)
        let authority = scene.state + "/authorities/local"
        let verdict = try await Program(arguments: [
            "openssl", "verify", "-crl_check", "-CAfile", "\(authority)/root.pem", "-untrusted",
            "\(authority)/issuing.pem", "-CRLfile", "\(authority)/crl.pem", "\(scene.state)/live/messenger/1/cert.pem",
        ]).run()
        #expect(verdict.errors.contains("certificate revoked"), "\(verdict.all)")
        let back = try await scene.certs("rollback", "messenger", "--to", "1")
        #expect(back.status != 0)
        #expect(back.all.contains("was revoked"), "\(back.all)")
        #expect(back.all.contains("superseded"), "\(back.all)")
        #expect(try await scene.status().revision == 2)
    }
}
