package import CertsCore
import Foundation
package import Logging

/// Starts each job at its time; the times are kept, so that a restart neither skips nor repeats one.
///
/// Looks at the wall clock at least once a second: a clock that is stepped, and a machine that slept, are noticed then.
package actor JobScheduler {
    private let jobs: [JobDeclaration]
    private let runner: JobRunner
    private let logger: Logger
    private let host: String
    /// Holds back the jobs that need a window.
    private let gate: WindowGate?
    private var states: [Name: JobState] = [:]
    private var next: [Name: Date] = [:]
    private var running: [Name: Task<Void, Never>] = [:]
    /// The begin of the reason why a job waits: what follows it counts seconds.
    private var told: [Name: Substring] = [:]
    /// Occurrences that wait for the end of the run before.
    private var queued: [Name: [Date]] = [:]

    private static let longestWait: TimeInterval = 1
    /// After what could not be recorded, in seconds.
    private static let pause: TimeInterval = 5
    /// Between two looks whether a window has opened, in seconds.
    private static let gateInterval: TimeInterval = 2
    /// How long the runs are remembered, in seconds; the counters stay for ever.
    private static let memory: TimeInterval = 90 * 86400

    package init(
        _ jobs: [JobDeclaration], runner: JobRunner, logger: Logger, host: String, gate: WindowGate? = nil
    ) {
        self.jobs = jobs
        self.runner = runner
        self.logger = logger
        self.host = host
        self.gate = gate
    }

    /// Until the task is cancelled; then the runs are told to stop, and their ends are recorded.
    package func run() async {
        await remember()
        do {
            try await runner.closeLostRuns()
            try await runner.ledger.forgetRuns(before: runner.now().addingTimeInterval(-Self.memory))
        } catch {
            logger.error("the ledger of the jobs could not be cleared up: \(CertsError.wrapping(error))")
        }
        while !Task.isCancelled {
            let now = runner.now()
            var due: [Due] = []
            for job in jobs { if let found = await look(at: job, now: now) { due.append(found) } }
            await start(due, now: now)
            let soonest = next.values.min() ?? now.addingTimeInterval(Self.longestWait)
            let wait = min(Self.longestWait, max(0.005, soonest.timeIntervalSince(runner.now())))
            try? await Task.sleep(for: .seconds(wait))
        }
        for task in running.values { task.cancel() }
        for task in running.values { await task.value }
        for job in jobs {
            for occurrence in queued[job.name] ?? [] {
                try? await withUncancelledTask { [runner] in
                    try await runner.skip(
                        job, occurrence: occurrence, reason: "the service was stopped before its turn")
                }
            }
        }
    }

    /// What the jobs did before. Without it every job would look like a new one, and what was missed would be forgotten.
    private func remember() async {
        while !Task.isCancelled {
            do {
                for state in try await runner.ledger.jobStates() { states[state.job] = state }
                return
            } catch {
                logger.error("what the jobs did before cannot be read: \(CertsError.wrapping(error))")
                try? await Task.sleep(for: .seconds(Self.pause))
            }
        }
    }

    /// A job whose occurrences are to be dealt with now.
    private struct Due {
        let job: JobDeclaration
        let turn: JobTurn
        let delay: TimeInterval
        /// The record of the window that it runs in.
        let window: String?

        var plan: JobPlan {
            JobPlan(job.name, lastOccurrence: turn.last, nextRunAt: turn.next?.addingTimeInterval(delay))
        }
    }

    /// - Returns: what is to be recorded and started; `nil`: nothing.
    private func look(at job: JobDeclaration, now: Date) async -> Due? {
        // What is not due costs one comparison, unless the clock was put back.
        if let due = next[job.name], due > now, due.timeIntervalSince(now) < 40 * 86400,
            states[job.name].map({ $0.lastOccurrence <= now }) ?? false
        {
            return nil
        }
        let delay = job.schedule.delay(of: job.name, on: host)
        var catchUp = job.catchUp
        if job.window != nil {
            // A window opened by hand may have run it.
            if let known = try? await runner.ledger.jobState(of: job.name) { states[job.name] = known }
            // However long the next window is away.
            if case .latest = catchUp { catchUp = .latest(within: .infinity) }
        }
        let turn = JobTurn(
            job.schedule, catchUp: catchUp, last: states[job.name]?.lastOccurrence, delay: delay, now: now)
        var window: String?
        if let type = job.window, !turn.due.isEmpty {
            let admission = try? await gate?.admit(job, at: now, byTimer: true)
            guard let opening = admission?.opening else {
                // It stays due, also for the next start of the program.
                next[job.name] = now.addingTimeInterval(Self.gateInterval)
                tellWaiting(job, admission?.reason)
                await wait(job, until: gate?.next(type, after: now))
                return nil
            }
            window = opening.id
        }
        guard states[job.name]?.lastOccurrence != turn.last || states[job.name]?.nextRunAt != turn.next else {
            next[job.name] = turn.next?.addingTimeInterval(delay)
            return nil
        }
        return Due(job: job, turn: turn, delay: delay, window: window)
    }

    /// Records all of them at once, and starts them: a process that dies does not start them again and again.
    private func start(_ due: [Due], now: Date) async {
        guard !due.isEmpty else { return }
        do {
            try await runner.ledger.plan(due.map(\.plan))
        } catch {
            logger.error("jobs that are due could not be recorded: \(CertsError.wrapping(error))")
            for item in due { next[item.job.name] = now.addingTimeInterval(Self.pause) }
            return
        }
        for item in due {
            let name = item.job.name
            states[name] = JobState(job: name, lastOccurrence: item.turn.last, nextRunAt: item.turn.next)
            next[name] = item.plan.nextRunAt
        }
        for item in due {
            do {
                for occurrence in item.turn.due { try await start(item.job, occurrence, item.window) }
                if let skipped = item.turn.skipped {
                    try await runner.skip(
                        item.job, occurrence: skipped.last, reason: "\(skipped.count) occurrences: \(skipped.reason)")
                }
            } catch {
                logger.error("the job \(item.job.name) could not be started: \(CertsError.wrapping(error))")
            }
        }
    }

    /// Says once why a job that is due does not start, in an open window, too.
    private func tellWaiting(_ job: JobDeclaration, _ reason: String?) {
        guard let reason, told[job.name] != reason.prefix(20) else { return }
        told[job.name] = reason.prefix(20)
        logger.notice("waits for its window: \(reason)", metadata: ["job": "\(job.name)"])
    }

    /// Keeps when its window begins, for who looks.
    private func wait(_ job: JobDeclaration, until date: Date?) async {
        guard var state = states[job.name], state.nextRunAt != date else { return }
        try? await runner.ledger.plan(job.name, lastOccurrence: state.lastOccurrence, nextRunAt: date)
        state.nextRunAt = date
        states[job.name] = state
    }

    private func start(_ job: JobDeclaration, _ occurrence: Date, _ window: String?) async throws {
        guard running[job.name] != nil else { return begin(job, occurrence, window) }
        // What is made up for comes one after another.
        let isCatchUp = if case .all = job.catchUp { true } else { false }
        if isCatchUp || job.overlap == .queueOne && queued[job.name]?.isEmpty != false {
            queued[job.name, default: []].append(occurrence)
        } else {
            try await runner.skip(job, occurrence: occurrence, reason: "the run before it goes on")
        }
    }

    private func begin(_ job: JobDeclaration, _ occurrence: Date, _ window: String? = nil) {
        running[job.name] = Task {
            do {
                try await runner.run(job, occurrence: occurrence, source: .timer, window: window)
            } catch {
                logger.error("the run of \(job.name) could not be recorded: \(CertsError.wrapping(error))")
            }
            await ended(job)
        }
    }

    private func ended(_ job: JobDeclaration) async {
        while !Task.isCancelled, queued[job.name]?.isEmpty == false, let next = queued[job.name]?.removeFirst() {
            guard job.window != nil else { return begin(job, next) }
            // The window may have closed meanwhile.
            let admission = try? await gate?.admit(job, at: runner.now(), byTimer: true)
            if let opening = admission?.opening { return begin(job, next, opening.id) }
            try? await runner.skip(job, occurrence: next, reason: admission?.reason ?? "its window is not known")
        }
        running[job.name] = nil
    }
}
