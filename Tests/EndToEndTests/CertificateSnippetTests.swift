import CertsCore
import CertsTesting
import Foundation
import Testing

/// The commands of the written procedure for certificates: what they do as they stand, and what `certs` does instead.
@Suite(.timeLimit(.minutes(5))) struct CertificateSnippetTests {
    private static let subject = "/CN=\(RotationScene.name)/O=SilentRelay/C=US"

    private func generate(_ scene: RotationScene) async throws {
        try await tool(
            "openssl", "req", "-x509", "-nodes", "-days", "365", "-newkey", "rsa:2048", "-keyout",
            scene.directory.path("server.key"), "-out", scene.directory.path("server.crt"), "-subj", Self.subject)
    }

    private func request(_ scene: RotationScene) async throws {
        try await tool(
            "openssl", "req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", scene.directory.path("server.key"),
            "-out", scene.directory.path("server.csr"), "-subj", Self.subject)
    }

    private func publicKey(_ kind: String, _ path: String) async throws -> String {
        kind == "x509"
            ? try await tool("openssl", "x509", "-in", path, "-pubkey", "-noout")
            : try await tool("openssl", "pkey", "-in", path, "-pubout")
    }

    /// Each command succeeds, the last one shows dates, and the old certificate is served as before.
    @Test func theProcedureSucceedsAndNothingChanges() async throws {
        let scene = try await RotationScene.make()
        let before = try await scene.served()
        try await generate(scene)
        try await scene.balancer.restart()
        let dates = try await tool(
            "/bin/sh", "-c",
            "openssl s_client -connect localhost:\(scene.balancer.port) -servername \(RotationScene.name) </dev/null "
                + "2>/dev/null | openssl x509 -noout -dates")
        #expect(dates.contains("notAfter="))
        // HAProxy reads server.pem, which nobody wrote.
        #expect(try await scene.served() == before)
        // And no client would have taken the new one: the name is in the subject alone (RFC 9525 §2).
        let names = try await tool(
            "openssl", "x509", "-in", scene.directory.path("server.crt"), "-noout", "-ext", "subjectAltName")
        #expect(!names.contains(RotationScene.name))

        try await scene.certs("rotate", "messenger", exits: 0)
        #expect(try await scene.served() != before)
        #expect(try await scene.expectOneTruth().revision == 1)
        let own = try await tool("openssl", "x509", "-in", scene.bundle, "-noout", "-ext", "subjectAltName")
        #expect(own.contains("DNS:\(RotationScene.name)"))
    }

    /// The request for the next certificate takes the key away from the present one.
    @Test func theRequestReplacesTheKeyThatIsInUse() async throws {
        let scene = try await RotationScene.make(
            .init(issuers: "corporate: { type: hand-off }", issuer: "corporate"))
        try await generate(scene)
        let certificate = scene.directory.path("server.crt")
        let key = scene.directory.path("server.key")
        #expect(try await publicKey("x509", certificate) == publicKey("pkey", key))
        try await request(scene)
        #expect(try await publicKey("x509", certificate) != publicKey("pkey", key))

        let bundle = try Data(contentsOf: URL(filePath: scene.bundle))
        let printed = try await scene.certs("csr", "messenger", exits: 0)
        #expect(printed.text.contains("BEGIN CERTIFICATE REQUEST"))
        #expect(try Data(contentsOf: URL(filePath: scene.bundle)) == bundle)
        #expect(try await publicKey("x509", scene.bundle) == publicKey("pkey", scene.bundle))
    }
}
