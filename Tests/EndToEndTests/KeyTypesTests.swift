import CertsCore
import CertsCrypto
import CertsTesting
import Foundation
import Synchronization
import Testing

/// `keys: [ecdsa-p256, rsa-2048]` with the program and the real HAProxy.
@Suite struct KeyTypesTests {
    static let types = ["ecdsa", "rsa"]

    /// A scene whose HAProxy has `server.pem.ecdsa` and `server.pem.rsa` only.
    private func scene(_ setting: RotationScene.Setting = .init()) async throws -> RotationScene {
        let scene = try await RotationScene.make(setting, serves: false)
        try FileManager.default.removeItem(atPath: scene.bundle)
        for (type, algorithm) in zip(Self.types, [KeyAlgorithm.ecdsaP256, .rsa2048]) {
            let first = try scene.pki.selfSigned([RotationScene.name], algorithm: algorithm)
            try scene.directory.write(try first.bundle(chain: []), to: "certs/server.pem.\(type)")
        }
        try scene.writeConfiguration {
            $0.replacingOccurrences(of: "key: { algorithm: ecdsa-p256 }", with: "keys: [ecdsa-p256, rsa-2048]")
        }
        try await scene.balancer.start()
        return scene
    }

    /// What the `openssl` program sees when it offers only this type.
    private func served(_ type: String, _ scene: RotationScene, version: String = "-tls1_3") async throws -> String {
        let algorithms = type == "rsa" ? "RSA-PSS+SHA256:RSA+SHA256" : "ECDSA+SHA256"
        let cipher = type == "rsa" ? "ECDHE-RSA-AES128-GCM-SHA256" : "ECDHE-ECDSA-AES128-GCM-SHA256"
        let text = try await tool(
            "/bin/sh", "-c",
            "openssl s_client -connect 127.0.0.1:\(scene.balancer.port) -servername \(RotationScene.name) \(version) "
                + "-sigalgs \(algorithms) -cipher \(cipher) </dev/null 2>/dev/null "
                + "| openssl x509 -noout -fingerprint -sha256")
        return text.drop { $0 != "=" }.dropFirst().filter { $0 != ":" && !$0.isWhitespace }.lowercased()
    }

    private func onDisk(_ type: String, _ scene: RotationScene) throws -> String {
        let bytes = try Data(contentsOf: URL(filePath: "\(scene.bundle).\(type)"))
        let leaf = try #require(try CertificateReader.certificates(in: bytes).first)
        #expect(try PrivateKey(pem: Secret(copying: bytes)).matches(leaf))
        #expect(leaf.record.keyAlgorithm.hasPrefix(type))
        return leaf.record.sha256
    }

    /// Each type is served, on disk and in the status; in the order of ``types``.
    @discardableResult
    private func expectOneTruth(_ scene: RotationScene) async throws -> [String] {
        var leaves: [String] = []
        for type in Self.types {
            let leaf = try onDisk(type, scene)
            for version in ["-tls1_2", "-tls1_3"] { #expect(try await served(type, scene, version: version) == leaf) }
            leaves.append(leaf)
        }
        let status = try await scene.status()
        #expect(Set([status.sha256].compactMap { $0 } + (status.alternates ?? [])) == Set(leaves))
        #expect(status.alternates?.count == 1)
        #expect(status.targets.flatMap(\.endpoints).allSatisfy { $0.matches == true })
        #expect(!FileManager.default.fileExists(atPath: scene.bundle))
        return leaves
    }

    @Test func `each client gets the leaf that it can verify`() async throws {
        let scene = try await scene()
        let pid = try await blocking.run { try scene.balancer.ask("show info") }.split(separator: "\n")
            .first { $0.hasPrefix("Pid:") }
        try await scene.certs("rotate", exits: 0)
        let first = try await expectOneTruth(scene)
        try await scene.certs("rotate", "messenger", exits: 0)
        let second = try await expectOneTruth(scene)
        #expect(Set(first).isDisjoint(with: second))
        #expect(
            try await blocking.run { try scene.balancer.ask("show info") }.split(separator: "\n").contains { $0 == pid }
        )
        let live = scene.state + "/live/messenger/current/"
        for file in ["key.ecdsa.pem", "key.rsa.pem", "bundle.ecdsa.pem", "bundle.rsa.pem"] {
            #expect(try scene.mode(live + file) == 0o600)
        }
        try await scene.certs("rollback", "messenger", exits: 0)
        #expect(try await expectOneTruth(scene) == first)
        // From the disk, too.
        try await scene.balancer.restart()
        #expect(try await expectOneTruth(scene) == first)
        try await scene.certs("drift", exits: 0)
    }

    @Test func `a commit that is refused for the second brings the first back`() async throws {
        let scene = try await scene(.init(reload: "{ method: runtime, socket: DIR/between.sock }"))
        let real = scene.balancer.socket
        let isArmed = Mutex(false)
        let between = try FakeHAProxy(at: scene.directory.path("between.sock"), certificates: []) { _, command in
            guard isArmed.withLock({ $0 }), command.hasPrefix("commit"), command.hasSuffix(".rsa") else {
                return .forward(to: real)
            }
            isArmed.withLock { $0 = false }
            return .reply("inconsistencies between private key and certificate loaded.\nCan't commit!\n\n")
        }
        defer { between.stop() }
        try await scene.certs("rotate", exits: 0)
        let before = try await expectOneTruth(scene)
        isArmed.withLock { $0 = true }
        let run = try await scene.certs("rotate", "messenger", exits: 6)
        #expect(run.all.contains("inconsistencies"), "\(run.all)")
        #expect(between.state.commands.filter { $0.hasPrefix("commit") && $0.hasSuffix(".ecdsa") }.count == 3)
        #expect(try await expectOneTruth(scene) == before)
        // The refused revision can be deployed once HAProxy takes it.
        try await scene.certs("deploy", "messenger", exits: 0)
        #expect(Set(try await expectOneTruth(scene)).isDisjoint(with: before))
    }

    @Test func `a second key type is a change that the plan names`() async throws {
        let scene = try await RotationScene.make()
        try await scene.certs("rotate", exits: 0)
        let before = try await scene.expectOneTruth().sha256
        try scene.writeConfiguration {
            $0.replacingOccurrences(of: "key: { algorithm: ecdsa-p256 }", with: "keys: [ecdsa-p256, rsa-2048]")
        }
        let plan = try scene.decoded(PlanDocument.self, try await scene.certs("plan", "-o", "json", exits: 0))
        #expect(plan.items.map(\.reason) == ["key-changed"])
        let run = try await scene.certs("rotate", exits: 1)
        #expect(run.all.contains("one file for every client"), "\(run.all)")
        #expect(try await scene.served() == before)
    }
}
