import CertsCore
import Foundation

/// The table of `certs timeline`: a row for each certificate, a column for each week, or for several where the terminal is
/// too narrow.
struct TimelineView {
    let report: TimelineReport
    let style: TerminalStyle

    private static let months = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(separator: " ").map(String.init)

    /// One of the columns of dates behind the weeks.
    private struct DateColumn {
        let title: String
        let date: @Sendable (TimelineReport.Row) -> Date?
        /// Two blanks, and a date without its time.
        static let width = 2 + 10
        static let all = [DateColumn(title: "DUE") { $0.dueAt }, DateColumn(title: "EXPIRES") { $0.notAfter }]
    }

    func render() -> String {
        let names = report.certificates.map { TerminalText.sanitized($0.certificate) }
        let longest = names.reduce("CERTIFICATE".count) { max($0, TextWidth.of($1)) }
        let width = style.width.map { max(20, $0) }
        let perCell = width.map { weeksPerCell(room: max(4, $0 - 2 - min(longest, 12))) } ?? 1
        let count = (report.weeks + perCell - 1) / perCell
        let room = width.map { $0 - count - 2 } ?? .max
        let dates = DateColumn.all.prefix(max(0, (room - min(longest, 24)) / DateColumn.width))
        let nameWidth = min(longest, max(1, room - dates.count * DateColumn.width))
        func line(_ name: String, _ cells: String, _ dates: [String]) -> String {
            let short = TextWidth.cutInside(name, to: nameWidth, mark: style.mark)
            let padded = dates.map { TextWidth.padded($0, to: DateColumn.width - 2) }
            let text = ([TextWidth.padded(short, to: nameWidth), cells] + padded).joined(separator: "  ")
            return String(text.reversed().drop { $0 == " " }.reversed())
        }
        let rows = zip(names, report.certificates).map { name, row in
            line(name, cells(row, count, perCell), dates.map { String(Time.text($0.date(row)).prefix(10)) })
        }
        return
            ([line("CERTIFICATE", axis(count, perCell), dates.map(\.title))] + rows
            + ["R due, X expires, * both, a column: \(perCell) w"]).joined(separator: "\n")
    }

    private func weeksPerCell(room: Int) -> Int { max(1, (report.weeks + room - 1) / room) }

    /// The month in which a column begins, where it is another than before and there is room for its name.
    private func axis(_ count: Int, _ perCell: Int) -> String {
        var (text, last) = ("", "")
        for cell in 0..<count {
            let begin = report.at.addingTimeInterval(TimelineReport.week * Double(cell * perCell))
            let number = Int(Time.text(begin).dropFirst(5).prefix(2)) ?? 1
            let month = Self.months[min(max(number, 1), 12) - 1]
            if month != last, text.count <= cell, cell + 3 <= count {
                text += String(repeating: " ", count: cell - text.count) + month + " "
            }
            last = month
        }
        return TextWidth.padded(String(text.prefix(count)), to: count)
    }

    /// Dots until the renewal is due, a line from there to the expiry.
    private func cells(_ row: TimelineReport.Row, _ count: Int, _ perCell: Int) -> String {
        let (due, expiry) = (row.renewalWeek.map { $0 / perCell }, row.expiryWeek.map { $0 / perCell })
        var text = ""
        for cell in 0..<count {
            if cell == due || cell == expiry {
                let letter = due == expiry ? "*" : cell == due ? "R" : "X"
                text += style.painted(letter, letter == "R" ? (row.isDue(at: report.at) ? .yellow : .green) : .red)
            } else if row.notAfter == nil || expiry.map({ cell > $0 }) ?? false {
                text += " "
            } else if let due, cell > due {
                text += style.isUTF8 ? "─" : "-"
            } else {
                text += style.isUTF8 ? "·" : "."
            }
        }
        return text
    }
}

extension TimelineReport.Row {
    fileprivate func isDue(at now: Date) -> Bool { dueAt.map { $0 <= now } ?? false }
}
