import ArgumentParser
import CertsCore
import Foundation

/// `-o`: how a command prints its data.
enum OutputFormat: String, ExpressibleByArgument, CaseIterable {
    case table, json, jsonl, csv, name
}

/// The option that every read command takes.
struct OutputOptions: ParsableArguments {
    @Option(name: [.customShort("o"), .long], help: "table, json, jsonl, csv or name.")
    var output: OutputFormat = .table
}

/// One column of a table and of CSV.
struct Column<Item>: Sendable {
    let title: String
    let isNumber: Bool
    let value: @Sendable (Item) -> String

    init(_ title: String, isNumber: Bool = false, _ value: @escaping @Sendable (Item) -> String) {
        self.title = title
        self.isNumber = isNumber
        self.value = value
    }
}

/// A list that can be printed in every format: `json` is the whole document, `jsonl` one item a line, `name` the first
/// column alone.
struct Listing<Document: Encodable, Item: Encodable> {
    let document: Document
    let items: [Item]
    let columns: [Column<Item>]

    func print(_ format: OutputFormat) throws {
        switch format {
        case .table: Terminal.print(Table.render(items, columns))
        case .csv: Terminal.print(CSV.render(items, columns))
        case .json: Terminal.print(try JSON.encode(document, pretty: true))
        case .jsonl: for item in items { Terminal.print(try JSON.encode(item, pretty: false)) }
        case .name:
            for item in items { Terminal.print(columns.first.map { TerminalText.sanitized($0.value(item)) } ?? "") }
        }
    }
}

/// JSON as the product prints it: RFC 3339 UTC times, keys in a stable order, unknown as `null`.
enum JSON {
    static func encode(_ value: some Encodable, pretty: Bool) throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting =
            pretty ? [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes] : [.sortedKeys, .withoutEscapingSlashes]
        encoder.dateEncodingStrategy = .custom { date, encoder in
            var container = encoder.singleValueContainer()
            try container.encode(Time.text(date))
        }
        return String(decoding: try encoder.encode(value), as: UTF8.self)
    }
}

enum CSV {
    static func render<Item>(_ items: [Item], _ columns: [Column<Item>]) -> String {
        var lines = [columns.map { escaped($0.title.lowercased().replacingOccurrences(of: " ", with: "_")) }]
        lines += items.map { item in columns.map { escaped(TerminalText.sanitized($0.value(item), limit: 65_536)) } }
        return lines.map { $0.joined(separator: ",") }.joined(separator: "\n")
    }

    /// RFC 4180 quoting; a cell that a spreadsheet would take for a formula gets a leading apostrophe.
    static func escaped(_ cell: String) -> String {
        var text = cell
        if let first = text.first, "=+-@\t\r".contains(first), Double(text) == nil, text != "-" { text = "'" + text }
        guard text.contains(where: { ",\"\n\r".contains($0) }) else { return text }
        return "\"" + text.replacingOccurrences(of: "\"", with: "\"\"") + "\""
    }
}
