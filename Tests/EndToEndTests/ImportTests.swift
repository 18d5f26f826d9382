import CertsCore
import CertsCrypto
import CertsTesting
import Foundation
import Testing

/// Directories of real clients, taken over.
@Suite struct ImportTests {
    struct Imported: Decodable {
        struct Certificate: Decodable {
            let name: String
            let names: [String]
            let keyAlgorithm: String
            let issuer: String
            let sha256: String
            let path: String
            let declared: Bool
            let outcome: String?
        }
        struct Issuer: Decodable {
            let name: String
            let directory: String?
            let account: Bool
            let accountURL: String?
            let outcome: String?
        }
        struct Skipped: Decodable {
            let path: String
            let reason: String
        }
        let schema: Int
        let written: Bool
        let issuers: [Issuer]
        let certificates: [Certificate]
        let skipped: [Skipped]
        let declarations: String
    }

    let directory: TemporaryDirectory
    var configuration: String { directory.path("certs.yml") }

    init() throws { directory = try TemporaryDirectory() }

    private func certs(_ arguments: [String], exits status: Int32 = 0) async throws -> Program.Outcome {
        let outcome = try await RotationScene.program(arguments + ["--config", configuration]).run()
        #expect(outcome.status == status, "certs \(arguments): \(outcome.all)")
        return outcome
    }

    private func importing(
        _ client: String, _ home: String, _ more: String..., exits status: Int32 = 0
    ) async throws -> Imported {
        let outcome = try await certs(["import-from", client, home, "-o", "json"] + more, exits: status)
        return try outcome.decoded()
    }

    /// Every authorization of an account is used again, so that only the account of the other client gets by without a
    /// challenge.
    private func pebble() async throws -> Pebble {
        try await Pebble.start(in: directory, .init(validity: 90 * 86400, authorizationReuse: 100))
    }

    @Test(arguments: ForeignClients.Client.allCases)
    func `a real directory becomes declarations, revision 1 and an account`(
        _ client: ForeignClients.Client
    ) async throws {
        let pebble = try await pebble()
        defer { pebble.stop() }
        // Caddy would get a certificate for each name, and in its haste may make an account for each.
        let all = ["www.\(client.rawValue).example.com", "\(client.rawValue).example.com"]
        let names = client == .caddy ? [all[0]] : all
        let home = try await ForeignClients(directory: directory, pebble: pebble).order(client, names)
        let before = try Self.snapshot(home)
        let server = ["--server", pebble.directoryURL]

        // Looking changes nothing, and needs no configuration.
        let found: Imported = try await importing(client.rawValue, home, server[0], server[1])
        #expect(!found.written && found.skipped.isEmpty)
        #expect(found.certificates.count == 1)
        #expect(Set(found.certificates.flatMap(\.names)) == Set(names))
        #expect(found.issuers.count == 1)
        #expect(found.issuers.allSatisfy { $0.directory == pebble.directoryURL && $0.account })
        // uacme keeps no URL of its account.
        #expect((found.issuers.first?.accountURL == nil) == (client == .uacme))
        #expect(!FileManager.default.fileExists(atPath: configuration))
        let text = try await certs(["import-from", client.rawValue, home] + server).text
        #expect(text == found.declarations + "\n")

        let written = try await importing(
            client.rawValue, home, server[0], server[1], "--write", "--ca-file", pebble.caFile)
        #expect(written.written && written.certificates.allSatisfy { $0.outcome == "imported" })
        #expect(written.issuers.map(\.outcome) == ["adopted"])
        _ = try await certs(["check"])
        for certificate in written.certificates { try await expectStored(certificate) }
        try expectAccount(written.issuers[0], client, home)
        #expect(try Self.snapshot(home) == before)

        // A second time there is nothing to do.
        let file = try Data(contentsOf: URL(filePath: configuration))
        let again = try await importing(client.rawValue, home, server[0], server[1], "--write")
        #expect(again.certificates.allSatisfy { $0.declared && $0.outcome == "known" })
        #expect(again.issuers.map(\.outcome) == ["known"])
        #expect(again.declarations == "")
        #expect(try Data(contentsOf: URL(filePath: configuration)) == file)

        for certificate in written.certificates { try await expectRenewal(certificate, pebble) }
        #expect(try Self.snapshot(home) == before)
    }

