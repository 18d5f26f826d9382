import CertsCore
import CertsCrypto
import CertsEngine
import CertsStore
import CertsTesting
import Foundation
import Testing

@Suite struct RotationEngineTests {
    let name = EngineWorld.name

    @Test func rotatesFromNothingToServed() async throws {
        let world = try await EngineWorld(targets: 2)
        let results = await world.engine().rotate([name])
        #expect(results.first?.rotation?.outcome == .committed)
        let state = try #require(try await world.certificateState())
        #expect(state.revision == 1)
        #expect(state.condition(at: world.clock.now.wall) == .valid)
        for target in world.targets { #expect(target.live.served == state.currentRecord?.fingerprint) }
        #expect(try await world.state.currentRevision(of: name) == 1)
        #expect(try await world.database.openRotations().isEmpty)
    }

    @Test func makesAFreshKeyEachTimeUnlessToldToKeepIt() async throws {
        let world = try await EngineWorld(targets: 0)
        _ = await world.engine().rotate([name])
        _ = await world.engine().rotate([name])
        let first = try await world.state.read(.key(nil), of: name, revision: 1)
        let second = try await world.state.read(.key(nil), of: name, revision: 2)
        #expect(first != nil && first != second)
        var keeping = world.declarations
        keeping.certificates[0].key.reuse = true
        _ = await world.engine(declarations: keeping).rotate([name])
        #expect(try await world.state.read(.key(nil), of: name, revision: 3) == second)
    }

    @Test func theTimerRotatesOnlyWhatIsDue() async throws {
        let world = try await EngineWorld()
        #expect(try await world.engine().rotateDue().first?.rotation?.outcome == .committed)
        #expect(try await world.engine().rotateDue().first?.isSkipped == true)
        world.clock.advance(by: 59 * 86400)
        #expect(try await world.engine().rotateDue().first?.rotation?.revision == 2)
        #expect(world.issuer.issued == 2)
    }

    static let lies: [(FakeIssuer.Behaviour, String)] = [
        (.otherKey, "key-mismatch"), (.otherNames, "names-missing"), (.expired, "expired"),
        (.notYetValid, "not-yet-valid"),
    ]

    @Test(arguments: lies)
    func refusesWhatALyingIssuerAnswers(_ lie: (behaviour: FakeIssuer.Behaviour, finding: String)) async throws {
        let world = try await EngineWorld()
        _ = await world.engine().rotate([name])
        let before = world.targets[0].live
        world.issuer.behaviour = lie.behaviour
        let rotation = try #require(await world.engine().rotate([name]).first?.rotation)
        #expect(rotation.outcome == .failed)
        #expect(rotation.failure?.code == .certificateRejected)
        #expect(rotation.failure?.message.contains(lie.finding) == true, "\(rotation.failure?.message ?? "")")
        #expect(world.targets[0].live.served == before.served)
        #expect(world.targets[0].live.calls == before.calls, "nothing live is touched before the check")
        #expect(try await world.revisions() == [1], "what was never accepted is removed")
        #expect(try await world.certificateState()?.revision == 1)
    }

    @Test(arguments: [FakeIssuer.Behaviour.empty, .garbage, .fails(.later)])
    func survivesAnIssuerThatDoesNotAnswer(_ behaviour: FakeIssuer.Behaviour) async throws {
        let world = try await EngineWorld()
        world.issuer.behaviour = behaviour
        let rotation = try #require(await world.engine().rotate([name]).first?.rotation)
        #expect(rotation.outcome == .failed)
        #expect(try await world.revisions().isEmpty)
        let state = try #require(try await world.certificateState())
        #expect(state.consecutiveFailures == 1)
        #expect(state.condition(at: world.clock.now.wall) == .failing)
    }

    @Test func restsAfterAFailureButObeysAPerson() async throws {
        let world = try await EngineWorld()
        world.issuer.behaviour = .fails(.later)
        _ = try await world.engine().rotateDue()
        #expect(try await world.engine().rotateDue().first?.isSkipped == true)
        #expect(world.issuer.asked == 1)
        world.clock.advance(by: 61)
        _ = try await world.engine().rotateDue()
        #expect(world.issuer.asked == 2)
        world.issuer.behaviour = .honest
        #expect(await world.engine().rotate([name]).first?.rotation?.outcome == .committed)
        #expect(try await world.certificateState()?.consecutiveFailures == 0)
    }

    @Test(arguments: ["apply", "verify"])
    func rollsEveryTargetBackWhenOneFails(_ call: String) async throws {
        let world = try await EngineWorld(targets: 2)
        _ = await world.engine().rotate([name])
        let old = world.targets.map(\.live.served)
        world.targets[1].live.failing = [call]
        let rotation = try #require(await world.engine().rotate([name]).first?.rotation)
        #expect(rotation.outcome == .rolledBack)
        #expect(world.targets.map(\.live.served) == old)
        let state = try #require(try await world.certificateState())
        #expect((state.revision, state.issuedRevision) == (1, 2))
        #expect(state.condition(at: world.clock.now.wall) == .undeployed)
        #expect(try await world.state.currentRevision(of: name) == 1)
    }

    @Test func deploysWhatWasIssuedInsteadOfIssuingAgain() async throws {
        let world = try await EngineWorld()
        world.targets[0].live.failing = ["apply"]
        _ = try await world.engine().rotateDue()
        #expect(world.issuer.issued == 1)
        world.clock.advance(by: 120)
        let rotation = try #require(try await world.engine().rotateDue().first?.rotation)
        #expect((rotation.purpose, rotation.reason, rotation.outcome) == (.deploy, .undeployed, .committed))
        #expect(world.issuer.issued == 1)
        #expect(try await world.certificateState()?.revision == 1)
    }

    @Test func aTargetThatServesSomethingElseIsRolledBackAndTold() async throws {
        let world = try await EngineWorld()
        _ = await world.engine().rotate([name])
        let old = world.targets[0].live.served
        world.targets[0].live.liesWith = Fingerprint(hex: String(repeating: "ee", count: 32))
        let rotation = try #require(await world.engine().rotate([name]).first?.rotation)
        #expect(rotation.outcome == .rolledBack)
        #expect(rotation.failure?.code == .servedOther)
        #expect(world.targets[0].live.served == old)
        #expect(ExitCodes.isRolledBack(rotation))
    }

    @Test func aRollbackThatFailsIsNeverReportedAsOne() async throws {
        let world = try await EngineWorld()
        _ = await world.engine().rotate([name])
        world.targets[0].live.failing = ["verify", "verifyRestored"]
        let rotation = try #require(await world.engine().rotate([name]).first?.rotation)
        #expect(rotation.outcome == .rollbackFailed)
    }

    @Test func goesBackToAnEarlierRevisionAndStaysThere() async throws {
        let world = try await EngineWorld()
        _ = await world.engine().rotate([name])
        let first = world.targets[0].live.served
        _ = await world.engine().rotate([name])
        #expect(await world.engine().rollBack(name, to: nil).rotation?.outcome == .committed)
        #expect(world.targets[0].live.served == first)
        #expect(try await world.certificateState()?.revision == 1)
        #expect(
            try await world.engine().rotateDue().first?.isSkipped == true,
            "the wish of a person is not undone by the timer")
        _ = await world.engine().rotate([name])
        #expect(try await world.certificateState()?.revision == 3)
    }

