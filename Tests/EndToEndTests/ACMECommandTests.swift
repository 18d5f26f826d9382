import CertsTesting
import Foundation
import Testing

/// `certs acme`: the account and the directory of a CA, on a real Pebble.
@Suite(.timeLimit(.minutes(2))) struct ACMECommandTests {
    private struct AccountDocument: Decodable {
        struct Account: Decodable {
            let url: String
            let status: String
            let contact: [String]
            let termsOfService: String?
            let termsAcceptedAt: Date?
            let keyThumbprint: String
            let directory: String
        }
        let schema: Int
        let account: Account?
    }

    private struct DirectoryDocument: Decodable {
        struct Directory: Decodable {
            let url: String
            let termsOfService: String?
            let profiles: [String: String]
            let renewalInfo: Bool
            let keyChange: Bool
        }
        let schema: Int
        let directory: Directory
    }

    private struct CheckDocument: Decodable {
        struct Found: Decodable {
            let subject: String
            let id: String
        }
        let findings: [Found]
    }

    /// A configuration with one issuer `ca`, Pebble behind it, and no certificate.
    private struct Scene {
        let directory: TemporaryDirectory
        let pebble: Pebble

        init() async throws {
            directory = try TemporaryDirectory()
            pebble = try await Pebble.start(in: directory)
            try write()
        }

        func write(contact: String = "ops@example.com", acceptTerms: Bool = true) throws {
            try directory.write(
                Data(
                    """
                    version: 1
                    issuers:
                      ca:
                        type: acme
                        directory: \(pebble.directoryURL)
                        caFile: \(pebble.caFile)
                        contact: [\(contact)]
                        acceptTerms: \(acceptTerms)
                        challenge: { type: http-01, listen: "127.0.0.1:\(pebble.httpPort)" }
                      local: { type: local-ca, commonName: Local CA }
                    """.utf8), to: "certs.yml")
        }

        @discardableResult
        func certs(
            _ arguments: String..., exits status: Int32 = 0, sourceLocation: SourceLocation = #_sourceLocation
        ) async throws -> Program.Outcome {
            let run = try await Program(
                arguments: [RotationScene.executable] + arguments + ["--config", directory.path("certs.yml")]
            ).run()
            #expect(run.status == status, "\(arguments): \(run.all)", sourceLocation: sourceLocation)
            return run
        }

        func account(_ action: String = "show") async throws -> AccountDocument.Account {
            let document: AccountDocument = try await certs("acme", "account", "ca", action, "-o", "json").decoded()
            return try #require(document.account)
        }

        /// The names of the files that the issuer keeps.
        var files: [String] {
            let folder = directory.path("state/accounts/ca")
            return ((try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []).sorted()
        }
    }

    @Test func `an account is made once, shown, told new contacts, given another key, and ended`() async throws {
        let scene = try await Scene()
        defer { scene.pebble.stop() }
        let none = try await scene.certs("acme", "account", "ca", exits: 4)
        #expect(none.errors.contains("certs acme account ca create"), "\(none.all)")
        #expect(!scene.files.contains { $0.hasSuffix(".key.pem") }, "to look makes no key")

        let made = try await scene.account("create")
        #expect(made.status == "valid")
        #expect(made.contact == ["mailto:ops@example.com"])
        #expect(made.termsAcceptedAt != nil)
        #expect(made.directory == scene.pebble.directoryURL)
        #expect(try await scene.account("create").url == made.url, "the same key is the same account")
        let key = try #require(scene.files.first { $0.hasSuffix(".key.pem") })
        let attributes = try FileManager.default.attributesOfItem(
            atPath: scene.directory.path("state/accounts/ca/\(key)"))
        #expect(attributes[.posixPermissions] as? Int == 0o600)

        try scene.write(contact: "root@example.com")
        #expect(try await scene.account("update").contact == ["mailto:root@example.com"])
        #expect(try await scene.account().contact == ["mailto:root@example.com"], "as the CA has it")

        let rolled = try await scene.account("rollover")
        #expect(rolled.url == made.url)
        #expect(rolled.keyThumbprint != made.keyThumbprint)
        #expect(try await scene.account().keyThumbprint == rolled.keyThumbprint)

        let refused = try await scene.certs("acme", "account", "ca", "deactivate", exits: 1)
        #expect(refused.errors.contains("--yes"))
        #expect(try await scene.account().status == "valid")
        try await scene.certs("acme", "account", "ca", "deactivate", "--yes")
        try await scene.certs("acme", "account", "ca", exits: 4)
    }

    @Test func `the terms are shown before they are agreed to, and nothing is made without that`() async throws {
        let scene = try await Scene()
        defer { scene.pebble.stop() }
        try scene.write(acceptTerms: false)
        let shown: DirectoryDocument = try await scene.certs("acme", "directory", "ca", "-o", "json").decoded()
        let terms = try #require(shown.directory.termsOfService)
        #expect(shown.directory.url == scene.pebble.directoryURL)
        #expect(shown.directory.keyChange && !shown.directory.renewalInfo && shown.directory.profiles.isEmpty)
        #expect(try await scene.certs("acme", "directory", "ca").text.contains(terms))
        let refused = try await scene.certs("acme", "account", "ca", "create", exits: 1)
        #expect(refused.errors.contains(terms) && refused.errors.contains("acceptTerms"), "\(refused.all)")
        try await scene.certs("acme", "account", "ca", exits: 4)
    }

    @Test func `the live check tells what is missing, and makes nothing`() async throws {
        let scene = try await Scene()
        defer { scene.pebble.stop() }
        try scene.write(acceptTerms: false)
        let before: CheckDocument = try await scene.certs("check", "--live", "-o", "json", exits: 1).decoded()
        #expect(before.findings.map { "\($0.subject) \($0.id)" } == ["ca account-missing", "ca terms-not-accepted"])
        #expect(!scene.files.contains { $0.hasSuffix(".key.pem") })
        try scene.write()
        try await scene.certs("acme", "account", "ca", "create")
        let after: CheckDocument = try await scene.certs("check", "--live", "-o", "json").decoded()
        #expect(after.findings.map(\.id) == [])
        scene.pebble.stop()
        let gone: CheckDocument = try await scene.certs("check", "--live", "-o", "json", exits: 1).decoded()
        #expect(gone.findings.map(\.id) == ["directory-unusable"])
    }

    @Test func `another issuer has no account, and an unknown one is not found`() async throws {
        let scene = try await Scene()
        defer { scene.pebble.stop() }
        #expect(try await scene.certs("acme", "account", "local", exits: 1).errors.contains("not of type acme"))
        #expect(try await scene.certs("acme", "directory", "nobody", exits: 4).errors.contains("declared: ca, local"))
        try await scene.certs("acme", "account", "ca", "destroy", exits: 64)
    }
}
