import CertsCore
import CertsTesting
import Foundation
import Testing

/// Each fault is told by its alert within its bound, and by no alert that has nothing to do with it.
@Suite struct InjectedFaultTests {
    @Test(.timeLimit(.minutes(10))) func eachFaultFiresItsAlertWithinItsBound() async throws {
        var outcomes: [(fault: InjectedFault, outcome: InjectedFault.Outcome)] = []
        for fault in InjectedFault.all { outcomes.append((fault, try await fault.inject(fault.name))) }
        var firings = try await AlertRun(
            rules: "alerts.yml", step: 1, minutes: InjectedFault.minutes, recordings: outcomes.map(\.outcome.recording)
        ).firings()
        let alone = (
            fault: InjectedFault.alone, outcome: try await InjectedFault.alone.inject(InjectedFault.alone.name)
        )
        for (firing, minute) in try await AlertRun(
            rules: "alerts.yml", step: 1, minutes: InjectedFault.minutes, recordings: [alone.outcome.recording]
        ).firings() {
            firings[.init(scene: alone.fault.name, alert: firing.alert)] = minute
        }
        var rows: [String] = []
        for (fault, outcome) in outcomes + [alone] {
            let own = firings.filter { $0.key.scene == fault.name }
            #expect(Set(own.map(\.key.alert)) == fault.others.union([fault.alert]), "\(fault.name)")
            guard let minute = own[.init(scene: fault.name, alert: fault.alert)] else { continue }
            #expect(minute >= outcome.at && minute - outcome.at <= fault.bound, "\(fault.name): \(minute - outcome.at)")
            rows.append(
                "| \(fault.name) | `\(fault.alert)` | \(AlertTable.time(minute - outcome.at)) "
                    + "| \(AlertTable.time(fault.bound)) |")
        }
        AlertTable.expect(rows)
    }

    /// The certificate is never renewed again, under a timer that runs once a day: from the first run that fails.
    @Test(.timeLimit(.minutes(10))) func aRenewalThatFailsIsToldWithinADayAndWellBeforeTheEnd() async throws {
        var recordings: [Recording] = [], faults: [String: Int] = [:]
        for days in HealthyYearTests.lifetimes {
            let scene = "\(days) d"
            var watched = try await WatchedWorld(scene, validity: Double(days) * 86400, tick: 86400, jitter: 3600)
            _ = try await watched.run(until: 60) { _ in true }
            watched.world.issuer.behaviour = .fails(.later)
            #expect(try await watched.run(until: days * 1440) { $0.consecutiveFailures > 0 })
            faults[scene] = watched.minute
            try await watched.run(until: (days + 2) * 1440)
            recordings.append(watched.recording)
        }
        let firings = try await AlertRun(
            rules: "alerts-scoped.yml", step: 15, minutes: 92 * 1440, recordings: recordings
        ).firings()
        var rows: [String] = []
        for days in HealthyYearTests.lifetimes {
            let (scene, life) = ("\(days) d", Double(days))
            let reserve = days < 10 ? life / 2 : min(30, life / 3)
            // The look-ahead of the planner, the share of the reserve, and the `for` of the rule with one step.
            let overdue = 1.09 + 0.3 * reserve + 0.05
            let bounds: [(alert: String, days: Double)] = [
                ("CertsRenewalNotRecovered", 0.53), ("SSLCertificateRenewalOverdue", overdue),
                ("SSLCertificateExpiryCritical", 1.09 + reserve - min(life / 10, 0.35 * reserve) + 0.02),
                ("SSLCertificateExpired", 1.09 + reserve + 0.01),
            ]
            for (alert, bound) in bounds {
                let minute = try #require(firings[.init(scene: scene, alert: alert)], "\(alert) for \(scene)")
                let taken = minute - (try #require(faults[scene]))
                #expect(Double(taken) <= bound * 1440, "\(alert) for \(scene): \(taken)")
                rows.append(
                    "| renewals of \(scene) certificates fail | `\(alert)` | \(AlertTable.time(taken)) "
                        + "| \(AlertTable.time(Int(bound * 1440))) |")
            }
            // Where less than 30 days are kept in reserve the rule of the procedures has nothing to say.
            let isTold = firings[.init(scene: scene, alert: "SSLCertificateExpiring")] != nil
            #expect(isTold == (days == 90))
        }
        AlertTable.expect(rows)
    }
}

/// The table of docs/monitoring.md: each test knows its rows.
enum AlertTable {
    static func time(_ minutes: Int) -> String {
        switch minutes {
        case ..<120: "\(minutes) min"
        case ..<(72 * 60): String(format: "%.1f h", Double(minutes) / 60)
        default: String(format: "%.1f d", Double(minutes) / 1440)
        }
    }

    /// Expects that the page has these rows.
    static func expect(_ rows: [String], sourceLocation: SourceLocation = #_sourceLocation) {
        let page = (try? String(contentsOfFile: "\(AlertRun.root)/docs/monitoring.md", encoding: .utf8)) ?? ""
        let lines = Set(page.split(separator: "\n").map(String.init))
        let missing = rows.filter { !lines.contains($0) }
        #expect(
            missing.isEmpty, "docs/monitoring.md lacks these rows:\n\(missing.joined(separator: "\n"))",
            sourceLocation: sourceLocation)
    }
}
