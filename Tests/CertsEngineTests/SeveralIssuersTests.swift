import CertsCore
import CertsCrypto
import CertsEngine
import CertsStore
import CertsTesting
import Foundation
import Testing

/// Several issuers for one certificate, in order of preference.
@Suite(.timeLimit(.minutes(5))) struct SeveralIssuersTests {
    let name = EngineWorld.name

    @Test(arguments: [
        CertsError.Code.issuerUnavailable, .issuerRefused, .issuerLimited, .challengeFailed, .http, .dnsFailed,
    ])
    func theNextIsAskedInTheSameRotation(code: CertsError.Code) async throws {
        let world = try await EngineWorld(otherIssuers: ["second", "third"])
        world.issuer.behaviour = .refuses(code, .later)
        let rotation = try #require(await world.engine().rotate([name]).first?.rotation)
        #expect(rotation.outcome == .committed)
        #expect(rotation.issuer == world.others[0].name)
        let change = try #require(rotation.issuerChanges.first)
        #expect((change.from, change.to, change.code) == (world.issuer.name, world.others[0].name, code))
        #expect((world.issuer.issued, world.others[0].issued, world.others[1].asked) == (0, 1, 0))
        let state = try #require(try await world.certificateState())
        #expect(state.requested?.issuer == world.others[0].name, "the one that signed")
        #expect(state.consecutiveFailures == 0)
        #expect(try await world.database.history(of: name, limit: 1).first?.issuerChanges == [change])
        #expect(try await world.engine().plan(at: world.clock.now.wall).first?.due == false)
    }

    @Test func theFirstIsAskedFirstAgainAtTheNextRenewal() async throws {
        let world = try await EngineWorld(otherIssuers: ["second"])
        world.issuer.behaviour = .fails(.later)
        _ = await world.engine().rotate([name])
        world.issuer.behaviour = .honest
        world.clock.advance(by: 65 * 86400)
        let rotation = try #require(try await world.engine().rotateDue().first?.rotation)
        #expect((rotation.issuer, rotation.issuerChanges) == (world.issuer.name, []))
        let request = try #require(world.issuer.requests.last)
        #expect(request.replacing == nil, "nothing is replaced across issuers")
        #expect(request.kind == .new)
    }

    @Test func theReasonIsInTheJournalBeforeTheNextIsAskedAndACrashKeepsTheIssuer() async throws {
        let world = try await EngineWorld(otherIssuers: ["second"])
        world.issuer.behaviour = .fails(.later)
        let until = world.clock.now.wall.addingTimeInterval(600)
        world.others[0].behaviour = .holds(until: until)
        guard case .waiting? = await world.engine().rotate([name]).first else {
            Issue.record("it does not wait")
            return
        }
        let open = try #require(try await world.database.openRotation(of: name))
        #expect(open.issuer == world.others[0].name)
        #expect(open.issuerChanges.count == 1)
        let state = try #require(try await world.certificateState())
        #expect(state.waitingFor == "a challenge")
        #expect(state.nextAttemptAt == until)
        let entry = try #require(try await world.engine().status(at: world.clock.now.wall).certificates.first)
        #expect((entry.nextAttemptAt, entry.nextAttemptBecause) == (until, "a challenge"))
        // The first would sign again, but the order of the second goes on.
        world.issuer.behaviour = .honest
        world.clock.advance(by: 601)
        let resumed = try #require(try await world.engine().recover().first?.rotation)
        #expect(resumed.outcome == .committed)
        #expect(resumed.issuer == world.others[0].name)
        #expect(world.issuer.asked == 1)
        #expect(world.others[0].requests.last?.resuming != nil)
        #expect(try await world.certificateState()?.waitingFor == nil)
    }

    @Test func anIssuerThatIsNoLongerDeclaredIsNotGoneOnWith() async throws {
        let world = try await EngineWorld(otherIssuers: ["second"])
        world.issuer.behaviour = .holds(until: .distantFuture)
        _ = await world.engine().rotate([name])
        var changed = world.declarations
        changed.certificates[0].issuer = world.others[0].name
        changed.certificates[0].otherIssuers = []
        let rotation = try #require(await world.engine(declarations: changed).rotate([name]).first?.rotation)
        #expect(rotation.outcome == .committed)
        #expect(rotation.issuer == world.others[0].name)
        #expect(world.others[0].requests.first?.resuming == nil, "the handle of another issuer")
    }

    @Test func thatAllFailTellsEachReasonAndRestsAsLongAsTheSoonestSays() async throws {
        let world = try await EngineWorld(otherIssuers: ["second"])
        let now = world.clock.now.wall
        world.issuer.behaviour = .refuses(.issuerLimited, .after(now.addingTimeInterval(7200)))
        world.others[0].behaviour = .refuses(.challengeFailed, .after(now.addingTimeInterval(3600)))
        let rotation = try #require(await world.engine().rotate([name]).first?.rotation)
        #expect(rotation.outcome == .failed)
        let message = try #require(rotation.failure?.message)
        #expect(message.contains("fake: the fake issuer 'fake' will not [issuer.limited]"))
        #expect(message.contains("second: the fake issuer 'second' will not [issuer.challengeFailed]"))
        #expect(try await world.certificateState()?.nextAttemptAt == now.addingTimeInterval(3600))
        #expect(try await world.revisions().isEmpty)
    }

    @Test func aFailureThatIsNotTheIssuersStaysWhereItIs() async throws {
        let world = try await EngineWorld(otherIssuers: ["second"])
        world.issuer.behaviour = .otherKey
        let rotation = try #require(await world.engine().rotate([name]).first?.rotation)
        #expect(rotation.outcome == .failed)
        #expect(rotation.issuerChanges.isEmpty)
        #expect(world.others[0].asked == 0)
    }

    @Test func theKeysOfOneRevisionComeFromOneIssuer() async throws {
        let world = try await EngineWorld(otherIssuers: ["second"])
        var declarations = world.declarations
        declarations.certificates[0].key.algorithms = [.ecdsaP256, .rsa2048]
        var context = world.engine(declarations: declarations).context
        context.issuers[world.issuer.name] = OnlyECDSA(real: world.issuer)
        let rotation = try #require(await RotationEngine(context).rotate([name]).first?.rotation)
        #expect(rotation.outcome == .committed, "\(rotation.failure?.message ?? "")")
        #expect((world.issuer.issued, world.others[0].issued) == (1, 2))
        let manifest = try await context.manifest(of: name, revision: 1)
        #expect(manifest.requested.issuer == world.others[0].name)
    }

    private struct OnlyECDSA: Issuer {
        let real: FakeIssuer
        var name: Name { real.name }

        func trustAnchors() async throws -> [Data] { try await real.trustAnchors() }

        func issue(_ request: IssuanceRequest) async throws -> IssuanceOutcome {
            if try PrivateKey(pem: request.key).algorithm == .rsa2048 {
                throw CertsError(.issuerRefused, "no RSA here")
            }
            return try await real.issue(request)
        }
    }

    @Test(arguments: 0..<10)
    func whoeverWasAskedIsInTheJournalWhereverItStopped(_ steps: Int) async throws {
        let world = try await EngineWorld(otherIssuers: ["second"])
        world.issuer.behaviour = .fails(.later)
        var context = world.engine().context
        context.journal = RecoveryTests.DyingJournal(world.database, steps: steps)
        _ = await RotationEngine(context).rotate([name])
        if world.others[0].asked > 0 {
            let known = try #require(try await world.database.history(of: name, limit: 1).first)
            #expect(known.issuer == world.others[0].name)
            #expect(known.issuerChanges.map(\.from) == [world.issuer.name])
        }
        try await world.engine().recover()
        if try await world.certificateState()?.revision == nil { _ = await world.engine().rotate([name]) }
        let state = try #require(try await world.certificateState())
        #expect(state.requested?.issuer == world.others[0].name)
        #expect(world.served() == [state.currentRecord?.fingerprint])
        #expect(try await world.database.openRotations().isEmpty)
        #expect(world.others[0].issued <= 2)
    }

    // MARK: What is replaced

    @Test func theNewestLeafOfTheSameIssuerIsReplaced() async throws {
        let world = try await EngineWorld()
        let engine = world.engine()
        _ = await engine.rotate([name])
        #expect(world.issuer.requests.first?.replacing == nil)
        #expect(world.issuer.requests.first?.kind == .new)
        for revision in 1...2 {
            _ = await engine.rotate([name])
            let request = try #require(world.issuer.requests.last)
            let before = try await engine.context.storedChain(name, revision).first
            #expect(request.replacing == before?.der)
            #expect(request.kind == .renewal)
        }
    }

    @Test func otherNamesAreReplacedOnlyWhereOneIsShared() async throws {
        let world = try await EngineWorld()
        _ = await world.engine().rotate([name])
        var changed = world.declarations
        changed.certificates[0].names = [.dns("messenger.example.com"), .dns("new.example.com")]
        _ = await world.engine(declarations: changed).rotate([name])
        #expect(world.issuer.requests.last?.replacing != nil)
        #expect(world.issuer.requests.last?.kind == .new, "they were not certified together before")
        changed.certificates[0].names = [.dns("quite.example.net")]
        _ = await world.engine(declarations: changed).rotate([name])
        #expect(world.issuer.requests.last?.replacing == nil)
    }

    @Test func eachKeyReplacesTheOneOfItsType() async throws {
        let world = try await EngineWorld()
        var declarations = world.declarations
        declarations.certificates[0].key.algorithms = [.ecdsaP256, .rsa2048]
        let engine = world.engine(declarations: declarations)
        _ = await engine.rotate([name])
        _ = await engine.rotate([name])
        for request in world.issuer.requests.suffix(2) {
            let old = try Certificate(der: try #require(request.replacing))
            let isRSA = try PrivateKey(pem: request.key).algorithm == .rsa2048
            #expect(old.record.keyAlgorithm.hasPrefix("rsa") == isRSA)
        }
    }

    @Test func theHandlesOfSeveralKeysDoNotMix() async throws {
        let world = try await EngineWorld()
        var declarations = world.declarations
        declarations.certificates[0].key.algorithms = [.ecdsaP256, .rsa2048]
        let engine = world.engine(declarations: declarations)
        world.issuer.behaviour = .holds(until: world.clock.now.wall.addingTimeInterval(60))
        _ = await engine.rotate([name])
        world.clock.advance(by: 61)
        let rotation = try #require(try await engine.recover().first?.rotation)
        #expect(rotation.outcome == .committed)
        let requests = world.issuer.requests
        #expect(requests.count == 3)
        #expect(requests[1].resuming?.rawValue.hasPrefix("order of ") == true)
        #expect(requests[2].resuming == nil, "the second key has no order yet")
    }
}