    /// The account has proved the names before, so the CA asks for no proof: it is the same account.
    private func expectRenewal(_ certificate: Imported.Certificate, _ pebble: Pebble) async throws {
        let outcome = try await certs(["rotate", certificate.name])
        #expect(outcome.status == 0, "\(outcome.all) \(pebble.output.suffix(3000))")
        let status: StatusDocument = try await certs(["status", certificate.name, "-o", "json"]).decoded()
        let renewed = try #require(status.certificates.first)
        #expect(renewed.state == "valid" && renewed.revision == 2 && renewed.sha256 != certificate.sha256)
        let folder = directory.url.appending(path: "state/live/\(certificate.name)/current")
        let leaf = try CertificateReader.certificates(in: Data(contentsOf: folder.appending(path: "cert.pem")))[0]
        #expect(Set(leaf.record.dnsNames) == Set(certificate.names))
        #expect(leaf.record.keyAlgorithm == certificate.keyAlgorithm)
        #expect(try await pebble.status(serial: leaf.record.serial).status == "Valid")
    }

    private func expectStored(_ certificate: Imported.Certificate) async throws {
        let outcome = try await certs(["status", certificate.name, "-o", "json"])
        let document: StatusDocument = try outcome.decoded()
        let status = try #require(document.certificates.first)
        #expect(status.state == "valid" && status.revision == 1 && status.sha256 == certificate.sha256)
        let folder = directory.url.appending(path: "state/live/\(certificate.name)/current")
        let leaf = try CertificateReader.certificates(in: Data(contentsOf: folder.appending(path: "cert.pem")))[0]
        #expect(leaf.record.sha256 == certificate.sha256)
        let original = try CertificateReader.certificates(in: Data(contentsOf: URL(filePath: certificate.path)))
        #expect(original[0] == leaf)
        let key = try PrivateKey(pem: Secret(copying: Data(contentsOf: folder.appending(path: "key.pem"))))
        #expect(key.matches(leaf))
        let bundle = try CertificateReader.certificates(in: Data(contentsOf: folder.appending(path: "bundle.pem")))
        #expect(bundle == original)
    }

    private func expectAccount(_ issuer: Imported.Issuer, _ client: ForeignClients.Client, _ home: String) throws {
        let folder = directory.path("state/accounts/\(issuer.name)")
        let files = try FileManager.default.contentsOfDirectory(atPath: folder).sorted()
        let keyFile = try #require(files.first { $0.hasSuffix(".key.pem") })
        let key = try PrivateKey(pem: Secret(copying: Data(contentsOf: URL(filePath: "\(folder)/\(keyFile)"))))
        #expect(key.algorithm != nil)
        let status = try FileManager.default.attributesOfItem(atPath: "\(folder)/\(keyFile)")
        #expect(status[.posixPermissions] as? Int == 0o600)
        let record = try #require(files.first { $0.hasSuffix(".json") })
        let text = try String(contentsOfFile: "\(folder)/\(record)", encoding: .utf8)
        #expect(text.contains(issuer.accountURL ?? "\"status\""))
    }

