import CertsCore
import CertsCrypto
import CertsTesting
import Foundation
import Testing

/// `certs drift`: declared = on disk = in memory = served, and the way back where it is not so.
@Suite struct DriftTests {
    struct Document: Decodable {
        let schema: Int
        let drift: [Item]

        struct Item: Decodable {
            let target: String
            let certificate: String
            let path: String
            let kind: String
            let message: String
            let remedy: String

            var short: String { "\(target) \(certificate) \(kind)" }
        }
    }

    /// Runs `certs drift` and expects exactly this, and that looking has changed nothing.
    private func expectDrift(
        _ scene: DirectoryScene, _ expected: [String], _ comment: Comment? = nil,
        sourceLocation: SourceLocation = #_sourceLocation
    ) async throws -> [Document.Item] {
        let before = try await scene.everything()
        let run = try await scene.certs(
            "drift", "-o", "json", exits: expected.isEmpty ? 0 : 1, sourceLocation: sourceLocation)
        let found = try scene.decoded(Document.self, run)
        #expect(found.schema == 1)
        #expect(
            found.drift.map(\.short).sorted() == expected.sorted(),
            "\(comment?.rawValue ?? ""): \(found.drift.map { "\($0.short): \($0.message)" })",
            sourceLocation: sourceLocation)
        let changed = DirectoryScene.difference(before, try await scene.everything())
        #expect(changed == [], comment, sourceLocation: sourceLocation)
        return found.drift
    }

    /// Expects that `--repair` mends it, verified in every place, and that a second look finds nothing.
    private func expectRepair(
        _ scene: DirectoryScene, _ comment: Comment? = nil, sourceLocation: SourceLocation = #_sourceLocation
    ) async throws {
        let run = try await scene.certs("drift", "--repair", exits: 0, sourceLocation: sourceLocation)
        #expect(run.errors.contains("repaired:"), "\(run.all)", sourceLocation: sourceLocation)
        try await scene.expectInOrder(comment, sourceLocation: sourceLocation)
        _ = try await expectDrift(scene, [], comment, sourceLocation: sourceLocation)
    }

    private func other(_ scene: DirectoryScene) throws -> Data {
        try scene.pki.leaf([DirectoryScene.host("shop")]).bundle(chain: [scene.pki.intermediate.certificate])
    }

    // MARK: One difference at a time

    @Test(arguments: DirectoryScene.Method.allCases)
    func `finds a file that is newer than HAProxy's memory, and mends it`(method: DirectoryScene.Method) async throws {
        let scene = try await DirectoryScene.make(method)
        _ = try await expectDrift(scene, [])
        let node = scene.nodes[0]
        try node.write(try other(scene), "shop.pem")
        let found = try await expectDrift(scene, ["edge/edge-1 shop disk-changed"])
        #expect(found.first?.path == node.path("shop.pem"))
        #expect(found.first?.remedy.contains("certs drift --repair") == true)
        try await expectRepair(scene)
    }

    @Test func `finds a memory that is newer than the file, and one that is older, and mends both`() async throws {
        let scene = try await DirectoryScene.make()
        let node = scene.nodes[0]
        let older = try #require(scene.bundle("shop"))
        try await node.swap("shop.pem", to: try other(scene))
        _ = try await expectDrift(scene, ["edge/edge-1 shop memory-changed"])
        try await expectRepair(scene)

        try await scene.certs("rotate", "shop", exits: 0)
        try await node.swap("shop.pem", to: older)
        _ = try await expectDrift(scene, ["edge/edge-1 shop memory-changed"])
        try await expectRepair(scene)
    }

    @Test(arguments: [DirectoryScene.Method.runtime, .signal])
    func `finds a node that was restarted with old content, and mends it`(method: DirectoryScene.Method) async throws {
        let scene = try await DirectoryScene.make(method)
        let node = scene.nodes[0]
        let old = try #require(node.contents("shop.pem"))
        try await scene.certs("rotate", "shop", exits: 0)
        try node.write(old, "shop.pem")
        try await node.balancer.restart()
        _ = try await expectDrift(scene, ["edge/edge-1 shop replaced"])
        try await expectRepair(scene)
    }

    enum Edit: String, CaseIterable {
        case withoutChain, withoutKey, otherKey, comment, junk, empty
    }

    @Test(arguments: Edit.allCases)
    func `finds a file that was edited by hand, and mends it`(edit: Edit) async throws {
        let scene = try await DirectoryScene.make()
        let node = scene.nodes[0]
        let bundle = String(decoding: try #require(node.contents("shop.pem")), as: UTF8.self)
        let blocks = bundle.components(separatedBy: "-----BEGIN").dropFirst().map { "-----BEGIN" + $0 }
        let (leaf, key) = (try #require(blocks.first), try #require(blocks.last))
        try #require(leaf.contains("CERTIFICATE") && key.contains("PRIVATE KEY"))
        let edited =
            switch edit {
            case .withoutChain: leaf + key
            case .withoutKey: leaf
            case .otherKey:
                leaf + String(decoding: try scene.pki.leaf().keyPEM, as: UTF8.self)
            case .comment: "# renewed on Monday\n\n" + bundle
            case .junk: "to be done\n"
            case .empty: ""
            }
        try node.write(Data(edited.utf8), "shop.pem")
        _ = try await expectDrift(scene, ["edge/edge-1 shop file-edited"])
        try await expectRepair(scene)
    }

    @Test(arguments: [DirectoryScene.Method.runtime, .signal])
    func `finds a file that is gone, and puts it back`(method: DirectoryScene.Method) async throws {
        let scene = try await DirectoryScene.make(method)
        unlink(scene.nodes[0].path("shop.pem"))
        _ = try await expectDrift(scene, ["edge/edge-1 shop file-missing"])
        try await expectRepair(scene)
    }

    // MARK: Served differently, and extra files

    @Test func `finds that another certificate is served although file and memory are right, and mends it`()
        async throws
    {
        let scene = try await DirectoryScene.make()
        let node = scene.nodes[0]
        let copy = try #require(node.contents("shop.pem"))
        try await scene.certs("rotate", "shop", exits: 0)
        try node.write(copy, "shop.pem.bak")
        try await node.balancer.restart()
        // HAProxy 2.6 serves the file that was not updated last.
        try await node.swap("shop.pem", to: try #require(scene.bundle("shop")))
        try #require(try await node.served(DirectoryScene.host("shop")) != scene.declared()["shop"])
        _ = try await expectDrift(scene, ["edge/edge-1 shop served-other", "edge/edge-1 shop extra-file"])
        try await expectRepair(scene)
        try await expectQuarantined(scene, node, "shop.pem.bak", copy)
    }

    @Test(arguments: [DirectoryScene.Method.signal, .master])
    func `finds that HAProxy has not read its files since, where only the handshakes can tell, and reloads it`(
        method: DirectoryScene.Method
    ) async throws {
        let scene = try await DirectoryScene.make(method)
        let node = scene.nodes[0]
        try await node.swap("shop.pem", to: try other(scene))
        let found = try await expectDrift(scene, ["edge/edge-1 shop served-other"])
        #expect(found.first?.message.contains("memory") == false, "nobody looked there")
        try await expectRepair(scene)
    }

    /// The copy is out of the directory and out of HAProxy's memory, and its bytes are kept.
    private func expectQuarantined(
        _ scene: DirectoryScene, _ node: DirectoryScene.Node, _ file: String, _ bytes: Data,
        sourceLocation: SourceLocation = #_sourceLocation
    ) async throws {
        var status = stat()
        #expect(lstat(node.path(file), &status) != 0, sourceLocation: sourceLocation)
        #expect(try await !node.ask("show ssl cert").contains(file), sourceLocation: sourceLocation)
        #expect(
            try await !node.ask("show ssl crt-list -n \(node.certificates)").contains(file),
            sourceLocation: sourceLocation)
        let folder = "\(scene.state)/quarantine/edge@\(node.name)"
        let kept = try FileManager.default.contentsOfDirectory(atPath: folder).filter { $0.hasSuffix("-\(file)") }
        #expect(kept.count == 1, sourceLocation: sourceLocation)
        let path = "\(folder)/\(kept.first ?? "")"
        #expect(FileManager.default.contents(atPath: path) == bytes, sourceLocation: sourceLocation)
        #expect(stat(path, &status) == 0 && status.st_mode & 0o7777 == 0o600, sourceLocation: sourceLocation)
        #expect(stat(folder, &status) == 0 && status.st_mode & 0o7777 == 0o700, sourceLocation: sourceLocation)
    }

    @Test(arguments: DirectoryScene.Method.allCases, [false, true])
    func `finds a copy in the directory, loaded or not, and moves it aside`(
        method: DirectoryScene.Method, isLoaded: Bool
    ) async throws {
        let scene = try await DirectoryScene.make(method)
        let node = scene.nodes[0]
        let copy = try other(scene)
        for file in ["shop.pem.bak", "shop-2025.pem"] {
            try node.write(copy, file)
            if isLoaded { try await node.balancer.restart() }
            // With `shop-2025.pem` loaded, the one that comes first in the alphabet is served.
            let isShadowed = isLoaded && file < "shop.pem"
            let found = try await expectDrift(
                scene, ["edge/edge-1 shop extra-file"] + (isShadowed ? ["edge/edge-1 shop served-other"] : []),
                "\(file)")
            #expect(found.first { $0.kind == "extra-file" }?.path == node.path(file))
            try await expectRepair(scene, "\(file)")
            try await expectQuarantined(scene, node, file, copy)
        }
    }

    @Test func `a link in the directory is taken away, and what it leads to stays`() async throws {
        let scene = try await DirectoryScene.make()
        let node = scene.nodes[0]
        let (bundle, elsewhere) = (try #require(node.contents("shop.pem")), try other(scene))
        try node.directory.write(elsewhere, to: "elsewhere.pem")
        symlink(node.path("shop.pem"), node.path("shop.pem.old"))
        symlink("../elsewhere.pem", node.path("zz.pem"))
        _ = try await expectDrift(scene, ["edge/edge-1 shop extra-file", "edge/edge-1 shop extra-file"])
        try await expectRepair(scene)
        #expect(node.contents("shop.pem") == bundle)
        #expect(FileManager.default.contents(atPath: node.directory.path("elsewhere.pem")) == elsewhere)
        try await expectQuarantined(scene, node, "shop.pem.old", bundle)
        try await expectQuarantined(scene, node, "zz.pem", elsewhere)
    }

    @Test(arguments: [DirectoryScene.Method.runtime, .fallback])
    func `a copy that HAProxy needs as its default goes with the next reload`(method: DirectoryScene.Method)
        async throws
    {
        let scene = try await DirectoryScene.make(method)
        let node = scene.nodes[0]
        let copy = try other(scene)
        try node.write(copy, "a.pem")
        try await node.balancer.restart()
        let expected = ["edge/edge-1 shop extra-file", "edge/edge-1 shop served-other"]
        _ = try await expectDrift(scene, expected)
        if method == .fallback { return try await expectRepair(scene) }

        let run = try await scene.certs("drift", "--repair", exits: 1)
        #expect(run.errors.contains("until its next reload"), "\(run.all)")
        #expect(node.contents("a.pem") == nil)
        let left = try await expectDrift(scene, expected)
        #expect(left.first { $0.kind == "extra-file" }?.message.contains("no file") == true)
        try await node.balancer.restart()
        _ = try await expectDrift(scene, [])
        try await scene.expectInOrder()
        try await expectQuarantined(scene, node, "a.pem", copy)
    }

    @Test func `somebody else's certificates in the directory are never touched`() async throws {
        let scene = try await DirectoryScene.make()
        let node = scene.nodes[0]
        let foreign = [
            "other.pem": ["other.example.net"],
            // One of our names, and one that only this file serves.
            "zz-shared.pem": [DirectoryScene.host("shop"), "shared.example.net"],
            // Called like a copy, and none.
            "shop.pem.example.net": ["www.example.net"],
        ]
        var bytes: [String: Data] = [:]
        for (file, names) in foreign {
            bytes[file] = try scene.pki.leaf(names).bundle(chain: [])
            try node.write(try #require(bytes[file]), file)
        }
        try await node.balancer.restart()
        _ = try await expectDrift(scene, [])
        try node.write(try other(scene), "blog.pem")
        try node.write(try scene.pki.leaf([DirectoryScene.host("blog")]).bundle(chain: []), "blog.pem.bak")
        _ = try await expectDrift(scene, ["edge/edge-1 blog disk-changed", "edge/edge-1 blog extra-file"])
        try await expectRepair(scene)
        for (file, names) in foreign {
            #expect(node.contents(file) == bytes[file])
            #expect(try await node.ask("show ssl cert \(node.path(file))").contains("Status: Used"))
            let leaf = try #require(try CertificateReader.certificates(in: bytes[file] ?? Data()).first)
            #expect(try await node.served(names.last ?? "") == leaf.record.sha256)
        }
    }

    // MARK: Several nodes

    @Test func `names the node that differs, and touches no other one`() async throws {
        let scene = try await DirectoryScene.make(nodes: 2)
        try await scene.nodes[1].swap(
            "blog.pem", to: try scene.pki.leaf([DirectoryScene.host("blog")]).bundle(chain: []))
        _ = try await expectDrift(scene, ["edge/edge-2 blog memory-changed"])
        let healthy = try DirectoryScene.files(below: scene.nodes[0].certificates)
        let run = try await scene.certs("drift", "--repair", exits: 0)
        #expect(!run.errors.contains("edge/edge-1"), "\(run.all)")
        #expect(try DirectoryScene.files(below: scene.nodes[0].certificates) == healthy)
        try await scene.expectInOrder()
        _ = try await expectDrift(scene, [])
    }

    @Test func `only the named certificates are looked at and repaired`() async throws {
        let scene = try await DirectoryScene.make()
        let node = scene.nodes[0]
        try node.write(try other(scene), "shop.pem")
        try node.write(try other(scene), "shop.pem.bak")
        try await scene.certs("drift", "blog", exits: 0)
        try await scene.certs("drift", "blog", "--repair", exits: 0)
        _ = try await expectDrift(scene, ["edge/edge-1 shop disk-changed", "edge/edge-1 shop extra-file"])
        try await scene.certs("drift", "shop", "--repair", exits: 0)
        try await scene.expectInOrder()
    }

    @Test(arguments: [DirectoryScene.Method.runtime, .signal])
    func `a node that cannot be reached is unknown, and hides no other one`(method: DirectoryScene.Method) async throws
    {
        let scene = try await DirectoryScene.make(method, nodes: 2)
        let (first, second) = (scene.nodes[0], scene.nodes[1])
        try first.write(try other(scene), "shop.pem")
        try await blocking.run { second.balancer.stop() }
        let files = try DirectoryScene.files(below: second.certificates)
        let unknown = ["edge/edge-2 blog unknown", "edge/edge-2 shop unknown"]
        let expected = ["edge/edge-1 shop disk-changed"] + unknown

        let run = try await scene.certs("drift", "-o", "json", exits: 1)
        #expect(try scene.decoded(Document.self, run).drift.map(\.short).sorted() == expected.sorted())
        // What can be mended is, and the end is no success.
        let repair = try await scene.certs("drift", "--repair", exits: 1)
        #expect(repair.errors.contains("left: edge/edge-2 shop"), "\(repair.all)")
        #expect(!repair.errors.contains("repaired:"))
        #expect(first.contents("shop.pem") == scene.bundle("shop"))
        let again = try await scene.certs("drift", "-o", "json", exits: 1)
        #expect(try scene.decoded(Document.self, again).drift.map(\.short).sorted() == unknown)
        #expect(try DirectoryScene.files(below: second.certificates) == files)

        try await second.balancer.start()
        _ = try await expectDrift(scene, [])
        try await scene.expectInOrder()
    }

    @Test func `a memory that cannot be looked at is unknown, although the handshakes are right`() async throws {
        let scene = try await DirectoryScene.make()
        unlink(scene.nodes[0].balancer.socket)
        let run = try await scene.certs("drift", "shop", "-o", "json", exits: 1)
        #expect(try scene.decoded(Document.self, run).drift.map(\.short) == ["edge/edge-1 shop unknown"])
        let repair = try await scene.certs("drift", "shop", "--repair", exits: 1)
        #expect(!repair.errors.contains("repaired:"))
    }

    // MARK: Beside a rotation

    @Test func `what an interrupted rotation left is no drift, and is brought to its end`() async throws {
        let scene = try await DirectoryScene.make()
        let before = try await scene.declared()
        try await scene.certs("rotate", "shop", exits: 128 + SIGKILL, fault: "after-apply:kill")
        let found = try await expectDrift(scene, ["edge/edge-1 shop unknown"])
        #expect(found.first?.message.contains("rotation") == true)
        try await scene.certs("drift", "--repair", exits: 0)
        #expect(try await scene.declared()["shop"] != before["shop"])
        try await scene.expectInOrder()
        _ = try await expectDrift(scene, [])
    }

    @Test func `a certificate whose own files are gone is unknown, and hides no other one`() async throws {
        let scene = try await DirectoryScene.make()
        try scene.nodes[0].write(try other(scene), "shop.pem")
        try FileManager.default.removeItem(atPath: "\(scene.state)/live/blog/current/bundle.pem")
        let found = try await expectDrift(scene, ["edge/edge-1 blog unknown", "edge/edge-1 shop disk-changed"])
        #expect(found.first { $0.certificate == "blog" }?.remedy.contains("certs rotate blog") == true)
    }

    @Test func `a repair that fails is told as what it is`() async throws {
        let scene = try await DirectoryScene.make()
        let node = scene.nodes[0]
        try node.write(try other(scene), "shop.pem")
        // Somebody else's transaction: nothing of ours goes through, and it stays as it is.
        try await node.ask("set ssl cert \(node.path("blog.pem")) <<", payload: try other(scene))
        let run = try await scene.certs("drift", "--repair", exits: 5)
        #expect(run.errors.contains("another client has a transaction open"), "\(run.all)")
        #expect(run.errors.contains("left: edge/edge-1 shop"))
        #expect(try await node.ask("show ssl cert").contains("*\(node.path("blog.pem"))"))
        try await node.ask("abort ssl cert \(node.path("blog.pem"))")
        try await expectRepair(scene)
    }
}
