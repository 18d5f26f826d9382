import CertsCore
import Foundation

/// Columns of text, as wide as their widest cell, two blanks apart; numbers to the right.
enum Table {
    static func render<Item>(_ items: [Item], _ columns: [Column<Item>]) -> String {
        let cells = items.map { item in columns.map { TerminalText.sanitized($0.value(item)) } }
        let widths = columns.indices.map { index in
            cells.reduce(columns[index].title.count) { max($0, $1[index].count) }
        }
        func line(_ row: [String]) -> String {
            var text = ""
            for (index, cell) in row.enumerated() {
                let padding = String(repeating: " ", count: max(0, widths[index] - cell.count))
                text += columns[index].isNumber ? padding + cell : index == row.count - 1 ? cell : cell + padding
                if index < row.count - 1 { text += "  " }
            }
            return text
        }
        return ([line(columns.map { $0.title.uppercased() })] + cells.map(line)).joined(separator: "\n")
    }
}
