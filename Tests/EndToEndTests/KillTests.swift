import CertsCore
import CertsCrypto
import CertsTesting
import Foundation
import Synchronization
import Testing

/// `kill -9` at every named point of a rotation, and in the middle of the conversation with HAProxy: the next start ends
/// in exactly one consistent state, and at no moment anything else than the old or the new certificate is served.
@Suite(.serialized) struct KillTests {
    static let stepsForward: [Rotation.Step] = [
        .key, .request, .issue, .check, .stage, .prepare, .apply, .verify, .commit,
    ]
    static let stepsBack: [Rotation.Step] = [.restore, .verifyRestored]

    static func points(_ steps: [Rotation.Step]) -> [String] {
        steps.flatMap { ["before-\($0.rawValue)", "after-\($0.rawValue)"] }
    }

    /// The scene that all cases of one table share: what one leaves behind is what the next begins with.
    struct Stage: Sendable {
        let scene: RotationScene
        let watch: Watch

        init(_ prepare: (RotationScene) async throws -> Void = { _ in }) async throws {
            scene = try await RotationScene.make()
            try await scene.certs("rotate", exits: 0)
            try await prepare(scene)
            watch = Watch(port: scene.balancer.port)
        }
    }

    private static let forward = Task { try await Stage() }
    private static let back = Task { try await Stage { try await $0.addForgottenCopy() } }

    @Test func `every point has a case`() {
        #expect(Set(Self.points(Self.stepsForward + Self.stepsBack + [.abandon])) == Set(FaultPoints.allNames))
    }

    @Test(arguments: points(stepsForward))
    func `the rotation is finished by the next start`(_ point: String) async throws {
        let (scene, watch) = try await { ($0.scene, $0.watch) }(Self.forward.value)
        let before = try await scene.expectOneTruth()
        let rotations = try await scene.history().count
        watch.reset()
        let killed = try await scene.certs("rotate", "messenger", fault: "\(point):kill")
        #expect(killed.status == 128 + SIGKILL, "\(killed.all)")
        try await scene.certs("rotate", exits: 0)
        let after = try await scene.expectOneTruth()
        // One rotation, one certificate: the one that was begun is the one that is served.
        #expect(after.revision == before.revision.map { $0 + 1 })
        #expect(try await scene.history().count == rotations + 1)
        #expect(try await scene.history().first?.outcome == "committed")
        expectOnly([before.sha256, after.sha256], watch)
    }

    @Test(arguments: points(stepsBack))
    func `the rollback is finished by the next start`(_ point: String) async throws {
        let (scene, watch) = try await { ($0.scene, $0.watch) }(Self.back.value)
        let before = try await scene.expectOneTruth()
        watch.reset()
        let killed = try await scene.certs("rotate", "messenger", fault: "\(point):kill")
        #expect(killed.status == 128 + SIGKILL, "\(killed.all)")
        try await scene.certs("rotate", exits: 6)
        let after = try await scene.expectOneTruth()
        #expect(after.revision == before.revision)
        #expect(after.sha256 == before.sha256)
        let last = try #require(try await scene.history().first)
        #expect(last.outcome == "rolled-back")
        #expect(last.failure?.code == "served.other")
        expectOnly([before.sha256], watch)
    }

    @Test(arguments: points([.abandon]))
    func `what could not be deployed is left alone by the next start`(_ point: String) async throws {
        let scene = try await RotationScene.make()
        try await scene.certs("rotate", exits: 0)
        let before = try await scene.served()
        await Self.stop(scene.balancer)
        let killed = try await scene.certs("rotate", "messenger", fault: "\(point):kill")
        #expect(killed.status == 128 + SIGKILL, "\(killed.all)")
        try await scene.balancer.start()
        try await scene.certs("rotate", exits: 1)
        let after = try await scene.expectOneTruth()
        #expect(after.sha256 == before)
        #expect(after.state == "undeployed")
        #expect(try await scene.history().first?.outcome == "failed")
    }

