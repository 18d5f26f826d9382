import CertsCore
import CertsEngine
import CertsMaintenance

/// `certs rotate` as a job, with the schedule, the ledger and the windows of the others.
struct RenewalWork: HostWork {
    let engine: RotationEngine

    func preview(_ job: Name, sample: Int, control: JobControl) async throws -> [WorkPreview] {
        let due = try await engine.plan(at: control.now(), only: nil).filter { $0.due && $0.blockedUntil == nil }
        return [
            WorkPreview(
                subject: "certificates", count: due.count,
                keys: due.prefix(sample).map { "\($0.certificate): \($0.reason.rawValue)" })
        ]
    }

    /// A rotation that has begun comes to its end, also when the service is told to stop.
    func run(_ job: Name, control: JobControl) async throws -> JobExecutor.Done {
        try await withUncancelledTask { try await rotate(job) }
    }

    private func rotate(_ job: Name) async throws -> JobExecutor.Done {
        let recovered = try await engine.recover()
        try await engine.reconcile()
        await engine.refreshHints()
        let rotated = try await engine.rotateDue()
        if rotated.contains(where: \.isRotated) { await engine.refreshHints() }
        let results = recovered + rotated
        var done = JobExecutor.Done(rows: results.filter { $0.isRotated && !$0.isFailure }.count)
        let failed = results.filter(\.isFailure).map(\.certificate)
        if !failed.isEmpty {
            done.error = CertsError(
                .jobFailed, "\(failed.count) certificates were not rotated: \(Self.named(failed))",
                subject: job.rawValue,
                hint: "`certs history NAME` has the reason of each")
        }
        let waiting = rotated.filter(\.isWaiting).map(\.certificate)
        if !waiting.isEmpty { done.reason = "waiting for a CA outside: \(Self.named(waiting))" }
        return done
    }

    private static func named(_ names: [Name]) -> String {
        let rest = names.count > 10 ? " and \(names.count - 10) more" : ""
        return names.prefix(10).map(\.rawValue).joined(separator: ", ") + rest
    }
}
