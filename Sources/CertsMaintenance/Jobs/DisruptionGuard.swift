package import CertsCore

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

    /// Somebody has said so.
    package static let confirmed = DisruptionGuard { _ in nil }
}
