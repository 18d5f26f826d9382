import CertsCore
import Foundation
import Testing

/// Several nodes: all are prepared, then one wave after the other.
@Suite struct WaveTests {
    static let now = RotationTests.now

    static func target(_ count: Int, _ waves: [TargetDeclaration.Wave]) throws -> TargetDeclaration {
        let name = try Name("edge")
        return TargetDeclaration(
            name: name,
            nodes: try (1...count).map { number in
                NodeDeclaration(
                    id: NodeID(name, node: try Name("n\(number)")), bundle: "/x.pem", reload: .runtime(socket: "/s"),
                    endpoints: [])
            }, waves: waves)
    }

    static func rotation(_ count: Int, _ waves: [TargetDeclaration.Wave]) throws -> Rotation {
        let target = try target(count, waves)
        return Rotation(
            id: "r", certificate: try Name("messenger"), revision: 2, purpose: .deploy, reason: .requested,
            deployments: zip(target.nodes, target.waveNumbers).map { Deployment(node: $0.id, wave: $1) }, startedAt: now
        )
    }

    static let shapes: [(count: Int, waves: [TargetDeclaration.Wave], numbers: [Int])] = [
        (5, [], [0, 1, 2, 3, 4]),
        (5, [.nodes(1), .percent(100)], [0, 1, 1, 1, 1]),
        (5, [.nodes(1), .percent(25), .percent(100)], [0, 1, 2, 2, 2]),
        (8, [.nodes(1), .percent(25), .percent(100)], [0, 1, 2, 2, 2, 2, 2, 2]),
        (4, [.nodes(2)], [0, 0, 1, 1]),
        (1, [.nodes(1), .percent(25), .percent(100)], [0]),
        (3, [.nodes(99)], [0, 0, 0]),
        (3, [.percent(1)], [0, 1, 1]),
    ]

    @Test(arguments: shapes)
    func countTheNodesOfEachWave(_ shape: (count: Int, waves: [TargetDeclaration.Wave], numbers: [Int])) throws {
        #expect(try Self.target(shape.count, shape.waves).waveNumbers == shape.numbers)
    }

    /// `apply n1`, … in the order in which a healthy rotation goes.
    private static func order(_ start: Rotation) -> [String] {
        var rotation = start
        var order: [String] = []
        while !rotation.isFinished {
            let node = rotation.currentNode?.node.map { " \($0)" } ?? ""
            order.append("\(rotation.step.rawValue)\(node)")
            RotationTests.succeed(&rotation)
        }
        return order
    }

    @Test func aWaveIsVerifiedBeforeTheNextBegins() throws {
        #expect(
            Self.order(try Self.rotation(4, [.nodes(1), .percent(75)])) == [
                "check", "stage", "prepare n1", "prepare n2", "prepare n3", "prepare n4",
                "apply n1", "verify n1",
                "apply n2", "apply n3", "verify n2", "verify n3",
                "apply n4", "verify n4", "commit",
            ])
    }

    /// Each node, each step on the way forward: what was touched comes back, in reverse, and nothing else.
    @Test func aFailureBringsBackEveryNodeThatWasTouched() throws {
        let waves: [TargetDeclaration.Wave] = [.nodes(1), .percent(50), .percent(100)]
        let length = Self.order(try Self.rotation(5, waves)).count
        for position in 0..<length {
            var rotation = try Self.rotation(5, waves)
            for _ in 0..<position { RotationTests.succeed(&rotation) }
            let touched = rotation.deployments.filter(\.isTouched).map(\.node)
            rotation.fail(CertsError(.targetTimeout, "injected"), at: Self.now)
            var restored: [NodeID] = []
            while !rotation.isFinished {
                if case .restore(let node, _) = rotation.action { restored.append(node) }
                RotationTests.succeed(&rotation)
            }
            #expect(restored == touched.reversed())
            #expect(rotation.outcome == (touched.isEmpty ? .failed : .rolledBack))
        }
    }

    @Test func whatIsResumedAppliesOnlyAfterEverythingIsPrepared() throws {
        let length = Self.order(try Self.rotation(3, [.nodes(1), .percent(100)])).count
        for position in 0..<length {
            var rotation = try Self.rotation(3, [.nodes(1), .percent(100)])
            for _ in 0..<position { RotationTests.succeed(&rotation) }
            let wasTouched = rotation.deployments.contains(where: \.isTouched)
            rotation.resume(at: Self.now)
            if wasTouched, !rotation.step.isWayBack { #expect(rotation.currentNode?.node?.rawValue == "n1") }
            while !rotation.isFinished { RotationTests.succeed(&rotation) }
            #expect(rotation.outcome == .committed)
            #expect(rotation.deployments.allSatisfy { $0.state == .verified && $0.receipt != nil })
        }
    }

    /// Each node, at each step: the others end as one, and nothing waits for a node that nobody declares.
    @Test func aNodeThatWasTakenOutIsNoLongerWaitedFor() throws {
        let waves: [TargetDeclaration.Wave] = [.nodes(1), .percent(100)]
        let length = Self.order(try Self.rotation(3, waves)).count
        for (gone, position) in (1...3).flatMap({ gone in (0..<length).map { (gone, $0) } }) {
            for isOnItsWayBack in [false, true] {
                var rotation = try Self.rotation(3, waves)
                for _ in 0..<position { RotationTests.succeed(&rotation) }
                if isOnItsWayBack { rotation.fail(CertsError(.targetTimeout, "injected"), at: Self.now) }
                if rotation.isFinished { continue }
                let left = Set(rotation.deployments.map(\.node).filter { $0.node?.rawValue != "n\(gone)" })
                rotation.resume(at: Self.now, declared: left)
                var steps = 0
                while !rotation.isFinished, steps < 100 {
                    if let node = rotation.currentNode { #expect(left.contains(node)) }
                    RotationTests.succeed(&rotation)
                    steps += 1
                }
                #expect(rotation.isFinished)
                #expect(Set(rotation.deployments.map(\.node)) == left)
                if !isOnItsWayBack {
                    #expect(rotation.outcome == .committed)
                    #expect(rotation.deployments.allSatisfy { $0.state == .verified })
                }
            }
        }
    }
}
