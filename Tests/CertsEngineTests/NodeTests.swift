import CertsCore
import CertsEngine
import CertsStore
import CertsTesting
import Foundation
import Synchronization
import Testing

/// Several nodes of one target: prepared together, deployed in waves, and all the same at the end.
@Suite struct NodeTests {
    let name = EngineWorld.name
    static let waves: [TargetDeclaration.Wave] = [.nodes(1), .percent(25), .percent(100)]

    @Test func `the canary is verified before the others are touched`() async throws {
        let world = try await EngineWorld(targets: 5, waves: Self.waves)
        let steps = Mutex<[String]>([])
        let engine = world.engine(progress: { rotation in
            guard let node = rotation.currentNode?.node else { return }
            steps.withLock { $0.append("\(rotation.step.rawValue) \(node)") }
        })
        #expect(await engine.rotate([name]).first?.rotation?.outcome == .committed)
        #expect(
            steps.withLock { $0 } == [
                "prepare n1", "prepare n2", "prepare n3", "prepare n4", "prepare n5",
                "apply n1", "verify n1", "apply n2", "verify n2",
                "apply n3", "apply n4", "apply n5", "verify n3", "verify n4", "verify n5",
            ])
        #expect(try await world.served() == [world.current()])
        let nodes = try #require(try await world.certificateState()).targets
        #expect(nodes.map(\.node.description) == ["edge/n1", "edge/n2", "edge/n3", "edge/n4", "edge/n5"])
        #expect(nodes.allSatisfy { $0.state == .verified })
    }

    static let failures = (0..<5).flatMap { node in ["prepare", "apply", "verify"].map { (node, $0) } }

    @Test(arguments: failures, [false, true])
    func `a failure on any node brings back every node`(_ failure: (node: Int, call: String), reloads: Bool)
        async throws
    {
        let world = try await EngineWorld(targets: 5, waves: Self.waves, reloads: reloads)
        _ = await world.engine().rotate([name])
        let old = try await world.current()
        for target in world.targets { target.live.calls = [] }
        world.targets[failure.node].live.failing = [failure.call]
        let rotation = try #require(await world.engine().rotate([name]).first?.rotation)
        #expect(rotation.outcome == (failure.call == "prepare" ? .failed : .rolledBack))
        #expect(rotation.failure?.code == .targetTimeout)
        #expect(world.served() == [old])
        #expect(try await world.current() == old)
        for (target, deployment) in zip(world.targets, rotation.deployments) {
            let isApplied = target.live.calls.contains("apply 2")
            #expect(isApplied == deployment.isTouched)
            #expect(deployment.isTouched == target.live.calls.contains("restore"))
        }
        let waveEnds = [1, 2, 5, 5, 5]
        let touched =
            failure.call == "prepare" ? 0 : failure.call == "apply" ? failure.node + 1 : waveEnds[failure.node]
        #expect(rotation.deployments.count(where: \.isTouched) == touched)
    }

    @Test func `a node that cannot be restored does not keep the others from it, and is named`() async throws {
        let world = try await EngineWorld(targets: 5, waves: Self.waves)
        _ = await world.engine().rotate([name])
        let old = try await world.current()
        world.targets[4].live.failing = ["verify"]
        world.targets[2].live.failing = ["restore"]
        let rotation = try #require(await world.engine().rotate([name]).first?.rotation)
        #expect(rotation.outcome == .rollbackFailed)
        #expect(rotation.deployments.map(\.state) == [.rolledBack, .rolledBack, .failed, .rolledBack, .rolledBack])
        #expect(world.targets.map { $0.live.served == old } == [true, true, false, true, true])
        // The next deployment makes them one again.
        #expect(await world.engine().deploy([name]).first?.rotation?.outcome == .committed)
        #expect(try await world.served() == [world.current()])
        #expect(world.issuer.issued == 2)
    }

    /// Records of a rotation over five nodes: five of them before the nodes, then `prepare`, `apply` and `verify` of each,
    /// `commit`, and the end.
    @Test(arguments: 0..<24)
    func `wherever the process died, all nodes end with the same`(_ records: Int) async throws {
        let world = try await EngineWorld(targets: 5, waves: Self.waves, reloads: records.isMultiple(of: 2))
        _ = await world.engine().rotate([name])
        var context = world.engine().context
        context.journal = RecoveryTests.DyingJournal(world.database, steps: records)
        _ = await RotationEngine(context).rotate([name])
        try await world.engine().recover()
        #expect(try await world.database.openRotations().isEmpty)
        #expect(try await world.served() == [world.current()])
        #expect(world.targets.allSatisfy { !$0.live.isTransactionOpen })
    }
}
