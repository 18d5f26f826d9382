import CertsCore
import CertsCrypto
import CertsTesting
import Foundation
import Testing

/// `certs rotate --dry-run`: what would be done, by which commands, and nothing of it done.
@Suite struct DryRunTests {
    struct Document: Decodable {
        let schema: Int
        let items: [Item]

        struct Item: Decodable {
            let certificate: String
            let action: String
            let target: String?
            let method: String?
            let why: String?
            let commands: [String]
            let before: [Leaf]
            let after: [Leaf]
            let findings: [Found]
        }

        struct Leaf: Decodable {
            let path: String?
            let names: [String]
            let notBefore: Date?
            let notAfter: Date?
            let sha256: String?
        }

        struct Found: Decodable {
            let id: String
            let severity: String
            let message: String
            let remedy: String
        }
    }

    /// What a dry run prints as JSON; expects that it changes nothing, and that no format shows a key.
    private func dryRun(_ scene: DirectoryScene, sourceLocation: SourceLocation = #_sourceLocation) async throws
        -> [Document.Item]
    {
        let before = try await scene.everything()
        var document: Document?
        for format in ["json", "table", "jsonl", "csv", "name"] {
            let run = try await scene.certs(
                "rotate", "--all", "--dry-run", "-o", format, exits: 0, sourceLocation: sourceLocation)
            try expectNoKey(scene, run, sourceLocation)
            if format == "json" { document = try scene.decoded(Document.self, run) }
        }
        let changed = DirectoryScene.difference(before, try await scene.everything())
        #expect(changed == [], sourceLocation: sourceLocation)
        let found = try #require(document, sourceLocation: sourceLocation)
        #expect(found.schema == 1)
        return found.items
    }

    /// No line of any key in the state directory or on a node.
    private func expectNoKey(_ scene: DirectoryScene, _ run: Program.Outcome, _ sourceLocation: SourceLocation) throws {
        let said = run.text + run.errors
        #expect(!said.contains("PRIVATE KEY"), sourceLocation: sourceLocation)
        var lines = 0
        for root in [scene.state] + scene.nodes.map(\.certificates) {
            for name in FileManager.default.subpaths(atPath: root) ?? [] where name.hasSuffix(".pem") {
                let text = String(
                    decoding: FileManager.default.contents(atPath: "\(root)/\(name)") ?? Data(), as: UTF8.self)
                for block in text.components(separatedBy: "-----BEGIN ").dropFirst()
                where block.prefix(while: { $0 != "\n" }).contains("PRIVATE KEY") {
                    for line in block.split(separator: "\n").dropFirst() where !line.hasPrefix("-----") {
                        lines += 1
                        #expect(!said.contains(line), "a line of \(name)", sourceLocation: sourceLocation)
                    }
                }
            }
        }
        #expect(lines > 4, "keys were looked for", sourceLocation: sourceLocation)
    }

    /// Adds names to `shop`, so many that its bundle does not fit into one command of the runtime API.
    private func declareManyNames(_ scene: DirectoryScene) throws {
        let names = (100..<250).map { "\(String(repeating: "x", count: 60)).n\($0).shop.example.com" }
        try scene.writeConfiguration {
            $0.replacingOccurrences(
                of: "dnsNames: [shop.example.com]",
                with: "dnsNames: [shop.example.com, \(names.joined(separator: ", "))]")
        }
    }

    /// The reload method that the last rotation used on each node.
    private func used(_ scene: DirectoryScene, _ certificate: String) async throws -> [String?] {
        struct History: Decodable {
            struct Rotation: Decodable { let deployments: [Deployment] }
            struct Deployment: Decodable { let method: String? }
            let rotations: [Rotation]
        }
        let run = try await scene.certs("history", certificate, "-o", "json", exits: 0)
        return try scene.decoded(History.self, run).rotations.first?.deployments.map(\.method) ?? []
    }

    @Test func `tells for each certificate and node the commands, and what is replaced by what`() async throws {
        let scene = try await DirectoryScene.make(nodes: 2)
        let declared = try await scene.declared()
        let items = try await dryRun(scene)
        let places = items.map { "\($0.certificate) \($0.target ?? "-")" }
        #expect(Set(places) == ["blog edge/edge-1", "blog edge/edge-2", "shop edge/edge-1", "shop edge/edge-2"])
        #expect(places.count == 4)
        for item in items {
            let node = try #require(scene.nodes.first { $0.id == item.target })
            let path = node.path("\(item.certificate).pem")
            #expect(item.action == "issue")
            #expect(item.method == "runtime")
            #expect(item.why?.contains("hot swap") == true)
            #expect(
                item.commands == [
                    "set ssl cert \(path) <<  (the new bundle)", "commit ssl cert \(path)",
                    "replace \(path) by a rename",
                ])
            let now = try #require(item.before.first)
            #expect(item.before.count == 1)
            #expect(now.path == path)
            #expect(now.sha256 == declared[item.certificate])
            #expect(now.names == [DirectoryScene.host(item.certificate)])
            #expect(try #require(now.notBefore) < Date() && now.notAfter.map { $0 > Date() } == true)
            #expect(item.after.map(\.names) == [[DirectoryScene.host(item.certificate)]])
            #expect(item.after.first?.sha256 == nil, "the issuer decides it")
            #expect(item.findings.map(\.id) == [], "\(item.findings)")
        }
    }

