import CertsCore
import CertsEngine
import CertsStore
import CertsTesting
import Foundation
import Testing

/// Many certificates of a node that has to be reloaded: one reload for all, and each stands or falls by itself.
@Suite struct BatchTests {
    static let letters = ["a", "b", "c", "d", "e"]
    let names: [Name]

    init() throws { names = try Self.letters.map { try Name($0) } }

    private func world(targets: Int = 1) async throws -> EngineWorld {
        try await EngineWorld(targets: targets, reloads: true, certificates: Self.letters)
    }

    /// The certificates whose current revision is served everywhere.
    private func expectServed(_ world: EngineWorld, sourceLocation: SourceLocation = #_sourceLocation) async throws {
        for name in names {
            #expect(try await world.served(name) == [world.current(name)], "\(name)", sourceLocation: sourceLocation)
        }
        #expect(try await world.database.openRotations().isEmpty, sourceLocation: sourceLocation)
    }

    private func outcomes(_ results: [RotationEngine.Result]) -> [Rotation.Outcome?] {
        results.map { $0.rotation?.outcome }
    }

    @Test func `they share one reload`() async throws {
        let world = try await world(targets: 2)
        let results = await world.engine().rotate(names)
        #expect(results.map { $0.rotation?.certificate } == names, "in the order of the names")
        #expect(outcomes(results) == names.map { _ in .committed })
        #expect(world.targets.map(\.live.reloads) == [[5], [5]])
        try await expectServed(world)
        // What the timer finds due, too.
        world.clock.advance(by: 61 * 86400)
        #expect(outcomes(try await world.engine().rotateDue()) == names.map { _ in .committed })
        #expect(world.targets.map(\.live.reloads) == [[5, 5], [5, 5]])
        try await expectServed(world)
    }

    @Test func `one that waits for its issuer does not hold the others`() async throws {
        let world = try await world()
        world.issuer.behave(.pending, for: names[1])
        let results = await world.engine().rotate(names)
        #expect(outcomes(results) == [.committed, nil, .committed, .committed, .committed])
        #expect(world.targets[0].live.reloads == [4])
        world.issuer.behave(nil, for: names[1])
        #expect(outcomes(try await world.engine().recover()) == [.committed])
        #expect(world.targets[0].live.reloads == [4, 1])
        try await expectServed(world)
    }

    @Test(arguments: [FakeIssuer.Behaviour.fails(.later), .otherKey, .empty])
    func `one that fails before anything is touched does not hold the others`(_ behaviour: FakeIssuer.Behaviour)
        async throws
    {
        let world = try await world()
        _ = await world.engine().rotate(names)
        world.issuer.behave(behaviour, for: names[4])
        let results = await world.engine().rotate(names)
        #expect(outcomes(results) == [.committed, .committed, .committed, .committed, .failed])
        #expect(world.targets[0].live.reloads == [5, 4])
        try await expectServed(world)
    }

    @Test func `one that another process works on does not hold the others`() async throws {
        let world = try await world()
        let lock = try await world.state.lock(names[2])
        let results = await world.engine().rotate(names)
        lock.release()
        #expect(results[2].error?.code == .lockHeld)
        #expect(world.targets[0].live.reloads == [4])
        #expect(outcomes(await world.engine().rotate([names[2]])) == [.committed])
        try await expectServed(world)
    }

    @Test func `those that are not seen served share the reload of the way back`() async throws {
        let world = try await world()
        _ = await world.engine().rotate(names)
        world.targets[0].live.hidden = [names[1], names[3]]
        let results = await world.engine().rotate(names)
        #expect(outcomes(results) == [.committed, .rolledBack, .committed, .rolledBack, .committed])
        #expect(results[1].rotation?.failure?.code == .servedOther)
        #expect(world.targets[0].live.reloads == [5, 5])
        #expect(world.targets[0].live.restoringReloads == [2])
        try await expectServed(world)
        #expect(try await world.certificateState(names[1])?.revision == 1)
        #expect(try await world.certificateState(names[2])?.revision == 2)
    }

    @Test func `a load that fails brings all of them back, with one more`() async throws {
        let world = try await world(targets: 2)
        _ = await world.engine().rotate(names)
        world.targets[1].live.failing = ["reload"]
        let results = await world.engine().rotate(names)
        #expect(outcomes(results) == names.map { _ in .rolledBack })
        #expect(world.targets.map(\.live.reloads) == [[5, 5], [5, 5]])
        #expect(world.targets.map(\.live.restoringReloads) == [[5], [5]])
        try await expectServed(world)
    }

    @Test(arguments: [(2, [2, 2, 1]), (5, [5]), (4, [4, 1]), (1, [1, 1, 1, 1, 1])])
    func `no more of them wait for one another than may`(_ limit: Int, _ reloads: [Int]) async throws {
        let world = try await world()
        var context = world.engine().context
        context.batchLimit = limit
        #expect(outcomes(await RotationEngine(context).rotate(names)) == names.map { _ in .committed })
        #expect(world.targets[0].live.reloads == reloads)
        try await expectServed(world)
    }

    @Test func `those that come to a node by different ways meet there`() async throws {
        let world = try await world(targets: 3)
        let targets = world.targets.map(\.declaration.id.target)
        var declarations = world.declarations
        declarations.certificates[0].targets = targets
        declarations.certificates[1].targets = [targets[1]]
        declarations.certificates[2].targets = [targets[2]]
        // These two wait for each other, and cannot both be first.
        declarations.certificates[3].targets = [targets[0], targets[1]]
        declarations.certificates[4].targets = [targets[1], targets[0]]
        let three = Array(names.prefix(3))
        #expect(outcomes(await world.engine(declarations: declarations).rotate(three)) == three.map { _ in .committed })
        #expect(world.targets.map(\.live.reloads) == [[1], [2], [2]])
        let two = Array(names.suffix(2))
        #expect(outcomes(await world.engine(declarations: declarations).rotate(two)) == two.map { _ in .committed })
        #expect(world.targets[2].live.reloads == [2])
    }

    /// Each of the five writes ten records; the journal dies after any of them, whoever wrote it.
    @Test(arguments: Array(stride(from: 0, to: 52, by: 3)))
    func `wherever the process died, each ends with one certificate`(_ records: Int) async throws {
        let world = try await world()
        _ = await world.engine().rotate(names)
        var context = world.engine().context
        context.journal = RecoveryTests.DyingJournal(world.database, steps: records)
        _ = await RotationEngine(context).rotate(names)
        world.targets[0].live.reloads = []
        try await world.engine().recover()
        #expect(world.targets[0].live.reloads.count <= 1, "what is resumed shares its reload, too")
        try await expectServed(world)
        #expect(outcomes(await world.engine().rotate(names)) == names.map { _ in .committed })
        try await expectServed(world)
    }
}
