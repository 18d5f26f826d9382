package import CertsCore
package import Foundation

/// The log of one window, in the form of the maintenance procedures, made from the ledger alone.
package struct MaintenanceLog: Sendable, Encodable {
    package let window: String
    package let type: String
    package let startedAt: Date
    /// `nil`: the window is open.
    package let endedAt: Date?
    package let performedBy: String
    package let tasks: [Sourced]
    package let issues: [Sourced]
    package let verification: [Sourced]

    enum CodingKeys: String, CodingKey {
        case window, type, startedAt, endedAt, performedBy, tasks, issues, verification
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(window, forKey: .window)
        try container.encode(type, forKey: .type)
        try container.encode(startedAt, forKey: .startedAt)
        // `null`, and not left out: unknown is shown as unknown.
        try container.encode(endedAt, forKey: .endedAt)
        try container.encode(performedBy, forKey: .performedBy)
        try container.encode(tasks, forKey: .tasks)
        try container.encode(issues, forKey: .issues)
        try container.encode(verification, forKey: .verification)
    }

    /// - Parameter now: up to when an open window is told.
    package static func make(_ window: WindowRecord, from ledger: any WindowLedger, now: Date) async throws
        -> MaintenanceLog
    {
        let end = window.closedAt ?? now
        // A run that began in the last moment is part of it.
        let runs = try await ledger.runs(from: window.openedAt, to: end.addingTimeInterval(1))
        let rotations = try await ledger.rotations(from: window.openedAt, to: end.addingTimeInterval(1))
        return MaintenanceLog(
            window, events: try await ledger.events(of: window.id), runs: runs.filter { $0.window == window.id },
            rotations: rotations, now: now)
    }

    init(_ window: WindowRecord, events: [WindowEvent], runs: [JobRun], rotations: [Rotation], now: Date) {
        self.window = window.id
        type = window.type.rawValue
        startedAt = window.openedAt
        endedAt = window.closedAt
        performedBy = window.openedBy
        let source = "ledger: maintenance_event of \(window.id)"
        tasks =
            runs.filter { $0.result == .succeeded }.map(Self.task)
            + rotations.filter { $0.outcome == .committed }.map { rotation in
                Sourced(
                    "Certificate rotation for \(rotation.certificate.rawValue.plainMarkdown), revision "
                        + "\(rotation.revision)",
                    "ledger: rotation \(rotation.id)")
            } + Self.mode(events, source)
        var issues = runs.filter { $0.result != .succeeded }.map(Self.issue)
        issues += rotations.filter { $0.outcome != .committed }.map { rotation in
            let reason = rotation.failure.map { ": \($0.message)" } ?? ""
            return Sourced(
                "Certificate rotation for \(rotation.certificate): \(rotation.outcome?.rawValue ?? "open")\(reason)"
                    .plainMarkdown, "ledger: rotation \(rotation.id)")
        }
        // The runs of jobs tell of themselves; a job that did not run has none.
        issues += events.filter { event in
            event.step != .verify
                && (event.step == .task ? event.result == .skipped || event.subject.isEmpty : event.result == .failed)
        }.map { event in
            let words = [event.subject, event.detail].filter { !$0.isEmpty }.joined(separator: ": ")
            let what = event.step == .task ? "not run" : event.step.rawValue
            return Sourced("\(what): \(words)".plainMarkdown, source)
        }
        let overrun = window.overrun(at: now)
        if overrun >= 1 {
            issues.append(
                Sourced(
                    "The window lasted \(Int(overrun)) s past its end (\(UTC.time(window.endsAt)))",
                    "ledger: maintenance_window \(window.id), closed_at - ends_at"))
        }
        self.issues = issues
        verification = events.filter { $0.step == .verify }.map { event in
            Sourced(
                "\(event.subject): \(event.result == .done ? "" : "FAILED, ")\(event.detail)".plainMarkdown, source)
        }
    }

    private static func task(_ run: JobRun) -> Sourced {
        let seconds = max(0, (run.endedAt ?? run.startedAt).timeIntervalSince(run.startedAt))
        return Sourced(
            "\(run.job.rawValue.plainMarkdown): \(run.rows) done in \(String(format: "%.1f", seconds)) s",
            "ledger: job_run \(run.id)")
    }

    private static func issue(_ run: JobRun) -> Sourced {
        let reason = run.reason.map { ": \($0)" } ?? ""
        return Sourced(
            "\(run.job.rawValue): \(run.result?.rawValue ?? "still running")\(reason)".plainMarkdown,
            "ledger: job_run \(run.id)")
    }

    private static func mode(_ events: [WindowEvent], _ source: String) -> [Sourced] {
        guard let begin = events.first(where: { $0.step == .modeOn && $0.result == .done })?.at else { return [] }
        let end = events.first { $0.step == .modeOff && $0.result == .done }?.at
        let until = end.map { "to \(UTC.time($0))" } ?? "; it is not off yet"
        return [Sourced("Maintenance mode from \(UTC.time(begin)) \(until)", source)]
    }

    /// The document's form: its headings and fields in its order; the sources are footnotes.
    package var markdown: String {
        var notes = Footnotes()
        let end = endedAt.map { UTC.day($0) == UTC.day(startedAt) ? UTC.time($0) : UTC.text($0) } ?? "open"
        var lines = [
            "## Maintenance Log - \(UTC.day(startedAt))", "", "**Start Time**: \(UTC.time(startedAt))",
            "**End Time**: \(end)", "**Performed By**: \(performedBy.plainMarkdown)", "", "### Tasks Completed",
        ]
        lines += notes.list(tasks)
        lines += ["", "### Issues Encountered"] + notes.list(issues)
        lines += ["", "### Verification Results"]
        lines += verification.isEmpty ? ["- no data: nothing was verified"] : notes.list(verification)
        if !notes.sources.isEmpty { lines += [""] + notes.text }
        return lines.joined(separator: "\n")
    }
}