    @Test func `the table says the same to a person`() async throws {
        let scene = try await DirectoryScene.make()
        try scene.writeConfiguration {
            $0.replacingOccurrences(of: "[shop.example.com]", with: "[www.shop.example.com]")
        }
        let declared = try #require(try await scene.declared()["shop"])
        let text = try await scene.certs("rotate", "--all", "--dry-run", exits: 0).text
        let lines = text.split(separator: "\n").map { $0.trimmingCharacters(in: .whitespaces) }
        let path = scene.nodes[0].path("shop.pem")
        #expect(lines.contains { $0.hasPrefix("shop → edge/edge-1: issue (") })
        #expect(lines.contains { $0.hasPrefix("method    runtime: ") })
        #expect(lines.contains("would     commit ssl cert \(path)"))
        #expect(lines.contains("would     replace \(path) by a rename"))
        #expect(
            lines.contains {
                $0.hasPrefix("now       \(path)  \(declared.prefix(16))") && $0.hasSuffix("shop.example.com")
            })
        #expect(lines.contains("then      a new certificate"))
        #expect(lines.contains("new names www.shop.example.com"))
        #expect(lines.contains("LOSES     shop.example.com"))
    }

    @Test func `before the first rotation it tells what is there instead`() async throws {
        let scene = try await DirectoryScene.make(rotates: false)
        try await scene.certs("status", exits: 0)
        let items = try await dryRun(scene)
        let onDisk = try #require(scene.nodes[0].contents("shop.pem"))
        let leaf = try #require(try CertificateReader.certificates(in: onDisk).first).record
        #expect(items.first { $0.certificate == "shop" }?.before.map(\.sha256) == [leaf.sha256])
        #expect(items.map(\.action) == ["issue", "issue"])
    }

    @Test func `a target that reloads tells how`() async throws {
        let scene = try await DirectoryScene.make(.master)
        for item in try await dryRun(scene) {
            let node = scene.nodes[0]
            #expect(item.method == "master")
            #expect(item.why?.contains("master CLI") == true)
            #expect(
                item.commands == [
                    "replace \(node.path("\(item.certificate).pem")) by a rename",
                    "reload  (at \(node.balancer.masterSocket))",
                ])
            #expect(item.findings.map(\.id) == [], "\(item.findings)")
        }
    }

    @Test func `a bundle that is too large for the runtime API is told to be reloaded, and is`() async throws {
        let scene = try await DirectoryScene.make(.fallback)
        try declareManyNames(scene)
        // Issued while nothing can be deployed: from then on the size is known.
        try await blocking.run { scene.nodes[0].balancer.stop() }
        try await scene.certs("rotate", "shop", exits: 1)
        try await scene.nodes[0].balancer.start()
        var items = try await dryRun(scene)
        var shop = try #require(items.first { $0.certificate == "shop" })
        #expect(shop.action == "deploy")
        #expect(shop.method == "master")
        #expect(shop.why?.contains("bytes") == true, "\(shop.why ?? "")")
        #expect(shop.commands.last?.hasPrefix("reload") == true)
        let issued = try #require(shop.after.first)
        #expect(issued.names.count == 151)
        #expect(issued.sha256 != shop.before.first?.sha256 && issued.sha256 != nil)
        #expect(items.first { $0.certificate == "blog" }?.method == "runtime")

        try await scene.certs("deploy", "shop", exits: 0)
        #expect(try await used(scene, "shop") == ["master"])
        // The next one is not issued yet: the one that is live tells what to expect.
        items = try await dryRun(scene)
        shop = try #require(items.first { $0.certificate == "shop" })
        #expect(shop.action == "issue")
        #expect(shop.method == "master")
        try await scene.certs("rotate", "--all", exits: 0)
        #expect(try await used(scene, "shop") == ["master"])
        #expect(try await used(scene, "blog") == ["runtime"])
        try await scene.expectInOrder()
    }

    @Test func `without a fallback a bundle that is too large is an error beforehand`() async throws {
        let scene = try await DirectoryScene.make()
        try declareManyNames(scene)
        try await blocking.run { scene.nodes[0].balancer.stop() }
        try await scene.certs("rotate", "shop", exits: 1)
        try await scene.nodes[0].balancer.start()
        let shop = try #require(try await dryRun(scene).first { $0.certificate == "shop" })
        #expect(shop.findings.map { "\($0.severity) \($0.id)" } == ["error bundle-too-large"], "\(shop.findings)")
        try await scene.certs("deploy", "shop", exits: 1)
    }

    @Test func `a new certificate is told to be added to the list`() async throws {
        let scene = try await DirectoryScene.make()
        try scene.writeConfiguration {
            $0.replacingOccurrences(
                of: "targets:\n",
                with: "  - { name: new, dnsNames: [new.example.com], issuer: local, targets: [edge] }\ntargets:\n")
        }
        let node = scene.nodes[0]
        let new = try #require(try await dryRun(scene).first { $0.certificate == "new" })
        let path = node.path("new.pem")
        #expect(
            new.commands == [
                "new ssl cert \(path)", "set ssl cert \(path) <<  (the new bundle)", "commit ssl cert \(path)",
                "add ssl crt-list \(node.certificates) \(path)", "replace \(path) by a rename",
            ])
        #expect(new.before.count == 1 && new.before.first?.sha256 == nil)
        #expect(new.findings.map { "\($0.severity) \($0.id)" } == ["info will-be-added"])
        try await scene.certs("rotate", "--all", exits: 0)
        #expect(try await node.served("new.example.com") == scene.declared()["new"])
    }

    @Test func `what would make the rotation fail is told beforehand`() async throws {
        let scene = try await DirectoryScene.make()
        let node = scene.nodes[0]
        try node.write(try #require(node.contents("shop.pem")), "shop.pem.bak")
        try await node.balancer.restart()
        let items = try await dryRun(scene)
        let shop = try #require(items.first { $0.certificate == "shop" })
        #expect(
            shop.findings.map { "\($0.severity) \($0.id)" }.sorted() == [
                "error duplicate-name", "warning foreign-file",
            ])
        #expect(shop.findings.allSatisfy { $0.message.contains("shop.pem.bak") && !$0.remedy.isEmpty })
        let blog = try #require(items.first { $0.certificate == "blog" })
        #expect(blog.findings.map(\.id) == ["foreign-file"])
        let run = try await scene.certs("rotate", "shop", exits: 1)
        #expect(run.text.contains("shop.pem.bak"), "\(run.all)")
    }
}
