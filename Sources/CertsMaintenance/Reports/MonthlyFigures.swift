import CertsCore
import Foundation

extension MonthlyReport {
    /// The figures of a month, each by the formula in its source.
    struct Figures {
        private let material: Material
        private let from: Date
        private let through: Date
        private let windows: [WindowDeclaration]
        /// Whether the runs of the whole month are still kept.
        private let isComplete: Bool
        private let span: String

        init(_ material: Material, from: Date, through: Date, windows: [WindowDeclaration], isComplete: Bool) {
            self.material = material
            self.from = from
            self.through = through
            self.windows = windows
            self.isComplete = isComplete
            span = "\(UTC.text(from)) to \(UTC.text(through))"
        }

        private static let gone = "runs are kept for 90 days, and those of this month are gone in part"

        // MARK: - Summary

        /// One planned window that somebody opened by hand is one, and not two.
        private var held: [[WindowRecord]] {
            var groups: [String: [WindowRecord]] = [:]
            for window in material.windows {
                let key = window.plannedAt.map { "\(window.type.rawValue) \($0.timeIntervalSince1970)" } ?? window.id
                groups[key, default: []].append(window)
            }
            return groups.values.sorted { $0[0].openedAt < $1[0].openedAt }
        }

        private func wasLost(_ window: WindowRecord) -> Bool {
            material.events.contains { $0.window == window.id && $0.step == .close && $0.result == .failed }
        }

        var completed: Figure {
            let count = held.count { group in group.allSatisfy { $0.closedAt != nil && !wasLost($0) } }
            return Figure(
                name: "maintenance windows completed", value: Double(count), unit: "count",
                source:
                    "ledger: maintenance_window opened \(span), closed and not cut short; a planned window counts once")
        }

        private var failedRuns: [JobRun] { material.runs.filter { $0.result == .failed || $0.result == .lost } }
        private var failedRotations: [Rotation] {
            material.rotations.filter { $0.outcome != nil && $0.outcome != .committed }
        }
        private var failedEvents: [WindowEvent] {
            material.events.filter { $0.result == .failed && $0.step != .task }
        }

        /// Of one job one after another is one issue.
        private var incidents: [Incident] { Incident.all(material.runs) }

        var issues: Figure {
            let source =
                "ledger: job_run (failed or lost; of one job in a row is one), rotation (not committed), "
                + "maintenance_event (failed), begun \(span)"
            guard isComplete else {
                return Figure(
                    name: "critical issues encountered", value: nil, unit: "count", source: "\(source); \(Self.gone)")
            }
            let count = incidents.count + failedRotations.count + failedEvents.count
            return Figure(
                name: "critical issues encountered", value: Double(count), unit: "count", source: source)
        }

        var patches: Figure {
            Figure(
                name: "security patches applied", value: nil, unit: "count",
                source: "the ledger does not record which patches the declared commands applied")
        }

        // MARK: - Key metrics

        var uptime: Figure {
            Figure(name: "Uptime", value: material.uptime, unit: "percent", source: material.uptimeSource)
        }

        var recovery: Figure {
            let times = incidents.compactMap(\.duration)
            let open = incidents.count - times.count
            var source =
                "ledger: job_run begun \(span); mean of (end of the next run that succeeded - begin of the first that "
                + "failed), \(times.count) resolved, \(open) open"
            if !isComplete { source += "; \(Self.gone)" }
            let mean = times.isEmpty || !isComplete ? nil : times.reduce(0, +) / Double(times.count)
            return Figure(name: "Mean Time to Recovery", value: mean, unit: "seconds", source: source)
        }

        /// The planned windows that are over, and which of them began and ended as planned.
        private var planned: [(type: WindowType, window: DateInterval, isHeld: Bool, isKept: Bool)] {
            windows.flatMap { declared in
                declared.occurrences(from: from, to: through).filter { $0.end <= through }.map { window in
                    let own = material.windows.filter {
                        $0.type == declared.type && abs($0.plannedAt?.timeIntervalSince(window.start) ?? .infinity) < 1
                    }
                    let isKept = own.allSatisfy { record in
                        let isLate = (record.closedAt ?? .distantFuture) > window.end.addingTimeInterval(tolerance)
                        return !isLate && !wasLost(record)
                    }
                    return (declared.type, window, !own.isEmpty, !own.isEmpty && isKept)
                }
            }
        }

