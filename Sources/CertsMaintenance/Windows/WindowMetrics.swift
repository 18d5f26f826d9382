package import CertsCore
package import Foundation

/// The metric families of the windows and of the maintenance mode.
package enum WindowMetrics {
    package static func families(
        _ maintenance: MaintenanceDeclaration, _ ledger: any WindowLedger, now: Date
    ) async throws -> [MetricFamily] {
        let open = try await ledger.openWindows()
        var found: [MetricFamily] = []
        if !maintenance.windows.isEmpty {
            func gauge(_ name: String, _ help: String, _ value: (WindowDeclaration) -> Double?) -> MetricFamily {
                MetricFamily(
                    name, .gauge, help: help,
                    samples: maintenance.windows.compactMap { window in
                        value(window).map { .init($0, ["type": window.type.rawValue]) }
                    })
            }
            found += [
                gauge("certs_maintenance_window_active", "1 while a window of this type is open.") { window in
                    let isOpen = open.contains { $0.type == window.type }
                    return isOpen || window.occurrence(at: now) != nil ? 1 : 0
                },
                gauge("certs_window_overrun_seconds", "How long an open window is past its end; 0: none is.") {
                    window in
                    open.filter { $0.type == window.type }.map { $0.overrun(at: now) }.max() ?? 0
                },
                gauge("certs_window_next_timestamp_seconds", "When the next planned window begins.") {
                    $0.next(after: now)?.start.timeIntervalSince1970
                },
            ]
        }
        let lease = try await ledger.lease()
        if maintenance.admin != nil || lease != nil {
            found.append(
                MetricFamily(
                    "certs_maintenance_mode", .gauge, help: "1 while the maintenance mode is on through us.",
                    samples: [.init(lease == nil ? 0 : 1)]))
        }
        return found
    }
}
