import CertsCore
import CertsCrypto
import CertsTesting
import Foundation
import Synchronization
import Testing

/// Five HAProxys, each a process with a directory, a socket and a bundle file of its own, declared as one target `edge` of
/// one certificate: the canary `n1`, then `n2`, then the rest.
///
/// Between `certs` and each HAProxy stands a relay, which a test can tell to misbehave.
final class Fleet: Sendable {
    static let names = ["n1", "n2", "n3", "n4", "n5"]

    /// What the relay of a node does with a command; `nil`: it passes it on.
    typealias Script = @Sendable (_ command: String) -> FakeHAProxy.Behaviour?

    final class Node: Sendable {
        let name: String
        let directory: TemporaryDirectory
        let balancer: Balancer
        private let relay: FakeHAProxy
        private let script: Box

        private final class Box: Sendable {
            let value = Mutex<Script?>(nil)
        }

        var bundle: String { directory.path("server.pem") }

        init(_ name: String, first: Data) throws {
            self.name = name
            directory = try TemporaryDirectory(prefix: "certs-e2e-\(name)")
            let bundle = try directory.write(first, to: "server.pem")
            balancer = try Balancer(in: directory, crt: [bundle])
            let (box, real) = (Box(), balancer.socket)
            script = box
            relay = try FakeHAProxy(at: directory.path("relay.sock"), certificates: []) { _, command in
                box.value.withLock { $0 }?(command) ?? .forward(to: real)
            }
        }

        func relay(_ new: Script?) { script.value.withLock { $0 = new } }

        /// Whether the socket of the relay can be found: that of a HAProxy that is gone cannot.
        func hide(_ isHidden: Bool) {
            let (here, away) = (directory.path("relay.sock"), directory.path("relay.sock.away"))
            _ = isHidden ? rename(here, away) : rename(away, here)
        }
    }

    let directory: TemporaryDirectory
    let pki: TestPKI
    let nodes: [Node]

    var state: String { directory.path("state") }

    private init() throws {
        directory = try TemporaryDirectory(prefix: "certs-e2e-fleet")
        pki = try TestPKI()
        let first = try pki.selfSigned([RotationScene.name]).bundle(chain: [])
        nodes = try Self.names.map { try Node($0, first: first) }
        let declared = nodes.map { node in
            """
                  - name: \(node.name)
                    bundle: \(node.bundle)
                    reload: { method: runtime, socket: \(node.directory.path("relay.sock")) }
                    endpoints: [ { address: "127.0.0.1:\(node.balancer.port)", serverName: \(RotationScene.name) } ]
            """
        }
        try directory.write(
            """
            version: 1
            state: ./state
            issuers:
              local: { type: local-ca, commonName: Fleet CA, validity: 90d }
            certificates:
              - { name: messenger, dnsNames: [\(RotationScene.name)], key: { algorithm: ecdsa-p256 }, issuer: local, targets: [edge] }
            targets:
              - name: edge
                type: haproxy
                waves: [1, 25%, 100%]
                nodes:
            \(declared.joined(separator: "\n"))

            """, to: "certs.yml")
    }

