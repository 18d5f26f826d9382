package import CertsCore
package import Foundation

/// Whether a job that needs a window may start now.
package struct WindowGate: Sendable {
    /// A window that is open.
    package struct Opening: Sendable {
        package var endsAt: Date
        /// Its record; `nil`: its time has come, and nobody has recorded it yet.
        package var id: String?
    }

    private let maintenance: MaintenanceDeclaration
    private let windows: any WindowLedger
    private let jobs: any JobLedger

    /// How many of its last runs tell how long a job takes.
    private static let sample = 10

    package init(_ maintenance: MaintenanceDeclaration, windows: any WindowLedger, jobs: any JobLedger) {
        self.maintenance = maintenance
        self.windows = windows
        self.jobs = jobs
    }

    /// The open window of this type that is open longest; `nil`: none is.
    ///
    /// - Parameter byTimer: for the scheduler: one whose opener runs the jobs by itself is not for it.
    package func opening(_ type: WindowType, at now: Date, byTimer: Bool) async throws -> Opening? {
        let open = try await windows.openWindows().filter { $0.type == type && $0.endsAt > now }
        if byTimer, open.contains(where: \.runsTasks) { return nil }
        var found = open.map { Opening(endsAt: $0.endsAt, id: $0.id) }
        if found.isEmpty, let planned = maintenance.window(type)?.occurrence(at: now) {
            found.append(Opening(endsAt: planned.end))
        }
        return found.max { $0.endsAt < $1.endsAt }
    }

    /// The median of its last runs, else its deadline; in seconds.
    package func expectedDuration(of job: JobDeclaration) async throws -> TimeInterval {
        let runs = try await jobs.runs(of: job.name, limit: Self.sample * 3)
        let times = runs.filter { $0.result == .succeeded || $0.result == .incomplete }.prefix(Self.sample).compactMap {
            run in run.endedAt.map { max(0, $0.timeIntervalSince(run.startedAt)) }
        }.sorted()
        return times.isEmpty ? job.deadline : times[times.count / 2]
    }

    /// Why the job may not start now; `nil`: it may, in the returned window.
    package func admit(_ job: JobDeclaration, at now: Date, byTimer: Bool) async throws -> (
        opening: Opening?, reason: String?
    ) {
        guard let type = job.window else { return (nil, nil) }
        guard let opening = try await opening(type, at: now, byTimer: byTimer) else {
            return (nil, "no \(type.rawValue) window is open")
        }
        let expected = try await expectedDuration(of: job)
        let left = opening.endsAt.timeIntervalSince(now)
        guard expected <= left else {
            return (nil, "it takes about \(Int(expected)) s, and the window ends in \(Int(left)) s")
        }
        return (opening, nil)
    }

    /// - Throws: `job.refused`, with the way on.
    package func admitByHand(_ job: JobDeclaration, at now: Date) async throws -> Opening? {
        let (opening, reason) = try await admit(job, at: now, byTimer: false)
        guard let reason else { return opening }
        let next = job.window.flatMap { maintenance.window($0) }?.next(after: now)?.start
        let time = next.map { "wait for the next one (\(UTC.text($0)))" } ?? "open one with `certs window open`"
        throw CertsError(
            .jobRefused, "the job \(job.name) waits for a window: \(reason)", subject: job.name.rawValue,
            hint: "\(time), or run it with --yes", retry: .later)
    }
}