    @Test func `what is broken is told and skipped, the rest is taken over`() async throws {
        let pebble = try await pebble()
        defer { pebble.stop() }
        let clients = ForeignClients(directory: directory, pebble: pebble)
        let home = try await clients.order(.certbot, ["good.example.com"])
        let pki = try TestPKI()
        let expired = try pki.leaf(["old.example.com"]) {
            $0.notBefore = Date().addingTimeInterval(-100 * 86400)
            $0.notAfter = Date().addingTimeInterval(-86400)
        }
        let mixed = try pki.leaf(["mixed.example.com"])
        let outside = try pki.leaf(["outside.example.com"])
        let out = try directory.write(outside.keyPEM, to: "outside.pem")
        try Self.addLineage("old", expired.certificate, expired.keyPEM, pki, to: home)
        try Self.addLineage("mixed", mixed.certificate, expired.keyPEM, pki, to: home)
        try Self.addLineage("garbage", mixed.certificate, Data("\u{1b}[31m".utf8), pki, to: home)
        try Self.addLineage("outside", outside.certificate, nil, pki, to: home)
        try FileManager.default.createSymbolicLink(
            atPath: "\(home)/live/outside/privkey.pem", withDestinationPath: out)
        try Self.addLineage("keyless", mixed.certificate, nil, pki, to: home)

        let written = try await importing(
            "certbot", home, "--write", "--ca-file", pebble.caFile, exits: 3)
        #expect(written.certificates.map(\.name) == ["good.example.com"])
        #expect(written.certificates.first?.outcome == "imported")
        let reasons = Dictionary(
            uniqueKeysWithValues: written.skipped.map {
                ($0.path.split(separator: "/").dropLast().last ?? "", $0.reason)
            })
        #expect(reasons.keys.sorted() == ["garbage", "keyless", "live", "mixed", "old"])
        #expect(reasons["old"]?.contains("expired") == true)
        #expect(reasons["mixed"]?.contains("[key-mismatch]") == true)
        #expect(reasons["garbage"]?.contains("no private key") == true)
        #expect(reasons["keyless"]?.contains("key is missing") == true)
        #expect(reasons["live"]?.contains("leads out of") == true)
        let text = try await certs(["import-from", "certbot", home], exits: 3)
        #expect(!text.all.contains("\u{1b}"))
        #expect(!FileManager.default.fileExists(atPath: directory.path("state/live/outside.example.com")))
    }

    /// A directory of certbot's with one lineage, made by hand.
    private func lineage(_ name: String, _ leaf: TestPKI.Identity, _ pki: TestPKI) throws -> String {
        let home = directory.path("certbot-\(UUID().uuidString.prefix(8))")
        try FileManager.default.createDirectory(atPath: "\(home)/renewal", withIntermediateDirectories: true)
        let conf = "[renewalparams]\nserver = https://127.0.0.1:1/dir\nauthenticator = standalone\n"
        try Data(conf.utf8).write(to: URL(filePath: "\(home)/renewal/first.conf"))
        try Self.addLineage(name, leaf.certificate, leaf.keyPEM, pki, to: home)
        try FileManager.default.removeItem(atPath: "\(home)/renewal/first.conf")
        return home
    }

    @Test func `two imports at once, and a name that the state directory has already`() async throws {
        let pki = try TestPKI()
        let first = try lineage("shop", try pki.leaf(["shop.example.com"]), pki)
        async let one = importing("certbot", first, "--write")
        async let two = importing("certbot", first, "--write")
        let outcomes = try await [one, two].map { $0.certificates.map(\.outcome) }
        #expect(Set(outcomes) == [["imported"], ["known"]])
        let text = try String(contentsOfFile: configuration, encoding: .utf8)
        #expect(text.components(separatedBy: "- name: shop\n").count == 2)

        // Forgotten by the configuration, not by the state directory.
        try FileManager.default.removeItem(atPath: configuration)
        let other = try lineage("shop", try pki.leaf(["shop.example.net"]), pki)
        let refused = try await importing("certbot", other, "--write", exits: 1)
        #expect(refused.certificates.isEmpty && refused.declarations == "")
        #expect(refused.skipped.first?.reason.contains("another one") == true)
        #expect(!FileManager.default.fileExists(atPath: configuration))
        let back = try await importing("certbot", first, "--write")
        #expect(back.certificates.map(\.outcome) == ["known"])
        #expect(try String(contentsOfFile: configuration, encoding: .utf8).contains("- name: shop\n"))
    }

    @Test func `an import that is killed anywhere is done by the next one`() async throws {
        let pki = try TestPKI()
        let leaf = try pki.leaf(["shop.example.com"])
        let home = try lineage("shop", leaf, pki)
        for round in 0..<12 {
            for entry in ["certs.yml", "state"] { try? FileManager.default.removeItem(atPath: directory.path(entry)) }
            let program = RotationScene.program(
                ["import-from", "certbot", home, "--write", "--config", configuration])
            let child = try program.start(output: "/dev/null", errors: "/dev/null")
            _ = try await blocking.run { usleep(UInt32(round) * 25_000) }
            kill(child, SIGKILL)
            _ = try await blocking.run { Tool.wait(for: child) }
            let again = try await importing("certbot", home, "--write")
            #expect(again.certificates.count == 1 && again.skipped.isEmpty)
            let status: StatusDocument = try await certs(["status", "shop", "-o", "json"]).decoded()
            #expect(status.certificates.map(\.state) == ["valid"])
            #expect(status.certificates.map(\.sha256) == [leaf.certificate.record.sha256])
        }
    }

