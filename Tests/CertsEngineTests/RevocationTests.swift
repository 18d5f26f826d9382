import CertsCore
import CertsCrypto
import CertsEngine
import CertsStore
import CertsTesting
import Foundation
import Testing

@Suite(.timeLimit(.minutes(5))) struct RevocationTests {
    let name = EngineWorld.name

    @Test func replacesFirstThenRevokesTheOldOne() async throws {
        let world = try await EngineWorld()
        let engine = world.engine()
        _ = await engine.rotate([name])
        let old = try #require(try await world.current())
        let done = try await engine.replaceAndRevoke(name, revision: nil, reason: .superseded)
        #expect(done.rotation.rotation?.outcome == .committed)
        #expect(done.revoked == [1])
        #expect(world.issuer.revoked.map(\.target.record.sha256) == [old.hex])
        #expect(world.issuer.revoked.first?.target.key == nil)
        #expect(try await world.current() != old)
        let manifest = try await engine.context.manifest(of: name, revision: 1)
        #expect(manifest.revocation == Revocation(at: world.clock.now.wall, reason: .superseded))
    }

    @Test func revokesNothingWhileTheNewOneIsNotSeenServed() async throws {
        let world = try await EngineWorld()
        let engine = world.engine()
        _ = await engine.rotate([name])
        world.targets[0].live.failing = ["verify"]
        let done = try await engine.replaceAndRevoke(name, revision: nil, reason: .keyCompromise)
        #expect(done.rotation.rotation?.outcome == .rolledBack)
        #expect(done.revoked.isEmpty)
        #expect(world.issuer.revoked.isEmpty)
    }

    @Test func aRevokedRevisionIsNeverServedAgain() async throws {
        let world = try await EngineWorld()
        let engine = world.engine()
        for _ in 1...3 { _ = await engine.rotate([name]) }
        try await engine.revoke(name, revision: 2, reason: .keyCompromise)
        let error = try #require(await engine.rollBack(name, to: 2).error)
        #expect(error.code == .usage)
        #expect(error.message.contains("revoked"))
        #expect(error.message.contains("keyCompromise"))
        #expect(await engine.rollBack(name, to: nil).rotation?.revision == 1, "the newest that is not revoked")
        try await engine.revoke(name, revision: 1, reason: .unspecified)
        #expect(await engine.deploy([name]).first?.error?.message.contains("revoked") == true)
    }

    /// Issued, not deployed because the proof failed, then revoked: the timer must not bring it back.
    @Test func whatIsRevokedBeforeItIsDeployedIsNotDeployedLater() async throws {
        let world = try await EngineWorld()
        let engine = world.engine()
        _ = await engine.rotate([name])
        world.targets[0].live.failing = ["verify"]
        _ = await engine.rotate([name])
        #expect(try await world.certificateState()?.issuedRevision == 2)
        try await engine.revoke(name, revision: nil, reason: .unspecified)
        let state = try #require(try await world.certificateState())
        #expect((state.revision, state.issuedRevision) == (1, 1))
        #expect(state.record == state.currentRecord)
        let plan = try await engine.plan(at: world.clock.now.wall)
        #expect(plan.map(\.due) == [false], "\(plan)")
    }

    /// As a database of an earlier version may have it.
    @Test func aRevokedRevisionThatIsRecordedAsIssuedIsNotDeployed() async throws {
        let world = try await EngineWorld()
        let engine = world.engine()
        _ = await engine.rotate([name])
        world.targets[0].live.failing = ["verify"]
        _ = await engine.rotate([name])
        world.targets[0].live.failing = []
        let before = try #require(try await world.certificateState())
        try await engine.revoke(name, revision: 2, reason: .unspecified)
        try await world.database.save(before)
        world.clock.advance(by: 86_400)
        let results = try await engine.rotateDue()
        #expect(results.first?.error?.message.contains("revoked") == true, "\(results)")
        #expect(try await world.certificateState()?.revision == 1)
    }

    /// The process died while it deployed the revision: whoever goes on would serve it.
    @Test func whatIsBeingDeployedIsNotRevoked() async throws {
        let world = try await EngineWorld()
        _ = await world.engine().rotate([name])
        var context = world.engine().context
        context.journal = RecoveryTests.DyingJournal(world.database, steps: 8)
        _ = await RotationEngine(context).rotate([name])
        #expect(try await world.database.openRotation(of: name)?.revision == 2)
        await #expect(throws: CertsError(.lockHeld, "")) {
            _ = try await world.engine().revoke(name, revision: nil, reason: .unspecified)
        }
        #expect(world.issuer.revoked.isEmpty)
    }

    @Test func theFirstTimeAndReasonStay() async throws {
        let world = try await EngineWorld()
        let engine = world.engine()
        _ = await engine.rotate([name])
        let first = world.clock.now.wall
        let revoked = try await engine.revoke(name, revision: 1, reason: .superseded)
        #expect(revoked.isCurrent)
        world.clock.advance(by: 60)
        try await engine.revoke(name, revision: 1, reason: .keyCompromise)
        let manifest = try await engine.context.manifest(of: name, revision: 1)
        #expect(manifest.revocation == Revocation(at: first, reason: .superseded))
    }

    @Test func byItsKeyEachLeafIsProvenByItsOwn() async throws {
        let world = try await EngineWorld()
        var declarations = world.declarations
        declarations.certificates[0].key.algorithms = [.ecdsaP256, .rsa2048]
        let engine = world.engine(declarations: declarations)
        _ = await engine.rotate([name])
        try await engine.revoke(name, revision: 1, reason: .keyCompromise, byKey: true)
        #expect(world.issuer.revoked.count == 2)
        for (target, _) in world.issuer.revoked {
            let key = try PrivateKey(pem: try #require(target.key))
            #expect(try Certificate(der: target.der).record.spkiSHA256 == target.record.spkiSHA256)
            let isRSA = target.record.keyAlgorithm.hasPrefix("rsa")
            #expect((key.algorithm == .rsa2048) == isRSA)
        }
    }

    @Test func theIssuerThatSignedIsAsked() async throws {
        let world = try await EngineWorld(otherIssuers: ["second"])
        world.issuer.behaviour = .fails(.later)
        let engine = world.engine()
        _ = await engine.rotate([name])
        world.issuer.behaviour = .honest
        let done = try await engine.replaceAndRevoke(name, revision: nil, reason: .superseded)
        #expect(done.revoked == [1])
        #expect((world.issuer.revoked.count, world.others[0].revoked.count) == (0, 1))
    }

    @Test func aKeyThatIsNoSecretIsNotKept() async throws {
        let world = try await EngineWorld()
        var declarations = world.declarations
        declarations.certificates[0].key.reuse = true
        let engine = world.engine(declarations: declarations)
        _ = await engine.rotate([name])
        _ = await engine.rotate([name])
        func spki(_ revision: Int) async throws -> String? {
            try await engine.context.manifest(of: name, revision: revision).record.spkiSHA256
        }
        #expect(try await spki(1) == spki(2))
        let done = try await engine.replaceAndRevoke(name, revision: nil, reason: .keyCompromise)
        #expect(done.revoked == [2, 1], "every revision with that key")
        #expect(try await spki(3) != spki(2))
        _ = await engine.rotate([name])
        #expect(try await spki(4) == spki(3), "the new key is kept as the old one was")
        #expect(await engine.rollBack(name, to: nil).rotation?.revision == 3)
    }

    @Test func aKeyThatWasRevokedIsNotTakenAgain() async throws {
        let (engine, world) = try await reusingEngine()
        _ = await engine.rotate([name])
        try await engine.revoke(name, revision: 1, reason: .keyCompromise)
        _ = await engine.rotate([name])
        #expect(try await world.revisions() == [1, 2])
        #expect(try await spki(1, engine) != spki(2, engine))
    }

    /// The replacement fails; what the timer does later has another reason.
    @Test func aKeyThatIsKnownToBeLostIsNotTakenByALaterRenewal() async throws {
        let (engine, world) = try await reusingEngine()
        _ = await engine.rotate([name])
        world.issuer.behaviour = .fails(.later)
        #expect(try await engine.replaceAndRevoke(name, revision: nil, reason: .keyCompromise).revoked.isEmpty)
        world.issuer.behaviour = .honest
        _ = await engine.rotate([name])
        let newest = try #require(try await world.revisions().last)
        #expect(try await spki(newest, engine) != spki(1, engine))
    }

    /// Issued with the lost key and staged, but not live yet: neither finished nor deployed later.
    @Test func whatWasIssuedWithTheLostKeyIsNotDeployedLater() async throws {
        let (engine, world) = try await reusingEngine()
        _ = await engine.rotate([name])
        var context = engine.context
        context.journal = RecoveryTests.DyingJournal(world.database, steps: 6)
        _ = await RotationEngine(context).rotate([name])
        let open = try #require(try await world.database.openRotation(of: name))
        #expect(open.step == .prepare)
        #expect(try await world.certificateState()?.issuedRevision == 2)
        world.issuer.behaviour = .fails(.later)
        #expect(try await engine.replaceAndRevoke(name, revision: nil, reason: .keyCompromise).revoked.isEmpty)
        #expect(try await world.certificateState()?.issuedRevision == 1)
        #expect(try await world.database.openRotation(of: name) == nil)
        world.issuer.behaviour = .honest
        let done = try await engine.replaceAndRevoke(name, revision: nil, reason: .keyCompromise)
        #expect(done.revoked.sorted() == [1, 2])
        #expect(try await world.certificateState()?.revision == done.rotation.rotation?.revision)
    }

    private func reusingEngine() async throws -> (RotationEngine, EngineWorld) {
        let world = try await EngineWorld()
        var declarations = world.declarations
        declarations.certificates[0].key.reuse = true
        return (world.engine(declarations: declarations), world)
    }

    private func spki(_ revision: Int, _ engine: RotationEngine) async throws -> String? {
        try await engine.context.manifest(of: name, revision: revision).record.spkiSHA256
    }

    /// A rotation with a key that is used again waits for its issuer when the key turns out to be lost.
    @Test func anOpenRotationWithTheLostKeyIsNotFinishedInstead() async throws {
        let world = try await EngineWorld()
        var declarations = world.declarations
        declarations.certificates[0].key.reuse = true
        let engine = world.engine(declarations: declarations)
        _ = await engine.rotate([name])
        world.issuer.behaviour = .pending
        let waiting = try #require(await engine.rotate([name]).first?.rotation)
        #expect(waiting.isWaiting && waiting.revision == 2)
        world.issuer.behaviour = .honest
        let done = try await engine.replaceAndRevoke(name, revision: nil, reason: .keyCompromise)
        let rotation = try #require(done.rotation.rotation)
        #expect(rotation.outcome == .committed)
        #expect(rotation.id != waiting.id)
        #expect(rotation.reason == .compromised)
        #expect(done.revoked == [1])
        let old = try await engine.context.manifest(of: name, revision: 1).record.spkiSHA256
        #expect(try await engine.context.manifest(of: name, revision: rotation.revision).record.spkiSHA256 != old)
        let history = try await world.database.history(of: name, limit: 10)
        #expect(history.contains { $0.id == waiting.id && $0.outcome == .failed })
    }

    @Test func anOpenRotationWithAKeyOfItsOwnIsFinished() async throws {
        let world = try await EngineWorld()
        let engine = world.engine()
        _ = await engine.rotate([name])
        world.issuer.behaviour = .pending
        let waiting = try #require(await engine.rotate([name]).first?.rotation)
        world.issuer.behaviour = .honest
        let done = try await engine.replaceAndRevoke(name, revision: nil, reason: .keyCompromise)
        #expect(done.rotation.rotation?.id == waiting.id)
        #expect(done.revoked == [1])
    }

    /// The process died while it deployed what was issued with the lost key.
    @Test func whatIsBeingDeployedIsBroughtToAnEndFirst() async throws {
        let world = try await EngineWorld()
        var declarations = world.declarations
        declarations.certificates[0].key.reuse = true
        _ = await world.engine(declarations: declarations).rotate([name])
        var context = world.engine(declarations: declarations).context
        context.journal = RecoveryTests.DyingJournal(world.database, steps: 8)
        _ = await RotationEngine(context).rotate([name])
        let open = try #require(try await world.database.openRotation(of: name))
        #expect(open.deployments.contains { $0.isTouched })
        let engine = world.engine(declarations: declarations)
        let result = try await engine.replaceAndRevoke(name, revision: nil, reason: .keyCompromise)
        #expect(result.rotation.error?.code == .lockHeld)
        #expect(result.rotation.error?.hint?.contains("certs rotate messenger") == true)
        #expect(world.issuer.revoked.isEmpty)
        _ = await engine.rotate([name])
        let done = try await engine.replaceAndRevoke(name, revision: nil, reason: .keyCompromise)
        #expect(done.revoked.sorted() == [1, 2])
    }

    @Test func anIssuerThatCannotRevokeIsNotReplacedFirst() async throws {
        let world = try await EngineWorld()
        _ = await world.engine().rotate([name])
        var context = world.engine().context
        context.issuers[world.issuer.name] = nil
        await #expect(throws: CertsError(.usage, "")) {
            _ = try await RotationEngine(context).replaceAndRevoke(name, revision: nil, reason: .superseded)
        }
        #expect(try await world.revisions() == [1])
    }
}
