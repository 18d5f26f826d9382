import CertsCore
import CertsTesting
import Foundation
import Testing

/// `certs check --live`: whether a rotation would succeed, before it has to. What is found is listed, by node, with what to
/// do; each finding by itself is tested in `PreflightTests`.
@Suite struct CheckLiveTests {
    private struct Document: Decodable {
        struct Found: Decodable {
            let subject: String
            let id: String
            let severity: String
            let message: String
            let remedy: String
        }
        let schema: Int
        let findings: [Found]
    }

    /// Runs it; expects these findings as `subject id`, and that no file and no HAProxy was changed.
    private func expectFindings(
        _ scene: DirectoryScene, _ expected: [String], exits status: Int32,
        sourceLocation: SourceLocation = #_sourceLocation
    ) async throws {
        let before = try scene.nodes.map { try DirectoryScene.files(below: $0.certificates) }
        let run = try await scene.certs("check", "--live", "-o", "json", exits: status, sourceLocation: sourceLocation)
        let found = try scene.decoded(Document.self, run)
        #expect(
            found.findings.map { "\($0.subject) \($0.id)" }.sorted() == expected.sorted(), "\(run.all)",
            sourceLocation: sourceLocation)
        #expect(found.findings.allSatisfy { !$0.message.isEmpty && !$0.remedy.isEmpty })
        #expect(found.findings.contains { $0.severity == "error" } == (status == 1), sourceLocation: sourceLocation)
        #expect(try scene.nodes.map { try DirectoryScene.files(below: $0.certificates) } == before)
    }

    @Test(arguments: DirectoryScene.Method.allCases)
    func `finds nothing where all is well`(method: DirectoryScene.Method) async throws {
        let scene = try await DirectoryScene.make(method)
        try await expectFindings(scene, [], exits: 0)
    }

    @Test func `a warning is told, and is no failure`() async throws {
        let scene = try await DirectoryScene.make()
        let node = scene.nodes[0]
        chmod(node.path("shop.pem"), 0o644)
        try node.write(Data("notes".utf8), "notes.txt")
        try await expectFindings(
            scene, ["edge/edge-1 bundle-readable-by-all", "edge/edge-1 foreign-file"], exits: 0)
    }

    @Test func `one bad node hides no other one, and nothing is changed`() async throws {
        let scene = try await DirectoryScene.make(nodes: 3)
        let (first, second) = (scene.nodes[0], scene.nodes[1])
        let other = try scene.pki.leaf([DirectoryScene.host("shop")]).bundle(chain: [])
        try await first.ask("set ssl cert \(first.path("shop.pem")) <<", payload: other)
        try await blocking.run { second.balancer.stop() }
        let gone = "edge/edge-2 127.0.0.1:\(second.balancer.port) endpoint-unreachable"
        try await expectFindings(
            scene, ["edge/edge-1 foreign-transaction", "edge/edge-2 socket-missing", gone, gone], exits: 1)
        #expect(try await first.ask("show ssl cert").contains("*\(first.path("shop.pem"))"), "left as it was")
    }

    @Test func `a copy that HAProxy has loaded is an error beforehand`() async throws {
        let scene = try await DirectoryScene.make(.fallback)
        let node = scene.nodes[0]
        try node.write(try #require(node.contents("shop.pem")), "shop.pem.bak")
        try await node.balancer.restart()
        try await expectFindings(scene, ["edge/edge-1 duplicate-name", "edge/edge-1 foreign-file"], exits: 1)
        try await scene.certs("drift", "--repair", exits: 0)
        try await expectFindings(scene, [], exits: 0)
    }
}
