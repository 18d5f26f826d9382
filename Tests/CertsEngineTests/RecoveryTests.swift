import CertsCore
import CertsEngine
import CertsStore
import CertsTesting
import Foundation
import Synchronization
import Testing

/// A process dies at a fault point: what it had recorded is on disk, what it was doing may be half done. Within one test
/// process the death is played by an error that the engine cannot handle: the journal refuses to go on.
@Suite struct RecoveryTests {
    let name = EngineWorld.name

    /// Records until a given number of steps, then dies: every later call throws.
    final class DyingJournal: RotationJournal {
        let real: any RotationJournal
        let budget: Mutex<Int>

        init(_ real: any RotationJournal, steps: Int) {
            self.real = real
            budget = Mutex(steps)
        }

        private func spend() throws {
            try budget.withLock { left in
                left -= 1
                if left < 0 { throw CertsError(.fileUnwritable, "the journal is dead") }
            }
        }

        func record(_ rotation: Rotation) async throws {
            try spend()
            try await real.record(rotation)
        }
        func openRotations() async throws -> [Rotation] { try await real.openRotations() }
        func openRotation(of certificate: Name) async throws -> Rotation? {
            try await real.openRotation(of: certificate)
        }
        func close(_ rotation: Rotation, state: CertificateState) async throws {
            try spend()
            try await real.close(rotation, state: state)
        }
        func history(of certificate: Name?, limit: Int) async throws -> [Rotation] {
            try await real.history(of: certificate, limit: limit)
        }
        func tallies() async throws -> [RotationTally] { try await real.tallies() }
        func deployDurations(upTo bounds: [TimeInterval]) async throws -> DurationTally {
            try await real.deployDurations(upTo: bounds)
        }
    }

    /// However many records could be written before the journal failed, the next start leads to one consistent state.
    @Test(arguments: 0..<14)
    func convergesWhereverTheJournalStopped(_ steps: Int) async throws {
        let world = try await EngineWorld(targets: 2)
        _ = await world.engine().rotate([name])
        var context = world.engine().context
        context.journal = DyingJournal(world.database, steps: steps)
        _ = await RotationEngine(context).rotate([name])

        try await world.engine().recover()
        let state = try #require(try await world.certificateState())
        let current = try #require(try await world.state.currentRevision(of: name))
        #expect(state.revision == current)
        #expect(try await world.database.openRotations().isEmpty)
        let served = Set(world.targets.map(\.live.served))
        #expect(served == [state.currentRecord?.fingerprint], "one certificate everywhere, the current one")
        #expect(world.targets.allSatisfy { !$0.live.isTransactionOpen })
        #expect(world.issuer.issued <= 2 + 1)
        // The world is healthy again: the next run needs nobody's help.
        _ = await world.engine().rotate([name])
        #expect(
            Set(world.targets.map(\.live.served)) == [try await world.certificateState()?.currentRecord?.fingerprint])
    }

    /// A failure at every fault point, without a crash: nothing is left behind, and the old certificate is served.
    @Test(arguments: FaultPoints.allNames.filter { !$0.contains("restore") && !$0.contains("abandon") })
    func aFaultAtAnyPointEndsWithTheOldCertificate(_ point: String) async throws {
        let world = try await EngineWorld()
        _ = await world.engine().rotate([name])
        let old = world.targets[0].live.served
        let rotation = try #require(await world.engine(faults: "\(point):fail").rotate([name]).first?.rotation)
        #expect(rotation.isFinished && rotation.outcome != .committed)
        #expect(world.targets[0].live.served == old)
        #expect(try await world.database.openRotations().isEmpty)
        #expect(try await world.state.currentRevision(of: name) == 1)
    }

    @Test func doesNotAskForASecondCertificateAfterACrash() async throws {
        let world = try await EngineWorld(targets: 0)
        var context = world.engine().context
        // key, request, issue are recorded; the answer is on disk, but `check` could not be recorded.
        context.journal = DyingJournal(world.database, steps: 3)
        _ = await RotationEngine(context).rotate([name])
        try await world.engine().recover()
        #expect(world.issuer.issued <= 2)
        #expect(try await world.database.openRotations().isEmpty)
    }
}