    @Test func refusesToRollBackToNothing() async throws {
        let world = try await EngineWorld()
        #expect(await world.engine().rollBack(name, to: nil).error == CertsError(.certificateMissing, ""))
        _ = await world.engine().rotate([name])
        #expect(await world.engine().rollBack(name, to: 7).error == CertsError(.certificateMissing, ""))
        #expect(await world.engine().deploy([try Name("unknown")]).first?.error == CertsError(.certificateMissing, ""))
    }

    @Test func theIndexFindsWhatIsDueAndNothingElse() async throws {
        let world = try await EngineWorld(targets: 0, certificates: ["a", "messenger", "z"])
        #expect(
            try await world.engine().rotateDue(.indexed).isEmpty, "nothing is known before the first reconciliation")
        try await world.engine().reconcile()
        #expect(try await world.engine().rotateDue(.indexed).count { $0.rotation?.outcome == .committed } == 3)
        #expect(try await world.engine().rotateDue(.indexed).isEmpty)
        world.clock.advance(by: 59 * 86400)
        #expect(try await world.engine().rotateDue(.indexed).count { $0.rotation?.outcome == .committed } == 3)
    }

    @Test func whatIsNoLongerDeclaredIsNeverDueAndGoesOnWhenItIsDeclaredAgain() async throws {
        let world = try await EngineWorld(targets: 0, certificates: ["a", "messenger"])
        _ = try await world.engine().rotateDue()
        var fewer = world.declarations
        fewer.certificates.removeFirst()
        try await world.engine(declarations: fewer).reconcile()
        world.clock.advance(by: 59 * 86400)
        let results = try await world.engine(declarations: fewer).rotateDue(.indexed)
        #expect(results.compactMap(\.rotation?.certificate) == [name])
        try await world.engine().reconcile()
        #expect(try await world.engine().rotateDue(.indexed).first?.rotation?.revision == 2)
    }

    @Test func aChangedDeclarationIsFoundByTheIndex() async throws {
        let world = try await EngineWorld(targets: 0)
        _ = try await world.engine().rotateDue()
        var other = world.declarations
        other.certificates[0].names.append(.dns("www.example.com"))
        try await world.engine(declarations: other).reconcile()
        let rotation = try #require(try await world.engine(declarations: other).rotateDue(.indexed).first?.rotation)
        #expect((rotation.reason, rotation.outcome) == (.namesChanged, .committed))
    }

    @Test func oneSickCertificateDoesNotStopTheOthers() async throws {
        let world = try await EngineWorld(targets: 0, certificates: ["a", "messenger", "z"])
        var sick = world.declarations
        sick.certificates[0].issuer = try Name("missing")
        let results = try await world.engine(declarations: sick).rotateDue()
        #expect(results.compactMap(\.rotation?.outcome).count { $0 == .committed } == 2)
        #expect(results.compactMap(\.rotation?.outcome).count { $0 == .failed } == 1)
    }

    @Test func twoAtOnceDoTheWorkOnce() async throws {
        let world = try await EngineWorld()
        let results = try await withThrowingTaskGroup(of: [RotationEngine.Result].self) { group in
            for _ in 0..<8 { group.addTask { try await world.engine().rotateDue() } }
            return try await group.reduce(into: []) { $0 += $1 }
        }
        #expect(world.issuer.issued == 1)
        #expect(results.count { $0.rotation?.outcome == .committed } == 1)
        #expect(results.allSatisfy { $0.isSkipped || $0.rotation != nil || $0.error == CertsError(.lockHeld, "") })
    }

    @Test func waitsForAnIssuerAcrossRestarts() async throws {
        let world = try await EngineWorld()
        world.issuer.behaviour = .pending
        #expect(await world.engine().rotate([name]).first?.rotation?.isFinished == false)
        #expect(try await world.certificateState()?.condition(at: world.clock.now.wall) == .waiting)
        let key = try await world.state.read(.key(nil), of: name, revision: 1)
        try await world.engine().recover()
        #expect(try await world.database.openRotations().count == 1)
        world.issuer.behaviour = .honest
        #expect(await world.engine().rotate([name]).first?.rotation?.outcome == .committed)
        #expect(try await world.state.read(.key(nil), of: name, revision: 1) == key)
        #expect(try await world.certificateState()?.revision == 1)
    }

    @Test func believesAClockThatWasSetOnlyAtTheSecondReading() async throws {
        let world = try await EngineWorld()
        _ = try await world.engine().rotateDue()
        world.clock.step(by: 400 * 86400)
        await #expect(throws: CertsError(.clockStepped, "")) { try await world.engine().rotateDue() }
        #expect(world.issuer.issued == 1)
        world.clock.step(by: -400 * 86400)
        await #expect(throws: CertsError(.clockStepped, "")) { try await world.engine().rotateDue() }
        #expect(try await world.engine().rotateDue().first?.isSkipped == true)
        #expect(world.issuer.issued == 1)
    }

    @Test func recordsWhatIsServed() async throws {
        let world = try await EngineWorld()
        _ = await world.engine().rotate([name])
        world.targets[0].live.served = Fingerprint(hex: String(repeating: "ee", count: 32))
        try await world.engine().observe()
        let report = try await world.engine().status(at: world.clock.now.wall)
        #expect(report.certificates.first?.targets.first?.endpoints.first?.matches == false)
        #expect(try await world.engine().plan(at: world.clock.now.wall).first?.reason == .notServed)
        #expect(try await world.engine().rotateDue().first?.rotation?.purpose == .deploy)
        try await world.engine().observe()
        #expect(
            try await world.engine().status(at: world.clock.now.wall).certificates.first?.targets.first?.endpoints
                .first?.matches == true)
    }
}

enum ExitCodes {
    static func isRolledBack(_ rotation: Rotation) -> Bool {
        rotation.outcome == .rolledBack && rotation.failure != nil
    }
}
