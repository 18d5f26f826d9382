package import CertsCore
import Foundation
package import Logging

/// What the service does about windows: it records those whose time comes, ends them, and sees to it that the maintenance
/// mode does not outlive its lease.
package struct WindowWatch: Sendable {
    private let maintenance: MaintenanceDeclaration
    private let mode: MaintenanceMode
    private let jobs: any JobLedger
    private let host: String
    private let logger: Logger

    private static let interval: Duration = .seconds(5)
    /// After a failure: each attempt is a line in the ledger.
    private static let intervalAfterFailure: Duration = .seconds(60)

    package init(
        _ maintenance: MaintenanceDeclaration, mode: MaintenanceMode, jobs: any JobLedger, host: String, logger: Logger
    ) {
        self.maintenance = maintenance
        self.mode = mode
        self.jobs = jobs
        self.host = host
        self.logger = logger
    }

    /// Until the task is cancelled.
    package func run() async {
        var tryAgain = ContinuousClock.now
        while !Task.isCancelled {
            if ContinuousClock.now >= tryAgain {
                let isSettled = await mode.reconcile()
                if !isSettled { tryAgain = .now + Self.intervalAfterFailure }
            }
            do {
                try await look()
            } catch {
                logger.error("the maintenance windows could not be recorded: \(CertsError.wrapping(error))")
            }
            try? await Task.sleep(for: Self.interval)
        }
    }

    /// Opens what is planned for now, and closes what is over, in the ledger.
    package func look() async throws {
        let (ledger, now) = (mode.ledger, mode.now())
        let open = try await ledger.openWindows().filter { $0.source == .timer }
        for window in maintenance.windows {
            guard let planned = window.occurrence(at: now),
                !open.contains(where: { $0.type == window.type && $0.plannedAt == planned.start })
            else { continue }
            let record = WindowRecord(
                id: WindowProcedure.id(window.type, planned.start), type: window.type, plannedAt: planned.start,
                openedAt: now, endsAt: planned.end, openedBy: "certs@\(host)", source: .timer)
            if try await ledger.open(record) { logger.notice("the window \(record.id) is open") }
        }
        for window in open where window.endsAt <= now { try await close(window) }
    }

    /// A window goes on while a job that began in it does.
    private func close(_ window: WindowRecord) async throws {
        guard try await !jobs.openRuns().contains(where: { $0.window == window.id }) else { return }
        let runs = try await mode.ledger.runs(from: window.openedAt, to: mode.now())
        let last = runs.filter { $0.window == window.id }.compactMap(\.endedAt).max()
        // It ended then, also where nobody was there to record it.
        let end = max(window.endsAt, last ?? window.endsAt)
        try await mode.ledger.add(WindowEvent(window: window.id, at: end, step: .close))
        try await mode.ledger.close(window: window.id, at: end)
        logger.notice("the window \(window.id) is closed")
    }
}
