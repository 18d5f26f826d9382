import AsyncAlgorithms
import CertsCore
import Foundation
import Logging
import ServiceLifecycle
import Synchronization

/// The daily work of `certs serve`: recovers, then observes, rotates what is due and looks for drift at every tick.
///
/// The time of the next tick is kept on disk: a restart neither skips a tick nor adds one, and a tick that was missed
/// while the process was down is made up for at once.
package final class RenewalTimer: Service {
    package static let taskName = "renew"
    package static let driftTaskName = "drift"

    let engine: RotationEngine
    let publisher: SnapshotPublisher
    let heartbeat: Heartbeat
    let notifier: Notifier?
    /// How often the wall clock is looked at while waiting: a suspended or stepped machine is noticed this soon.
    let pollInterval: Duration
    /// From 0 to 1; the share of the jitter that is added to a tick.
    let random: @Sendable () -> Double
    /// Whether this process has brought the inventory in line with its declarations.
    private let isReconciled = Mutex(false)
    /// See `RenewalTimer+Drift.swift`.
    let toldDrift = Mutex(ToldDrift())
    let driftLimit: Int
    /// Whether it rotates what is due itself, or a declared job does so at its own times.
    let rotates: Bool
    /// See `RenewalTimer+Hints.swift`.
    let hintsAt = Mutex<Date?>(nil)

    /// - Parameter driftLimit: how many deployments (a certificate on a node) are looked at by themselves; where there
    ///   are more, a look takes so long that only a person should ask for it.
    package init(
        engine: RotationEngine, publisher: SnapshotPublisher, heartbeat: Heartbeat = Heartbeat(),
        notifier: Notifier? = nil, rotates: Bool = true,
        pollInterval: Duration = .seconds(1), driftLimit: Int = 5000,
        random: @escaping @Sendable () -> Double = { Double.random(in: 0...1) }
    ) {
        self.engine = engine
        self.publisher = publisher
        self.heartbeat = heartbeat
        self.notifier = notifier
        self.rotates = rotates
        self.pollInterval = pollInterval
        self.driftLimit = driftLimit
        self.random = random
    }

    var context: EngineContext { engine.context }

    package func run() async throws {
        await publisher.publish()
        heartbeat.beat("looking for what was interrupted")
        // After a restart the planner may have nothing to do for an hour: what it did before makes the process ready.
        if await recover(), await !isTickDue() { await publisher.markTicked() }
        heartbeat.beat("waiting for the next run")
        for await _ in AsyncTimerSequence(interval: pollInterval, clock: .continuous).cancelOnGracefulShutdown() {
            if await isTickDue() { await tick() } else { await refreshHintsIfDue() }
            await publisher.publishIfStale()
            // Never in the middle of a tick: what fails together is told together.
            await notifier?.decideIfStale()
            heartbeat.beat()
        }
    }

    /// - Returns: whether nothing is left open.
    private func recover() async -> Bool {
        do {
            try await engine.recover()
            return true
        } catch {
            // Recovery is tried again with each tick; the planner does not run before it succeeded.
            context.logger.error("recovery failed: \(CertsError.wrapping(error))")
            return false
        }
    }

    /// Whether the persisted time of the next run has come.
    package func isTickDue() async -> Bool {
        let next = try? await context.schedule.task(Self.taskName)?.nextRunAt
        let now = context.now
        guard let next else { return true }
        // A next run further away than any tick could set comes from a clock that was ahead.
        let farthest = context.declarations.schedule.tick + context.declarations.schedule.jitter
        return next <= now || next > now.addingTimeInterval(farthest + 60)
    }

    /// One run of the planner; every failure is recorded, none ends the service.
    package func tick() async {
        let startedAt = context.now
        var hasSucceeded = false
        heartbeat.beat("looking at what is served, and rotating what is due")
        var record = TaskRecord(name: Self.taskName)
        do {
            record = try await context.schedule.task(Self.taskName) ?? record
            try await engine.recover()
            if !isReconciled.withLock({ $0 }) {
                try await engine.reconcile()
                isReconciled.withLock { $0 = true }
            }
            try await engine.observe()
            await refreshHints()
            let results = rotates ? try await engine.rotateDue(.indexed) : []
            // A new certificate is asked about as soon as it is there (RFC 9773 §4.3).
            if results.contains(where: \.isRotated) { await refreshHints() }
            hasSucceeded = results.allSatisfy { !$0.isFailure }
            if hasSucceeded { record.lastSuccessAt = context.now }
        } catch {
            context.logger.error("the planner could not run: \(CertsError.wrapping(error))")
        }
        let schedule = context.declarations.schedule
        record.lastRunAt = startedAt
        record.interval = schedule.tick
        record.duration = max(0, context.now.timeIntervalSince(startedAt))
        record.nextRunAt = startedAt.addingTimeInterval(schedule.tick + schedule.jitter * min(1, max(0, random())))
        do {
            try await context.schedule.save(record)
        } catch {
            context.logger.error("the time of the next run could not be recorded: \(CertsError.wrapping(error))")
        }
        await publisher.markTicked()
        await notifier?.decide()
        heartbeat.beat("looking for drift")
        await lookForDrift()
        heartbeat.beat(Self.summary(of: record, hasSucceeded: hasSucceeded))
    }
}

extension RenewalTimer {
    /// What `systemctl status` shows until the next run.
    static func summary(of record: TaskRecord, hasSucceeded: Bool) -> String {
        func text(_ date: Date?) -> String { date.map { $0.formatted(.iso8601) } ?? "unknown" }
        let last = "the run of \(text(record.lastRunAt)) \(hasSucceeded ? "went well" : "failed: see `certs history`")"
        return "\(last); the next is at \(text(record.nextRunAt))"
    }
}

extension RotationEngine.Result {
    /// Whether something was carried out to its end.
    package var isRotated: Bool {
        if case .rotated = self { true } else { false }
    }

    /// Whether it waits for a certificate that an external CA issues.
    package var isWaiting: Bool {
        if case .waiting = self { true } else { false }
    }

    /// Whether the run counts as failed; a certificate that another process works on does not.
    package var isFailure: Bool {
        switch self {
        case .rotated(let rotation): rotation.outcome != .committed
        case .waiting, .skipped: false
        case .failed(_, let error): error.code != .lockHeld
        }
    }
}
