package import CertsCore
package import Foundation

extension JobRunner {
    /// Does what a person asks for beside the runs of `job`, under its lock, and writes into the ledger what came of it.
    ///
    /// - Parameters:
    ///   - deadline: in seconds; `nil`: that of the job.
    ///   - body: returns what it did, in one sentence.
    /// - Throws: what `body` throws, after it was recorded; `lock.held` while the job runs.
    package func record(
        _ job: JobDeclaration, deadline: TimeInterval? = nil, _ body: (JobControl) async throws -> String
    ) async throws -> String {
        let lock = try await locks.lock(job: job.name)
        defer { lock.release() }
        var run = entry(job, nil, .command, 1)
        try await ledger.begin(run)
        let outcome: Result<String, CertsError>
        do {
            let control = JobControl(deadline: .now + .seconds(deadline ?? job.deadline), now: now)
            outcome = .success(try await body(control))
        } catch {
            outcome = .failure(CertsError.wrapping(error, subject: job.name.rawValue))
        }
        run.endedAt = now()
        switch outcome {
        case .success(let words): (run.result, run.reason, run.rows) = (.succeeded, words, 1)
        case .failure(let error): (run.result, run.reason) = (Self.result(error), error.description)
        }
        let ended = run
        try await withUncancelledTask { [ledger] in try await ledger.finish(ended) }
        return try outcome.get()
    }
}
