import CertsCore
import Foundation
import Testing

@Suite struct RotationTests {
    static let now = Date(timeIntervalSince1970: 1_800_000_000)

    static func rotation(_ purpose: Rotation.Purpose = .issue, targets: [String] = ["one", "two"]) throws -> Rotation {
        Rotation(
            id: "r", certificate: try Name("messenger"), revision: 2, purpose: purpose, reason: .beforeExpiry,
            deployments: try targets.map { Deployment(node: NodeID(try Name($0))) }, startedAt: now)
    }

    static func receipt(_ node: NodeID) -> DeploymentReceipt {
        let file = FileReceipt(path: "/live/\(node).pem", role: .bundle(slot: nil), previous: nil)
        return DeploymentReceipt(method: "runtime", reloads: false, files: [file], baseline: [], takenAt: now)
    }

    /// Completes the current step as a healthy world would.
    static func succeed(_ rotation: inout Rotation) {
        if case .prepare(let node) = rotation.action {
            rotation.complete(.prepared(receipt(node), findings: []), at: now)
        } else {
            rotation.complete(at: now)
        }
    }

    /// The steps that lead to the end when everything goes well.
    static func healthyPath(_ start: Rotation) -> [Rotation.Step] {
        var rotation = start
        var steps: [Rotation.Step] = []
        while !rotation.isFinished, steps.count < 100 {
            steps.append(rotation.step)
            succeed(&rotation)
        }
        return steps
    }

