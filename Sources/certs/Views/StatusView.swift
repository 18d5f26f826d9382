import CertsCore
import CertsEngine
import Foundation

/// The table of `certs status` on a terminal: what fits of the columns, the most important ones first. No line is longer
/// than the terminal is wide, from 20 columns on.
struct StatusView {
    let entries: [StatusReport.Entry]
    let now: Date
    let style: TerminalStyle

    private struct Column {
        let title: String
        var isNumber = false
        let cells: [String]
        /// In columns.
        var width: Int

        init(_ title: String, isNumber: Bool = false, _ cells: [String]) {
            (self.title, self.isNumber, self.cells) = (title, isNumber, cells)
            width = cells.reduce(title.count) { max($0, TextWidth.of($1)) }
        }
    }

    func render() -> String {
        guard let width = style.width.map({ max(20, $0) }) else { return everything() }
        let columns = fitted(width)
        let header = line(columns, columns.map(\.title), nil)
        return ([header] + entries.indices.map { row in line(columns, columns.map { $0.cells[row] }, entries[row]) })
            .joined(separator: "\n")
    }

    /// Where nothing limits the width: every column, uncut.
    private func everything() -> String {
        var columns = StatusCommand.columns
        columns.insert(.init("lifetime") { [style] in Self.bar($0, width: 10, style) }, at: 3)
        return Table.render(entries, columns)
    }

    private func fitted(_ width: Int) -> [Column] {
        var name = Column("CERTIFICATE", entries.map { TerminalText.sanitized($0.name) })
        var columns = [
            Column("STATE", entries.map(\.state.rawValue)),
            Column("DAYS", isNumber: true, entries.map { $0.daysLeft.map { String(format: "%.1f", $0) } ?? "-" }),
        ]
        /// Whether a column fits beside a name of at least so many columns.
        func fits(_ more: Int, name least: Int) -> Bool {
            columns.reduce(min(name.width, least) + 2 + more) { $0 + 2 + $1.width } <= width
        }
        let bars = Column("LIFETIME", entries.map { Self.bar($0, width: width < 60 ? 8 : 10, style) })
        let narrow = Column("LEFT", entries.map { Self.bar($0, width: 4, style) })
        if let bar = [bars, narrow].first(where: { fits($0.width, name: $0.title == "LEFT" ? 10 : 12) }) {
            columns.append(bar)
        }
        let more = [
            Column("DUE", entries.map { entry in entry.dueAt.map { Time.distance(to: $0, from: now) } ?? "-" }),
            Column("SERVED", entries.map(StatusCommand.served)),
        ]
        for column in more where columns.count > 2 && fits(column.width, name: 24) { columns.append(column) }
        var note = Column("NOTE", entries.map { TerminalText.sanitized(Self.note($0)) })
        let isTold = columns.count > 4 && note.cells.contains { !$0.isEmpty } && fits(min(note.width, 16), name: 40)
        let others = columns.reduce(isTold ? 2 + min(note.width, 16) : 0) { $0 + 2 + $1.width }
        name.width = min(name.width, max(1, width - others))
        if isTold {
            note.width = width - columns.reduce(name.width + 2) { $0 + 2 + $1.width }
            columns.append(note)
        }
        return [name] + columns
    }

    private func line(_ columns: [Column], _ cells: [String], _ entry: StatusReport.Entry?) -> String {
        let parts = zip(columns, cells).map { column, cell in
            let cut =
                column.title == "CERTIFICATE"
                ? TextWidth.cutInside(cell, to: column.width, mark: style.mark)
                : TextWidth.cut(cell, to: column.width, mark: style.mark)
            // The colour ends with the word, so that blanks at the end of a line can be left out.
            let painted = style.painted(cut, entry.flatMap { Self.paint(column.title, $0) })
            let blanks = String(repeating: " ", count: max(0, column.width - TextWidth.of(cut)))
            return column.isNumber ? blanks + painted : painted + blanks
        }
        let line = parts.joined(separator: "  ")
        return String(line.reversed().drop { $0 == " " }.reversed())
    }

    private static func paint(_ title: String, _ entry: StatusReport.Entry) -> TerminalStyle.Paint? {
        switch title {
        case "STATE", "LIFETIME", "LEFT": paint(entry.state)
        case "SERVED": entry.isWronglyServed ? .red : nil
        default: nil
        }
    }

    private static func paint(_ state: CertificateState.Condition) -> TerminalStyle.Paint {
        switch state {
        case .expired, .failing, .unreadable: .red
        case .due, .undeployed, .missing, .waiting: .yellow
        case .valid: .green
        }
    }

    /// The days left in proportion to the lifetime, rounded up: a bar is empty only when nothing is left.
    static func bar(_ entry: StatusReport.Entry, width: Int, _ style: TerminalStyle) -> String {
        guard let from = entry.notBefore, let to = entry.notAfter, let days = entry.daysLeft else { return "-" }
        let lifetime = to.timeIntervalSince(from)
        let share = lifetime > 0 ? min(1, max(0, days * 86400 / lifetime)) : 0
        let full = Int((share * Double(width)).rounded(.up))
        return String(repeating: style.isUTF8 ? "█" : "#", count: full)
            + String(repeating: style.isUTF8 ? "░" : ".", count: width - full)
    }

    /// What is the matter, in words; empty if nothing is.
    private static func note(_ entry: StatusReport.Entry) -> String {
        if let problem = entry.problem { return problem }
        if entry.isWronglyServed { return "another certificate is served" }
        if entry.consecutiveFailures > 0, let failure = entry.lastFailure { return failure.message }
        return entry.nextAttemptBecause ?? entry.waitingFor.map { "waits: \($0)" } ?? ""
    }
}
