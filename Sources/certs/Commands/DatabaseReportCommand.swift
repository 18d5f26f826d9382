import ArgumentParser
import CertsCore
import CertsEngine
import CertsMaintenance
import Foundation

struct DatabaseReportCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "database",
        abstract: "Large and bloated tables, indexes that nobody uses, what holds vacuum back.",
        discussion: "What it recommends is text: nothing is done. What it cannot measure is unknown, never a guess.")

    @OptionGroup var global: GlobalOptions
    @OptionGroup var output: OutputOptions
    @Option(help: "How many tables, largest first.")
    var top = 20

    struct Document: Encodable {
        let schema = 1
        let statistics: Statistics
        let tables: [TableEntry]
        let unusedIndexes: [Index]
        let invalidIndexes: [Index]
        let missingIndexes: [Missing]
        let holders: [Holder]
        let notes: [String]
    }

    struct Statistics: Encodable {
        @OrNull var since: Date?
        let isAtLeast: Bool
        let areYoung: Bool
    }

    struct TableEntry: Encodable {
        let table: String
        let bytes: Int
        let heapBytes: Int
        let toastBytes: Int
        let indexBytes: Int
        let liveRows: Int
        let deadRows: Int
        @OrNull var deadRatio: Double?
        @OrNull var bloatBytes: Int?
        @OrNull var vacuumedAt: Date?
        @OrNull var analyzedAt: Date?
    }

    struct Index: Encodable {
        let index: String
        let table: String
        let bytes: Int
        let scans: Int
        let definition: String
        let recommendation: String
    }

    struct Missing: Encodable {
        let table: String
        let constraint: String
        let columns: [String]
        let parent: String
        let recommendation: String
    }

    struct Holder: Encodable {
        let kind: String
        let name: String
        let detail: String
        @OrNull var seconds: Double?
        let transactions: Int
    }

    func validate() throws {
        guard (1...1000).contains(top) else { throw ValidationError("--top takes a number from 1 to 1000") }
    }

    func run() async throws {
        let assembly = try await Assembly.forMaintenance(global)
        let report = try await assembly.jobs.executor.databaseReport(
            DatabaseReportWork(top: top), control: JobControl(now: { Date() }))
        let document = Document(report)
        // The other formats are lists of one kind of thing: the tables.
        try Listing(document: document, items: document.tables, columns: Self.tables).print(output.output)
        if output.output == .table { printRest(document, report) }
        for note in report.notes { Terminal.note(note) }
    }

    private static var tables: [Column<TableEntry>] {
        [
            Column("table") { $0.table }, Column("bytes", isNumber: true) { String($0.bytes) },
            Column("heap", isNumber: true) { String($0.heapBytes) },
            Column("toast", isNumber: true) { String($0.toastBytes) },
            Column("indexes", isNumber: true) { String($0.indexBytes) },
            Column("rows", isNumber: true) { String($0.liveRows) },
            Column("dead", isNumber: true) { String($0.deadRows) },
            Column("bloat", isNumber: true) { $0.bloatBytes.map(String.init) ?? "unknown" },
            Column("vacuumed") { Time.text($0.vacuumedAt) }, Column("analyzed") { Time.text($0.analyzedAt) },
        ]
    }

    private func printRest(_ document: Document, _ report: DatabaseReport) {
        func section<Item>(_ title: String, _ items: [Item], _ columns: [Column<Item>]) {
            guard !items.isEmpty else { return }
            Terminal.print("\n\(title)\n\(Table.render(items, columns))")
        }
        let indexes: [Column<Index>] = [
            Column("index") { $0.index }, Column("table") { $0.table },
            Column("bytes", isNumber: true) { String($0.bytes) }, Column("scans", isNumber: true) { String($0.scans) },
            Column("consider") { $0.recommendation },
        ]
        let since = report.statistics.since.map { Time.text($0) } ?? "an unknown time"
        let least = report.statistics.isAtLeast && report.statistics.since != nil ? " or earlier" : ""
        section("Not used since \(since)\(least):", document.unusedIndexes, indexes)
        section("Invalid indexes, kept up for nothing:", document.invalidIndexes, indexes)
        section(
            "Foreign keys without an index:", document.missingIndexes,
            [
                Column("table") { $0.table }, Column("constraint") { $0.constraint }, Column("parent") { $0.parent },
                Column("consider") { $0.recommendation },
            ])
        section("What holds vacuum back, oldest first:", report.holders, [Column("holder") { $0.text }])
    }
}

extension DatabaseReportCommand.Document {
    init(_ report: DatabaseReport) {
        statistics = .init(
            since: report.statistics.since, isAtLeast: report.statistics.isAtLeast,
            areYoung: report.statistics.areYoung)
        tables = report.tables.map {
            .init(
                table: $0.table, bytes: $0.bytes, heapBytes: $0.heapBytes, toastBytes: $0.toastBytes,
                indexBytes: $0.indexBytes, liveRows: $0.liveRows, deadRows: $0.deadRows, deadRatio: $0.deadRatio,
                bloatBytes: $0.bloatBytes, vacuumedAt: $0.vacuumedAt, analyzedAt: $0.analyzedAt)
        }
        func entry(_ index: DatabaseReport.Index) -> DatabaseReportCommand.Index {
            .init(
                index: index.index, table: index.table, bytes: index.bytes, scans: index.scans,
                definition: index.definition, recommendation: index.recommendation)
        }
        unusedIndexes = report.unusedIndexes.map(entry)
        invalidIndexes = report.invalidIndexes.map(entry)
        missingIndexes = report.missingIndexes.map {
            .init(
                table: $0.table, constraint: $0.constraint, columns: $0.columns, parent: $0.parent,
                recommendation: $0.recommendation)
        }
        holders = report.holders.map {
            .init(
                kind: $0.kind.rawValue, name: $0.name, detail: $0.detail, seconds: $0.seconds,
                transactions: $0.transactions)
        }
        notes = report.notes
    }
}
