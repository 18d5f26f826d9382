import CertsCore
import CertsEngine
import CertsStore
import CertsTesting
import Foundation
import Synchronization

/// The real planner, engine, timer and exposition, over any span of time, with what Prometheus would see of them.
struct WatchedWorld {
    let world: EngineWorld
    private let timer: RenewalTimer
    private let publisher: SnapshotPublisher
    private let published: PublishedSnapshot
    private let start: Date
    private(set) var recording: Recording
    /// The minute of the last run of the timer.
    private(set) var lastTick = 0

    /// - Parameters:
    ///   - tick: between two runs of the timer, in seconds; each with a random delay up to `jitter`.
    ///   - validity: of the certificates, in seconds.
    init(
        _ scene: String, validity: TimeInterval = 90 * 86400, tick: TimeInterval = 3600, jitter: TimeInterval = 300
    ) async throws {
        world = try await EngineWorld(validity: validity)
        start = world.clock.now.wall
        recording = Recording(scene)
        var declarations = world.declarations
        declarations.schedule.tick = tick
        declarations.schedule.jitter = jitter
        let engine = world.engine(declarations: declarations)
        published = PublishedSnapshot()
        publisher = SnapshotPublisher(context: engine.context, published: published, version: "test")
        let random = Mutex<UInt64>(1)
        timer = RenewalTimer(engine: engine, publisher: publisher) {
            random.withLock { state in
                state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
                return Double(state >> 11) / Double(1 << 53)
            }
        }
    }

    /// Since the beginning.
    var minute: Int { Int(world.clock.now.wall.timeIntervalSince(start) / 60) }

    var state: CertificateState {
        get async throws { try await world.certificateState() ?? CertificateState(name: EngineWorld.name) }
    }

    /// One run of the timer, now.
    mutating func tick() async {
        await timer.tick()
        lastTick = minute
        await record()
    }

    /// The timer runs whenever it is due, until `end`.
    mutating func run(until end: Int) async throws {
        while try await goToNextTick(before: end) { await tick() }
    }

    /// The timer runs whenever it is due, until `condition` holds after a run; whether it did before `end`.
    mutating func run(until end: Int, stopping condition: (CertificateState) -> Bool) async throws -> Bool {
        while try await goToNextTick(before: end) {
            await tick()
            if condition(try await state) { return true }
        }
        return false
    }

    /// Whether there is one; otherwise the clock goes to `end`.
    private func goToNextTick(before end: Int) async throws -> Bool {
        let next =
            try await world.database.task(RenewalTimer.taskName)?.nextRunAt ?? world.clock.now.wall
        // Whole minutes, as the samples have.
        let nextMinute = max(minute, Int((next.timeIntervalSince(start) / 60).rounded(.up)))
        world.clock.advance(by: Double((min(nextMinute, end) - minute) * 60))
        return nextMinute < end
    }

    /// What is exported now.
    mutating func record() async {
        await publisher.publish()
        recording.add(
            exposition: String(decoding: published.current.metricsText, as: UTF8.self), at: minute, start: start)
    }

    /// Prometheus' target is gone.
    mutating func goSilent() { recording.addSilence(at: minute) }
}
