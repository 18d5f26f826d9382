import CertsCore
import CertsCrypto
import CertsEngine
import CertsTesting
import Foundation
import Synchronization
import Testing

@Suite struct StapleEngineTests {
    /// Gives staples for a week, or fails.
    final class Source: StapleSource {
        let failure = Mutex<CertsError?>(nil)
        let asked = Mutex(0)

        func staple(for leaf: Data, issuer: Data, responders: [String], now: Date) async throws -> Staple {
            asked.withLock { $0 += 1 }
            if let failure = failure.withLock({ $0 }) { throw failure }
            return Staple(
                der: Data("a response".utf8), thisUpdate: now, nextUpdate: now.addingTimeInterval(7 * 86400),
                refreshAt: now.addingTimeInterval(3.5 * 86400))
        }
    }

    static let away = CertsError(.stapleUnavailable, "no OCSP responder could be reached", retry: .later)

    private func engine(_ world: EngineWorld, _ source: Source) -> RotationEngine {
        var declarations = world.declarations
        declarations.certificates[0].staple = true
        var context = world.engine(declarations: declarations).context
        context.staples = source
        return RotationEngine(context)
    }

    /// The index of due dates knows when a certificate ends, not when its staple does.
    @Test(arguments: [RotationEngine.Scope.all, .indexed])
    func `a staple is fetched anew by the timer`(scope: RotationEngine.Scope) async throws {
        let (world, source) = (try await EngineWorld(), Source())
        let engine = engine(world, source)
        try await engine.reconcile()
        #expect(try await engine.rotateDue(scope).first?.rotation?.outcome == .committed)
        let first = try #require(try await world.certificateState()?.staple)
        world.clock.advance(by: 2 * 86400)
        #expect(try await engine.rotateDue(scope).compactMap(\.rotation).isEmpty)
        world.clock.advance(by: 2 * 86400)
        let rotation = try #require(try await engine.rotateDue(scope).first?.rotation)
        #expect(rotation.reason == .staple && rotation.purpose == .deploy && rotation.revision == 1)
        #expect(rotation.outcome == .committed)
        let second = try #require(try await world.certificateState()?.staple)
        #expect(second.refreshAt > first.refreshAt)
        #expect(world.issuer.issued == 1)
    }

    @Test func `what is not deployed leaves no dates of a staple`() async throws {
        let (world, source) = (try await EngineWorld(), Source())
        let engine = engine(world, source)
        _ = await engine.rotate([EngineWorld.name])
        let before = try await world.certificateState()?.staple
        world.clock.advance(by: 86400)
        world.targets[0].live.failing = ["verify"]
        #expect(await engine.rotate([EngineWorld.name]).first?.rotation?.outcome == .rolledBack)
        #expect(try await world.certificateState()?.staple == before)
        // A leaf without one has no dates either: the next run of the timer tries again.
        source.failure.withLock { $0 = Self.away }
        let rotation = try #require(await engine.rotate([EngineWorld.name]).first?.rotation)
        #expect(rotation.outcome == .committed)
        #expect(rotation.deployments[0].findings.map(\.id) == ["no-staple"])
        #expect(try await world.certificateState()?.staple == nil)
        #expect(try await world.certificateState()?.dueReason == .staple)
    }

    @Test func `a responder that is away for months does not keep a certificate from its renewal`() async throws {
        let (world, source) = (try await EngineWorld(), Source())
        let engine = engine(world, source)
        _ = await engine.rotate([EngineWorld.name])
        source.failure.withLock { $0 = Self.away }
        for _ in 0..<58 {
            world.clock.advance(by: 86400)
            _ = try await engine.rotateDue()
        }
        world.clock.advance(by: 86400)
        _ = try await engine.rotateDue()
        #expect(try await world.certificateState()?.revision == 2)
        #expect(world.issuer.issued == 2)
    }

    /// Also where the process dies between the two.
    @Test func `an issued certificate is known before a responder is asked`() async throws {
        let (world, source) = (try await EngineWorld(), Source())
        source.failure.withLock { $0 = CertsError(.stapleRevoked, "the certificate was revoked") }
        let engine = engine(world, source)
        #expect(await engine.rotate([EngineWorld.name]).first?.rotation?.outcome == .failed)
        let state = try #require(try await world.certificateState())
        #expect(state.issuedRevision == 1 && state.revision == nil && state.record != nil)
        #expect(state.condition(at: world.clock.now.wall) == .undeployed)
        source.failure.withLock { $0 = nil }
        world.clock.advance(by: 120)
        #expect(try await engine.rotateDue().first?.rotation?.purpose == .deploy)
        #expect(try await world.certificateState()?.revision == 1)
        #expect(world.issuer.issued == 1)
    }
}
