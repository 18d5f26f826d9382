package import CertsCore
import Foundation

/// Whether work that shuts others out may be done now. Asked before each run of such a job.
package struct DisruptionGuard: Sendable {
    /// Why the job has to wait; `nil`: it may run.
    package let refusal: @Sendable (JobDeclaration) async -> CertsError?

    package init(_ refusal: @escaping @Sendable (JobDeclaration) async -> CertsError?) { self.refusal = refusal }

    /// Nothing disruptive runs by itself.
    package static let closed = DisruptionGuard { job in
        CertsError(
            .jobRefused, "the job \(job.name) shuts everybody out of \(job.work.subject) while it runs",
            subject: job.name.rawValue,
            hint: "run it by hand when nobody needs that: `certs maintenance run \(job.name) --yes`")
    }

    /// In a window of the job's type that somebody has opened; where there is a maintenance mode, only while it is on.
    package static func window(_ maintenance: MaintenanceDeclaration, _ windows: any WindowLedger) -> DisruptionGuard {
        DisruptionGuard { job in
            guard let type = job.window else { return await closed.refusal(job) }
            do {
                let open = try await windows.openWindows().filter { $0.type == type && $0.endsAt > Date() }
                let lease = try await windows.lease()
                if open.contains(where: { maintenance.admin == nil || $0.id == lease?.window }) { return nil }
            } catch {
                return CertsError.wrapping(error, subject: job.name.rawValue)
            }
            return CertsError(
                .jobRefused,
                "the job \(job.name) shuts everybody out of \(job.work.subject), and no \(type.rawValue) window is open "
                    + "with the maintenance mode on",
                subject: job.name.rawValue, hint: "`certs window open \(type.rawValue)` runs it, too", retry: .later)
        }
    }

    /// Somebody has said so.
    package static let confirmed = DisruptionGuard { _ in nil }
}
