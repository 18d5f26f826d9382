package import CertsCore
package import Foundation
package import Logging

/// One run of a job from its entry in the ledger to its end there; whatever happens is recorded with its reason.
package struct JobRunner: Sendable {
    package let executor: JobExecutor
    package let ledger: any JobLedger
    let locks: any JobLocks
    private let logger: Logger
    private let host: String
    private let kept = KeptLocks()
    /// The wall clock.
    package let now: @Sendable () -> Date

    package init(
        executor: JobExecutor, ledger: any JobLedger, locks: any JobLocks, logger: Logger, host: String,
        now: @escaping @Sendable () -> Date
    ) {
        self.executor = executor
        self.ledger = ledger
        self.locks = locks
        self.logger = logger
        self.host = host
        self.now = now
    }

    /// Runs the job once, and again as often as it declares while trying again can help.
    ///
    /// - Parameter window: the one that it runs in.
    /// - Returns: the last run, as it was recorded.
    /// - Throws: only when the ledger cannot be written.
    @discardableResult
    package func run(
        _ job: JobDeclaration, occurrence: Date?, source: JobRun.Source, window: String? = nil,
        interrupt: JobInterrupt = JobInterrupt()
    ) async throws -> JobRun {
        var attempt = 1
        while true {
            var begun = entry(job, occurrence, source, attempt)
            begun.window = window
            let (run, retry) = try await runOnce(job, begun, interrupt)
            guard retry, attempt <= job.retries, !interrupt.isSet else { return run }
            // A wait that is cancelled ends the retries, not the record of them.
            let pause = job.retryAfter * Double(1 << min(attempt - 1, 10))
            guard (try? await Task.sleep(for: .seconds(pause))) != nil else { return run }
            attempt += 1
        }
    }

    /// Records that an occurrence did not run.
    package func skip(_ job: JobDeclaration, occurrence: Date, reason: String) async throws {
        var run = entry(job, occurrence, .timer, 1)
        run.endedAt = run.startedAt
        run.result = .skipped
        run.reason = reason
        try await ledger.finish(run)
    }

    /// Closes the runs of processes that are gone; called before the first run.
    ///
    /// A run holds the lock of its job: an entry without it is of a process that ended in the middle.
    package func closeLostRuns() async throws {
        for var run in try await ledger.openRuns() {
            let lock: any HeldLock
            do {
                lock = try await locks.lock(job: run.job)
            } catch let error as CertsError where error.code == .lockHeld {
                continue
            }
            defer { lock.release() }
            // It may have ended since.
            guard try await ledger.openRuns().contains(where: { $0.id == run.id }) else { continue }
            run.result = .lost
            run.endedAt = now()
            run.reason = "its process ended in the middle of it; what it had committed stays"
            try await ledger.finish(run)
        }
    }

    func entry(_ job: JobDeclaration, _ occurrence: Date?, _ source: JobRun.Source, _ attempt: Int) -> JobRun {
        JobRun(
            id: UUID().uuidString.lowercased(), job: job.name, occurrence: occurrence, startedAt: now(), source: source,
            runner: "\(host):\(getpid())", attempt: attempt)
    }

    private func runOnce(
        _ job: JobDeclaration, _ begun: JobRun, _ interrupt: JobInterrupt
    ) async throws -> (JobRun, retry: Bool) {
        var run = begun
        var retry = false
        // Two processes of one state directory: without a question to the server.
        var lock: (any HeldLock)?
        defer { lock?.release() }
        do {
            lock = try await locks.lock(job: job.name)
            try await ledger.begin(run)
            kept.release(job.name)
            let done = try await carryOut(job, run, interrupt)
            if run.source == .timer { keepLock(done.holder, of: job) }
            run.rows = done.rows
            run.quarantined = done.quarantined
            run.counts = done.counts
            run.reason = done.error?.description ?? done.reason
            run.result = done.error.map(Self.result) ?? (done.reason == nil ? .succeeded : .incomplete)
            retry = done.error.map { $0.retry != .never && $0.code != .cancelled } ?? false
            try await keep(done, of: job)
        } catch {
            let error = CertsError.wrapping(error, subject: job.name.rawValue)
            run.reason = error.description
            run.result = Self.result(error)
            retry = error.retry != .never && error.code != .lockHeld && error.code != .cancelled
        }
        run.endedAt = now()
        let ended = run
        // Its end is recorded even when the process is told to stop.
        try await withUncancelledTask { [ledger] in try await ledger.finish(ended) }
        tell(run)
        return (run, retry)
    }

    static func result(_ error: CertsError) -> JobRun.Result {
        switch error.code {
        case .lockHeld: .skipped
        case .jobRefused: .refused
        case .cancelled: .incomplete
        default: .failed
        }
    }

    private func carryOut(_ job: JobDeclaration, _ run: JobRun, _ interrupt: JobInterrupt) async throws
        -> JobExecutor.Done
    {
        let control = JobControl(deadline: .now + .seconds(job.deadline), interrupt: interrupt, now: now)
        let quarantine = try await ledger.quarantine(of: job.name)
        // A person may wait until the lock that another process keeps after a run is free; a timer has its next time.
        let patience = run.source == .command ? job.schedule.jitter + 2 * Self.clockDifference : 0
        return try await withTaskCancellationHandler {
            try await Self.untilInterrupted(interrupt) { [executor] in
                try await executor.run(job, id: run.id, quarantine: quarantine, patience: patience, control: control)
            }
        } onCancel: {
            interrupt.set()
        }
    }

    /// Runs `body`, and cancels it once the run is told to stop: a program that it runs ends then.
    private static func untilInterrupted<Value: Sendable>(
        _ interrupt: JobInterrupt, _ body: @escaping @Sendable () async throws -> Value
    ) async throws -> Value {
        let work = Task { try await body() }
        let watch = Task {
            while !interrupt.isSet { try await Task.sleep(for: .milliseconds(100)) }
            work.cancel()
        }
        defer { watch.cancel() }
        return try await withTaskCancellationHandler {
            try await work.value
        } onCancel: {
            work.cancel()
        }
    }

    /// The clocks of two hosts are not the same, and their delays differ: who comes a little later for the same
    /// occurrence must find it taken.
    private func keepLock(_ holder: JobExecutor.Holder?, of job: JobDeclaration) {
        let period = job.schedule.next(after: now()).flatMap { next in
            job.schedule.next(after: next).map { $0.timeIntervalSince(next) }
        }
        let seconds = min(job.schedule.jitter + Self.clockDifference, (period ?? 60) / 2)
        kept.keep(holder, of: job.name, for: seconds)
    }

    /// Between the clocks of two hosts, in seconds.
    static let clockDifference: TimeInterval = 10

    private func keep(_ done: JobExecutor.Done, of job: JobDeclaration) async throws {
        if let quarantine = done.quarantine { try await ledger.save(quarantine, of: job.name) }
        if let measures = done.measures { try await ledger.save(measures: measures, of: job.name) }
        let now = now()
        try await ledger.note(job.name, successAt: done.error == nil ? now : nil, backlog: done.backlog, now: now)
    }

    private func tell(_ run: JobRun) {
        let metadata: Logger.Metadata = [
            "job": "\(run.job)", "run": "\(run.id)", "rows": "\(run.rows)",
            "result": "\(run.result?.rawValue ?? "open")",
        ]
        let reason = TerminalText.sanitized(run.reason ?? "done")
        switch run.result {
        case .failed, .lost: logger.error("\(reason)", metadata: metadata)
        case .refused, .incomplete: logger.warning("\(reason)", metadata: metadata)
        default: logger.info("\(reason)", metadata: metadata)
        }
    }
}