    @Test func goesThroughEveryStageInOrder() throws {
        var rotation = try Self.rotation()
        #expect(
            Self.healthyPath(rotation) == [
                .key, .request, .issue, .check, .stage, .prepare, .prepare, .apply, .verify, .apply, .verify, .commit,
            ])
        while !rotation.isFinished { Self.succeed(&rotation) }
        #expect(rotation.outcome == .committed)
        #expect(rotation.failure == nil)
        #expect(rotation.deployments.allSatisfy { $0.state == .verified })
    }

    @Test func aDeploymentBeginsWithTheCheck() throws {
        #expect(
            Self.healthyPath(try Self.rotation(.deploy, targets: ["one"])) == [
                .check, .stage, .prepare, .apply, .verify, .commit,
            ])
    }

    @Test func withoutTargetsItCommitsAfterStaging() throws {
        #expect(Self.healthyPath(try Self.rotation(targets: [])) == [.key, .request, .issue, .check, .stage, .commit])
    }

    /// Every place where a rotation with two targets can fail, and how it must end.
    static let failures: [(position: Int, outcome: Rotation.Outcome, restored: [String])] = [
        (0, .failed, []), (1, .failed, []), (2, .failed, []), (3, .failed, []), (4, .failed, []),
        (5, .failed, []), (6, .failed, []),
        (7, .rolledBack, ["one"]), (8, .rolledBack, ["one"]),
        (9, .rolledBack, ["two", "one"]), (10, .rolledBack, ["two", "one"]), (11, .rolledBack, ["two", "one"]),
    ]

    @Test(arguments: failures)
    func aFailureEndsWithTheOldCertificate(_ scenario: (position: Int, outcome: Rotation.Outcome, restored: [String]))
        throws
    {
        var rotation = try Self.rotation()
        for _ in 0..<scenario.position { Self.succeed(&rotation) }
        let failedStep = rotation.step
        rotation.fail(CertsError(.targetTimeout, "no answer"), at: Self.now)
        var restored: [String] = []
        while !rotation.isFinished {
            if case .restore(let node, _) = rotation.action { restored.append(node.description) }
            Self.succeed(&rotation)
        }
        #expect(rotation.outcome == scenario.outcome)
        #expect(restored == scenario.restored)
        #expect(rotation.failure?.step == failedStep)
        #expect(rotation.failure?.code == .targetTimeout)
    }

    @Test func aFailedRestorationDoesNotStopTheOthersAndShowsInTheOutcome() throws {
        var rotation = try Self.rotation()
        while rotation.step != .commit { Self.succeed(&rotation) }
        rotation.fail(CertsError(.fileUnwritable, "disk full"), at: Self.now)
        #expect(rotation.currentNode?.description == "two")
        rotation.fail(CertsError(.targetUnreachable, "gone"), at: Self.now)
        let one = NodeID(try Name("one"))
        #expect(rotation.action == .restore(one, receipt: Self.receipt(one)))
        while !rotation.isFinished { Self.succeed(&rotation) }
        #expect(rotation.outcome == .rollbackFailed)
        #expect(rotation.failure?.code == .fileUnwritable, "the first failure is the reason")
    }

    @Test func neverAppliesWithoutAReceipt() throws {
        var rotation = try Self.rotation(targets: ["one"])
        while rotation.step != .prepare { Self.succeed(&rotation) }
        rotation.complete(.done, at: Self.now)
        while !rotation.isFinished {
            if case .apply = rotation.action { Issue.record("applied without a receipt") }
            Self.succeed(&rotation)
        }
        #expect(rotation.outcome == .failed)
    }

    @Test func waitsForTheIssuerAndGoesOnWithTheSameHandle() throws {
        var rotation = try Self.rotation(targets: [])
        while rotation.step != .issue { Self.succeed(&rotation) }
        let later = Self.now.addingTimeInterval(60)
        rotation.complete(.pending(ResumeHandle("order-7"), retryAt: later), at: Self.now)
        #expect(rotation.step == .issue)
        #expect(rotation.resumeHandles[nil] == ResumeHandle("order-7"))
        #expect(rotation.action == .issue(resuming: rotation.resumeHandles))
        #expect(rotation.resumeAt == later)
        while !rotation.isFinished { Self.succeed(&rotation) }
        #expect(rotation.outcome == .committed)
    }

    @Test func comesBackFromTheJournalAtEveryStepAsItWas() throws {
        var rotation = try Self.rotation()
        while !rotation.isFinished {
            let stored = try JSONEncoder().encode(rotation)
            #expect(try JSONDecoder().decode(Rotation.self, from: stored) == rotation)
            Self.succeed(&rotation)
        }
    }

    @Test func whatIsResumedIsAppliedAndVerifiedAgainEverywhere() throws {
        var rotation = try Self.rotation()
        while rotation.step != .commit { Self.succeed(&rotation) }
        rotation.resume(at: Self.now)
        var applied: [String] = []
        while !rotation.isFinished {
            if case .apply(let node, _) = rotation.action { applied.append(node.description) }
            #expect(rotation.step != .prepare, "a receipt is taken once: later it would describe the new bundle")
            Self.succeed(&rotation)
        }
        #expect(applied == ["one", "two"])
        #expect(rotation.outcome == .committed)
    }

    @Test(arguments: [0, 1, 2, 3, 4, 5, 6])
    func aStepBeforeTheFirstDeploymentIsResumedAsItIs(_ position: Int) throws {
        var rotation = try Self.rotation()
        for _ in 0..<position { Self.succeed(&rotation) }
        let before = rotation
        rotation.resume(at: Self.now)
        #expect(rotation == before)
    }

    @Test func nothingHappensAfterTheEnd() throws {
        var rotation = try Self.rotation(targets: [])
        while !rotation.isFinished { Self.succeed(&rotation) }
        let end = rotation
        rotation.complete(at: Self.now)
        rotation.fail(CertsError(.internal, "late"), at: Self.now)
        #expect(rotation == end)
        #expect(rotation.action == .nothing)
    }

    /// The invariants at the head of `Rotation.swift`, on every path that up to three failures can make.
    @Test func holdsItsInvariantsOnEveryPath() throws {
        var paths = 0
        func explore(_ rotation: Rotation, _ failuresLeft: Int, _ applied: Set<String>, _ isChecked: Bool) {
            if rotation.isFinished {
                paths += 1
                #expect((rotation.outcome == .committed) == (rotation.failure == nil))
                if rotation.outcome == .committed { #expect(rotation.deployments.allSatisfy { $0.state == .verified }) }
                if rotation.outcome == .failed { #expect(applied.isEmpty) }
                return
            }
            var applied = applied
            var isChecked = isChecked
            switch rotation.action {
            case .apply(let node, _):
                #expect(isChecked, "deploy never precedes check")
                applied.insert(node.description)
            case .commit: #expect(rotation.deployments.allSatisfy { $0.state == .verified })
            case .check: isChecked = true
            default: break
            }
            if failuresLeft > 0 {
                var failed = rotation
                failed.fail(CertsError(.internal, "injected"), at: Self.now)
                explore(failed, failuresLeft - 1, applied, isChecked)
            }
            var next = rotation
            Self.succeed(&next)
            explore(next, failuresLeft, applied, isChecked)
        }
        explore(try Self.rotation(), 3, [], false)
        #expect(paths > 40)
    }
}