    /// All five serve, from one first certificate, or from the first rotation's.
    static func make(rotated: Bool = true) async throws -> Fleet {
        let fleet = try await blocking.run { try Fleet() }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for node in fleet.nodes { group.addTask { try await node.balancer.start() } }
            try await group.waitForAll()
        }
        if rotated { try await fleet.certs("rotate", exits: 0) }
        return fleet
    }

    subscript(_ name: String) -> Node {
        get throws { try #require(nodes.first { $0.name == name }) }
    }

    // MARK: The program

    func program(_ arguments: [String], fault: String? = nil) -> Program {
        RotationScene.program(arguments + ["--config", directory.path("certs.yml")], fault)
    }

    /// Runs it; `nil`: any exit code will do.
    @discardableResult
    func certs(
        _ arguments: String..., exits status: Int32?, fault: String? = nil,
        sourceLocation: SourceLocation = #_sourceLocation
    ) async throws -> Program.Outcome {
        var program = program(arguments, fault: fault)
        program.deadline = 120
        let outcome = try await program.run()
        if let status {
            #expect(outcome.status == status, "certs \(arguments): \(outcome.all)", sourceLocation: sourceLocation)
        }
        return outcome
    }

    func history() async throws -> [HistoryDocument.Rotation] {
        try await certs("history", "messenger", "-o", "json", exits: 0).decoded(HistoryDocument.self).rotations
    }

    // MARK: What is live

    /// Expects one certificate everywhere: on every node served, in HAProxy's memory and on the disk, and recorded as the
    /// current one; no transaction, temporary file or open rotation is left.
    /// - Returns: its SHA-256.
    @discardableResult
    func expectOneFingerprint(_ comment: Comment? = nil, sourceLocation: SourceLocation = #_sourceLocation) async throws
        -> String
    {
        let nodes = nodes
        let sights = try await blocking.run { try nodes.map { try $0.look() } }
        let all = Set(sights.map(\.served))
        #expect(all.count == 1, comment, sourceLocation: sourceLocation)
        for (node, sight) in zip(nodes, sights) { sight.expectAgreement(node.name, comment, sourceLocation) }
        let status = try await certs("status", "messenger", "-o", "json", exits: 0).decoded(StatusDocument.self)
        let certificate = try #require(status.certificates.first)
        #expect(certificate.sha256.map { [$0] } == all, comment, sourceLocation: sourceLocation)
        let current = try FileManager.default.destinationOfSymbolicLink(atPath: "\(state)/live/messenger/current")
        #expect(current == certificate.revision.map(String.init), comment, sourceLocation: sourceLocation)
        #expect(try await history().allSatisfy { $0.outcome != "open" }, comment, sourceLocation: sourceLocation)
        return try #require(all.first)
    }
}

extension Fleet.Node {
    /// What is found on one node.
    struct Sight: Sendable {
        let served: String
        let disk: CertificateRecord
        let isKeyRight: Bool
        /// `show ssl cert`, and the same of the bundle.
        let list: String
        let memory: String
        let files: [String]

        func expectAgreement(_ node: String, _ comment: Comment?, _ place: SourceLocation) {
            let comment = Comment(rawValue: "\(node): \(comment?.rawValue ?? "")")
            #expect(disk.sha256 == served, comment, sourceLocation: place)
            #expect(isKeyRight, comment, sourceLocation: place)
            #expect(memory.lowercased().contains(disk.sha1), comment, sourceLocation: place)
            #expect(memory.contains("Status: Used"), comment, sourceLocation: place)
            #expect(!list.split(separator: "\n").contains { $0.hasPrefix("*") }, comment, sourceLocation: place)
            #expect(files.filter { $0.contains("tmp") } == [], comment, sourceLocation: place)
        }
    }

    /// Blocking.
    func look() throws -> Sight {
        let probe = try TLSProbe(host: "127.0.0.1", port: balancer.port, serverName: RotationScene.name).run()
        let bytes = try Data(contentsOf: URL(filePath: bundle))
        let disk = try #require(try CertificateReader.certificates(in: bytes).first)
        return Sight(
            served: probe.leaf.record.sha256, disk: disk.record,
            isKeyRight: try PrivateKey(pem: Secret(copying: bytes)).matches(disk),
            list: try balancer.ask("show ssl cert"), memory: try balancer.ask("show ssl cert \(bundle)"),
            files: try FileManager.default.contentsOfDirectory(atPath: directory.path))
    }

    /// Puts a bundle into HAProxy's memory, as another admin would. Blocking.
    func swap(to bundle: Data) throws {
        try balancer.ask("set ssl cert \(self.bundle) <<", payload: bundle)
        let answer = try balancer.ask("commit ssl cert \(self.bundle)")
        guard answer.contains("Success!") else { throw Program.Failure(description: answer) }
    }
}
