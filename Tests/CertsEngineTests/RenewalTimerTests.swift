import CertsCore
import CertsEngine
import CertsStore
import CertsTesting
import Foundation
import Testing

@Suite struct RenewalTimerTests {
    static func timer(_ world: EngineWorld, random: Double = 0.5) -> (timer: RenewalTimer, published: PublishedSnapshot)
    {
        let engine = world.engine()
        let published = PublishedSnapshot()
        let publisher = SnapshotPublisher(context: engine.context, published: published, version: "test")
        return (RenewalTimer(engine: engine, publisher: publisher, random: { random }), published)
    }

    @Test func rotatesAtTheFirstTickAndRemembersTheNext() async throws {
        let world = try await EngineWorld()
        let (timer, published) = Self.timer(world)
        #expect(await timer.isTickDue(), "nothing was ever run")
        await timer.tick()
        #expect(try await world.certificateState()?.revision == 1)
        let task = try #require(try await world.database.task(RenewalTimer.taskName))
        let schedule = world.declarations.schedule
        #expect(task.nextRunAt == world.clock.now.wall.addingTimeInterval(schedule.tick + schedule.jitter / 2))
        #expect(task.lastSuccessAt == world.clock.now.wall)
        #expect(published.current.readiness == .ready)
    }

    @Test func aRestartNeitherSkipsATickNorAddsOne() async throws {
        let world = try await EngineWorld()
        await Self.timer(world).timer.tick()
        #expect(await !Self.timer(world).timer.isTickDue(), "a new process keeps to the time on disk")
        world.clock.advance(by: world.declarations.schedule.tick + world.declarations.schedule.jitter)
        #expect(await Self.timer(world).timer.isTickDue())
    }

    @Test func whatWasMissedWhileDownIsMadeUpForOnce() async throws {
        let world = try await EngineWorld()
        await Self.timer(world).timer.tick()
        world.clock.advance(by: 70 * 86400)
        let (timer, _) = Self.timer(world)
        #expect(await timer.isTickDue())
        await timer.tick()
        #expect(try await world.certificateState()?.revision == 2)
        #expect(await !timer.isTickDue())
    }

    @Test func aNextRunFromAClockThatWasAheadIsNotWaitedFor() async throws {
        let world = try await EngineWorld()
        world.clock.step(by: 10 * 365 * 86400)
        await Self.timer(world).timer.tick()
        world.clock.step(by: -10 * 365 * 86400)
        #expect(await Self.timer(world).timer.isTickDue())
    }

    @Test func aFailedRunIsNoSuccessAndTheServiceGoesOn() async throws {
        let world = try await EngineWorld()
        world.issuer.behaviour = .fails(.later)
        let (timer, published) = Self.timer(world)
        await timer.tick()
        let task = try #require(try await world.database.task(RenewalTimer.taskName))
        #expect(task.lastSuccessAt == nil && task.lastRunAt != nil && task.nextRunAt != nil)
        #expect(published.current.readiness == .ready)
        world.issuer.behaviour = .honest
        world.clock.advance(by: 3600)
        await timer.tick()
        #expect(try await world.certificateState()?.revision == 1)
    }

    @Test func everyTickLooksForDrift() async throws {
        let world = try await EngineWorld(targets: 2)
        let (timer, published) = Self.timer(world)
        func exposition() -> String { String(decoding: published.current.metricsText, as: UTF8.self) }
        await timer.tick()
        #expect(exposition().contains("certs_drift{target=\"target-0\"} 0\n"))
        #expect(exposition().contains("certs_drift{target=\"target-1\"} 0\n"))
        #expect(try await world.database.task(RenewalTimer.driftTaskName)?.lastSuccessAt != nil)

        // The planner would deploy it again: it cannot.
        world.targets[1].live.served = Fingerprint(hex: String(repeating: "ee", count: 32))
        world.targets[0].live.failing = ["prepare"]
        await timer.tick()
        #expect(exposition().contains("certs_drift{target=\"target-0\"} 0\n"))
        #expect(exposition().contains("certs_drift{target=\"target-1\"} 1\n"))
    }

    @Test func aNodeThatCannotBeLookedAtHasNoFigure() async throws {
        let world = try await EngineWorld(targets: 2)
        let engine = world.engine()
        let published = PublishedSnapshot()
        let publisher = SnapshotPublisher(context: engine.context, published: published, version: "test")
        await publisher.publish()
        #expect(!String(decoding: published.current.metricsText, as: UTF8.self).contains("certs_drift{"))
        await publisher.publish([
            Drift(
                node: world.targets[0].declaration.id, certificate: EngineWorld.name, path: "/x.pem", kind: .unknown,
                message: "nothing answers", remedy: "start it")
        ])
        let text = String(decoding: published.current.metricsText, as: UTF8.self)
        #expect(!text.contains("certs_drift{target=\"target-0\"}"))
        #expect(text.contains("certs_drift{target=\"target-1\"} 0\n"))
    }

    @Test func isNotReadyBeforeThePlannerHasRun() async throws {
        let world = try await EngineWorld()
        let engine = world.engine()
        let published = PublishedSnapshot()
        await SnapshotPublisher(context: engine.context, published: published, version: "test").publish()
        #expect(published.current.readiness != .ready)
        #expect(!published.current.metricsText.isEmpty, "a scrape is answered from the beginning")
    }
}