    private static func stop(_ balancer: Balancer) async {
        try? await blocking.run { balancer.stop() }
    }

    /// Where the conversation with HAProxy stands when the process dies.
    enum Moment: String, CaseIterable {
        /// HAProxy has the certificate in an open transaction.
        case afterSet
        /// The transaction is open and checked.
        case beforeCommit
        /// HAProxy serves the new certificate, the disk has the old one.
        case afterCommit
    }

    @Test(arguments: Moment.allCases)
    func `in the middle of the conversation with HAProxy`(_ moment: Moment) async throws {
        let scene = try await RotationScene.make(.init(reload: "{ method: runtime, socket: DIR/between.sock }"))
        let isArmed = Mutex(false)
        let sawCommit = Mutex(false)
        let hasHung = Mutex(false)
        let real = scene.balancer.socket
        let between = try FakeHAProxy(at: scene.directory.path("between.sock"), certificates: []) { _, command in
            guard isArmed.withLock({ $0 }) else { return .forward(to: real) }
            let hangs =
                switch moment {
                case .afterSet: command.hasPrefix("show ssl cert *")
                case .beforeCommit: command.hasPrefix("commit")
                case .afterCommit: sawCommit.withLock { $0 }
                }
            if command.hasPrefix("commit") { sawCommit.withLock { $0 = true } }
            if hangs { hasHung.withLock { $0 = true } }
            return hangs ? .hang : .forward(to: real)
        }
        defer { between.stop() }
        try await scene.certs("rotate", exits: 0)
        let before = try await scene.expectOneTruth()
        let watch = Watch(port: scene.balancer.port)

        isArmed.withLock { $0 = true }
        let child = try scene.program(["rotate", "messenger"]).start(output: "/dev/null", errors: "/dev/null")
        #expect(try await eventually { hasHung.withLock { $0 } })
        kill(child, SIGKILL)
        #expect(try await blocking.run { Program.wait(for: child, seconds: 10) } == 128 + SIGKILL)
        isArmed.withLock { $0 = false }
        if moment == .afterCommit {
            #expect(try await scene.served() != (try scene.onDisk().record.sha256))
        } else {
            #expect(try await blocking.run { try scene.balancer.ask("show ssl cert") }.contains("*\(scene.bundle)"))
        }
        try await scene.certs("rotate", exits: 0)
        let after = try await scene.expectOneTruth()
        #expect(after.revision == 2)
        try await watch.end()
        expectOnly([before.sha256, after.sha256], watch)
    }

    @Test func `at any moment`() async throws {
        let scene = try await RotationScene.make()
        let whole = try await scene.certs("rotate", exits: 0).seconds
        let watch = Watch(port: scene.balancer.port)
        var allowed: Set<String?> = [try await scene.served()]
        let count = 16
        for index in 0..<count {
            let child = try scene.program(["rotate", "messenger"]).start(output: "/dev/null", errors: "/dev/null")
            let delay = whole * Double(index + 1) / Double(count)
            _ = try await blocking.run { usleep(UInt32(delay * 1_000_000)) }
            kill(child, SIGKILL)
            _ = try await blocking.run { Program.wait(for: child, seconds: 10) }
            try await scene.certs("rotate", exits: 0)
            allowed.insert(try await scene.expectOneTruth("killed after \(delay) s").sha256)
        }
        try await watch.end()
        expectOnly(allowed, watch)
    }

    /// Expects that nothing else was served, and that every handshake went well.
    private func expectOnly(_ allowed: Set<String?>, _ watch: Watch, sourceLocation: SourceLocation = #_sourceLocation)
    {
        #expect(watch.count > 0, sourceLocation: sourceLocation)
        #expect(watch.failures.isEmpty, "\(watch.failures.prefix(3))", sourceLocation: sourceLocation)
        #expect(watch.seen.isSubset(of: Set(allowed.compactMap { $0 })), sourceLocation: sourceLocation)
    }
}
