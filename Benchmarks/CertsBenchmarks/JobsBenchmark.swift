import CertsCore
import CertsMaintenance
import CertsStore
import Foundation
import Logging

/// Many jobs under one scheduler: how late they start, and what the scheduler costs while nothing is due.
enum JobsBenchmark {
    struct Figures: Encodable {
        let count: Int
        let runs: Int
        /// From the time that each was planned for to its start in the ledger, in milliseconds.
        let p50: Double
        let p99: Double
        let most: Double
        /// Of one core, in percent, while nothing was due.
        let idle: Double
    }

    /// - Parameters:
    ///   - period: of each job, in seconds; their starts are spread over it, as the operator declares with `jitter`.
    ///   - isSpread: without it, all start in the same moment.
    static func run(count: Int, period: Double, seconds: Double, isSpread: Bool) async throws {
        let directory = "\(NSTemporaryDirectory())/certs-jobs-\(getpid())"
        defer { try? FileManager.default.removeItem(atPath: directory) }
        let state = try await StateDirectory.open(at: directory, create: true)
        let database = try await Database.open(in: state)
        let work = JobWork.command(CommandWork(["/bin/true"]))
        var schedule = JobSchedule(.every(period), jitter: isSpread ? period : 0)
        let busy = try (0..<count).map {
            JobDeclaration(name: try Name("job-\($0)"), work: work, schedule: schedule, retries: 0)
        }
        try await serve(busy, database, state, for: seconds)
        let delays = try await database.runs(of: nil, limit: 100_000).compactMap { run -> Double? in
            guard let planned = run.occurrence, run.result == .succeeded else { return nil }
            let delay = schedule.delay(of: run.job, on: "benchmark")
            return run.startedAt.timeIntervalSince(planned) * 1000 - delay * 1000
        }.sorted()
        guard !delays.isEmpty else { throw CertsError(.internal, "nothing has run") }
        schedule = JobSchedule(.weekly([0], 0))
        let quiet = try (0..<count).map {
            JobDeclaration(name: try Name("quiet-\($0)"), work: work, schedule: schedule)
        }
        let before = processorSecondsNow()
        try await serve(quiet, database, state, for: seconds)
        let idle = (processorSecondsNow() - before) / seconds * 100
        func quantile(_ part: Double) -> Double { delays[min(delays.count - 1, Int(Double(delays.count) * part))] }
        try report(
            Figures(
                count: count, runs: delays.count, p50: quantile(0.5), p99: quantile(0.99), most: quantile(1),
                idle: idle))
    }

    private static func serve(
        _ jobs: [JobDeclaration], _ database: Database, _ state: StateDirectory, for seconds: Double
    ) async throws {
        let logger = Logger(label: "benchmark") { _ in SwiftLogNoOpLogHandler() }
        let executor = JobExecutor(MaintenanceDeclaration(jobs: jobs)) { _ in Secret(copying: []) }
        let runner = JobRunner(
            executor: executor, ledger: database, locks: state, logger: logger, host: "benchmark", now: { Date() })
        let scheduler = JobScheduler(jobs, runner: runner, logger: logger, host: "benchmark")
        let task = Task { await scheduler.run() }
        try await Task.sleep(for: .seconds(seconds))
        task.cancel()
        await task.value
    }
}