        var adherence: Figure {
            let (kept, all) = (planned.count { $0.isKept }, planned.count)
            return Figure(
                name: "Maintenance Window Adherence", value: all == 0 ? nil : Double(kept) / Double(all) * 100,
                unit: "percent",
                source:
                    "configuration: windows planned \(span); ledger: maintenance_window; \(kept) that began and ended "
                    + "inside of their time / \(all) planned")
        }

        // MARK: - Recommendations

        var recommendations: [Sourced] {
            jobAdvice + windowAdvice + rotationAdvice
        }

        private var jobAdvice: [Sourced] {
            let source = "ledger: job_run begun \(span)"
            return Set(material.runs.map(\.job)).sorted { $0.rawValue < $1.rawValue }.flatMap { job in
                let own = material.runs.filter { $0.job == job }
                let name = job.rawValue.plainMarkdown
                var lines: [Sourced] = []
                let failed = own.count { $0.result == .failed || $0.result == .lost }
                if failed > 0 {
                    lines.append(
                        Sourced("Look into the job \(name): \(failed) of \(own.count) runs failed", source))
                }
                if let open = incidents.first(where: { $0.job == job && $0.duration == nil }) {
                    lines.append(
                        Sourced("Mend the job \(name): it has not succeeded since \(UTC.text(open.begin))", source))
                }
                let refused = own.count { $0.result == .refused }
                if refused > 0 {
                    lines.append(
                        Sourced("Look at the guards of the job \(name): they refused \(refused) runs", source))
                }
                return lines
            }
        }

        private var windowAdvice: [Sourced] {
            var lines: [Sourced] = []
            let source = "configuration and ledger: maintenance_window \(span)"
            for type in WindowType.allCases {
                let missed = planned.filter { $0.type == type && !$0.isHeld }
                if !missed.isEmpty {
                    let days = missed.prefix(5).map { UTC.day($0.window.start) }.joined(separator: ", ")
                    lines.append(
                        Sourced("Find out why \(missed.count) \(type.rawValue) windows were not held: \(days)", source))
                }
                let longest = material.windows.filter { $0.type == type }.map { $0.overrun(at: through) }.max() ?? 0
                if longest > tolerance {
                    lines.append(
                        Sourced(
                            "Give the \(type.rawValue) window more time: it lasted \(Int((longest / 60).rounded(.up))) "
                                + "minutes too long", source))
                }
            }
            for event in failedEvents where event.step == .modeOff {
                lines.append(
                    Sourced(
                        "Find out why the maintenance mode could not be switched off in \(event.window)".plainMarkdown,
                        "ledger: maintenance_event of \(event.window)"))
            }
            return lines
        }

        private var rotationAdvice: [Sourced] {
            Set(failedRotations.map(\.certificate)).sorted { $0.rawValue < $1.rawValue }.map { name in
                let (failed, all) = (
                    failedRotations.count { $0.certificate == name },
                    material.rotations.count { $0.certificate == name }
                )
                return Sourced(
                    "Review the rotation of \(name.rawValue.plainMarkdown): \(failed) of \(all) did not commit",
                    "ledger: rotation begun \(span)")
            }
        }
    }

    /// Failed runs of one job in a row, up to the next that succeeded.
    struct Incident {
        let job: Name
        let begin: Date
        /// `nil`: it goes on.
        var duration: TimeInterval?

        /// - Parameter runs: oldest first.
        static func all(_ runs: [JobRun]) -> [Incident] {
            var found: [Incident] = []
            var open: [Name: Int] = [:]
            for run in runs {
                switch run.result {
                case .failed, .lost:
                    if open[run.job] == nil {
                        open[run.job] = found.count
                        found.append(Incident(job: run.job, begin: run.startedAt))
                    }
                case .succeeded:
                    guard let index = open.removeValue(forKey: run.job), let end = run.endedAt else { continue }
                    found[index].duration = max(0, end.timeIntervalSince(found[index].begin))
                default: continue
                }
            }
            return found
        }
    }
}