    /// The CA is not there: what HAProxy serves in the end was not issued by it.
    @Test func `with a target, revision 1 is deployed as it is`() async throws {
        let scene = try await RotationScene.make()
        try scene.writeConfiguration { text in
            let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
            let targets = lines.drop { !$0.hasPrefix("targets:") }.joined(separator: "\n")
            return "version: 1\nstate: ./state\n\(targets)\n"
        }
        let leaf = try scene.pki.leaf([RotationScene.name])
        let home = try lineage("messenger", leaf, scene.pki)
        try await scene.certs("import-from", "certbot", home, "--write", exits: 0)
        let imported = try String(contentsOfFile: scene.configuration, encoding: .utf8)
        let line = "  - name: messenger\n"
        try #require(imported.contains(line))
        try scene.directory.write(
            imported.replacingOccurrences(of: line, with: "\(line)    targets: [loadbalancer]\n"), to: "certs.yml")
        #expect(try await scene.served() == scene.first.certificate.record.sha256)
        try await scene.certs("rotate", exits: 0)
        #expect(try await scene.served() == leaf.certificate.record.sha256)
        let status = try await scene.status()
        #expect(status.state == "valid" && status.revision == 1)
        #expect(status.targets.flatMap(\.endpoints).map(\.matches) == [true])
        // A second time there is nothing to do.
        try await scene.certs("rotate", exits: 0)
        #expect(try await scene.history().map(\.outcome) == ["committed"])
    }

    @Test func `a directory of nobody, and one that is not there`() async throws {
        let empty = directory.path("empty")
        try FileManager.default.createDirectory(atPath: empty, withIntermediateDirectories: true)
        let nothing = try await certs(["import-from", "certbot", empty], exits: 4)
        #expect(nothing.errors.contains("/etc/letsencrypt"))
        #expect(try await certs(["import-from", "lego", directory.path("none")], exits: 1).errors.contains("none"))
        #expect(try await certs(["import-from", "certificate", empty], exits: 64).output.isEmpty)
    }

    // MARK: Files

    /// A lineage of certbot.
    private static func addLineage(
        _ name: String, _ leaf: Certificate, _ key: Data?, _ pki: TestPKI, to home: String
    ) throws {
        let live = "\(home)/live/\(name)"
        try FileManager.default.createDirectory(atPath: live, withIntermediateDirectories: true)
        let chain = leaf.pem + pki.intermediate.certificate.pem
        try Data(chain.utf8).write(to: URL(filePath: "\(live)/fullchain.pem"))
        try key?.write(to: URL(filePath: "\(live)/privkey.pem"))
        let renewal = try FileManager.default.contentsOfDirectory(atPath: "\(home)/renewal")
        try FileManager.default.copyItem(
            atPath: "\(home)/renewal/\(renewal[0])", toPath: "\(home)/renewal/\(name).conf")
    }

    /// Every entry with its kind, mode, size, time of change and contents.
    private static func snapshot(_ home: String) throws -> [String] {
        let entries = FileManager.default.enumerator(atPath: home)?.allObjects.compactMap { $0 as? String } ?? []
        return try entries.sorted().map { entry in
            let path = "\(home)/\(entry)"
            let facts = try FileManager.default.attributesOfItem(atPath: path)
            let contents = FileManager.default.contents(atPath: path) ?? Data()
            return [
                entry, "\(facts[.type] ?? "")", "\(facts[.posixPermissions] ?? "")",
                "\(facts[.modificationDate] ?? "")",
                Digest.sha256.data(of: contents).base64EncodedString(),
            ].joined(separator: " ")
        }
    }
}
