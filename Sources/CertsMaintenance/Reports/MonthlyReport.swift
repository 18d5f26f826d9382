package import CertsCore
package import Foundation

/// The report of one month (UTC), in the form of the maintenance procedures, made from the ledger; what nobody has
/// measured is "no data".
package struct MonthlyReport: Sendable, Encodable {
    /// One figure: its value, or that there is none, and how it comes about.
    package struct Figure: Sendable, Encodable {
        package let name: String
        /// `nil`: no data.
        package let value: Double?
        package let unit: String
        package let source: String

        enum CodingKeys: String, CodingKey { case name, value, unit, source }

        package func encode(to encoder: any Encoder) throws {
            var container = encoder.container(keyedBy: CodingKeys.self)
            try container.encode(name, forKey: .name)
            try container.encode(value, forKey: .value)
            try container.encode(unit, forKey: .unit)
            try container.encode(source, forKey: .source)
        }
    }

    /// `2025-12`.
    package let month: String
    package let from: Date
    /// Its end, or now.
    package let through: Date
    package let summary: [Figure]
    package let metrics: [Figure]
    package let recommendations: [Sourced]

    private let title: String

    enum CodingKeys: String, CodingKey { case month, from, through, summary, metrics, recommendations }

    /// What a month is made from.
    package struct Material: Sendable {
        var windows: [WindowRecord] = []
        var events: [WindowEvent] = []
        var runs: [JobRun] = []
        var rotations: [Rotation] = []
        /// In percent; `nil`: no data.
        package var uptime: Double?
        package var uptimeSource = "no Prometheus is declared (`prometheus:` under `maintenance:`)"

        package static func read(_ month: DateInterval, from ledger: any WindowLedger) async throws -> Material {
            var material = Material()
            material.windows = try await ledger.windows(from: month.start, to: month.end)
            for window in material.windows { material.events += try await ledger.events(of: window.id) }
            material.runs = try await ledger.runs(from: month.start, to: month.end)
            material.rotations = try await ledger.rotations(from: month.start, to: month.end)
            return material
        }
    }

    /// How long the ledger keeps runs, in seconds.
    static let memory: TimeInterval = 90 * 86400
    /// By how much a window may end later and still be kept: the mode has to go off, too. In seconds.
    static let tolerance: TimeInterval = 60

    /// - Parameter text: `2025-12`; `nil`: the month before `now`.
    /// - Throws: `usage`.
    package static func month(_ text: String?, now: Date) throws(CertsError) -> DateInterval {
        let parts = (text ?? "").split(separator: "-", omittingEmptySubsequences: false)
        var (year, month) = (0, 0)
        if text == nil {
            let today = UTC.parts(now)
            (year, month) = (Int(today.tm_year) + 1900, Int(today.tm_mon))
            if month == 0 { (year, month) = (year - 1, 12) }
        } else if parts.count == 2, parts[0].count == 4, parts[1].count == 2 {
            (year, month) = (Int(parts[0]) ?? 0, Int(parts[1]) ?? 0)
        }
        guard let start = UTC.month(year, month),
            let end = month == 12 ? UTC.month(year + 1, 1) : UTC.month(year, month + 1), start <= now
        else {
            throw CertsError(
                .usage, "'\(text ?? "")' is not a month that has begun", hint: "write it like 2025-12")
        }
        return DateInterval(start: start, end: end)
    }

    package init(_ interval: DateInterval, _ windows: [WindowDeclaration], _ material: Material, now: Date) {
        let parts = UTC.parts(interval.start)
        let year = Int(parts.tm_year) + 1900
        month = String(UTC.day(interval.start).prefix(7))
        title = "\(UTC.monthNames[Int(parts.tm_mon)]) \(year)"
        from = interval.start
        through = min(interval.end, now)
        let figures = Figures(
            material, from: interval.start, through: through, windows: windows,
            isComplete: interval.start >= now.addingTimeInterval(-Self.memory))
        summary = [figures.completed, figures.issues, figures.patches]
        metrics = [figures.uptime, figures.recovery, figures.adherence]
        recommendations = figures.recommendations
    }

    /// The document's form: its headings and lines in its order, but for those that nobody measures; the sources are
    /// footnotes.
    package var markdown: String {
        var notes = Footnotes()
        func line(_ figure: Figure, _ words: (String) -> String) -> Sourced {
            Sourced(words(Self.shown(figure)), figure.source)
        }
        func counted(_ figure: Figure) -> Sourced {
            // "no data security patches applied" is no sentence.
            line(figure) { figure.value == nil ? "\(figure.name): \($0)" : "\($0) \(figure.name)" }
        }
        var lines = ["# Monthly Maintenance Report - \(title)", "", "## Summary"]
        lines += notes.list(summary.map(counted))
        lines += ["", "## Key Metrics"]
        lines += notes.list(metrics.map { figure in line(figure) { "\(figure.name): \($0)" } })
        lines += ["", "## Recommendations"] + notes.list(recommendations)
        lines += [""] + notes.text
        return lines.joined(separator: "\n")
    }

    private static func shown(_ figure: Figure) -> String {
        guard let value = figure.value else { return "no data" }
        switch figure.unit {
        case "percent":
            // Never up: 99.996 is not 100.
            let floored = (value * 100).rounded(.down) / 100
            return floored == 100 ? "100%" : String(format: "%.2f%%", floored)
        case "seconds":
            return value < 60 ? "\(Int(value.rounded())) seconds" : "\(Int((value / 60).rounded())) minutes"
        default: return String(Int(value))
        }
    }
}
