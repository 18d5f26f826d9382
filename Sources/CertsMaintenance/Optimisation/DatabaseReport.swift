import CertsCore
package import Foundation

/// How the tables and indexes of a database are: recommendations for people. Nothing here changes anything.
package struct DatabaseReport: Sendable {
    package struct Table: Sendable, Hashable {
        package let table: String
        package let liveRows: Int
        package let deadRows: Int
        /// Dead rows as a part of all; `nil`: the statistics know of no row.
        package let deadRatio: Double?
        package let heapBytes: Int
        package let toastBytes: Int
        package let indexBytes: Int
        /// Heap, toast, indexes, and the maps that belong to them.
        package let bytes: Int
        /// Dead and free bytes of the heap, by pgstattuple_approx; `nil`: unknown.
        package let bloatBytes: Int?
        /// By hand or by autovacuum.
        package let vacuumedAt: Date?
        package let analyzedAt: Date?
    }

    package struct Index: Sendable, Hashable {
        package let index: String
        package let table: String
        package let bytes: Int
        package let scans: Int
        package let definition: String
        /// A statement for people to consider.
        package let recommendation: String
    }

    /// A foreign key without an index on the columns that refer: each deletion of a parent reads the whole table.
    package struct MissingIndex: Sendable, Hashable {
        package let table: String
        package let constraint: String
        package let columns: [String]
        package let parent: String
        package let recommendation: String
    }

    /// Since when the statistics count.
    package struct Statistics: Sendable, Hashable {
        /// `nil`: unknown.
        package let since: Date?
        /// They were never reset: `since` is the oldest thing they know of, and they may be older.
        package let isAtLeast: Bool
        /// Too young to say that an index is not used.
        package let areYoung: Bool
        /// Standbys have statistics of their own.
        package let hasStandby: Bool

        /// Days that they must cover: a month has its monthly report.
        package static let days = 30
    }

    package var statistics: Statistics
    package var tables: [Table]
    package var unusedIndexes: [Index]
    package var invalidIndexes: [Index]
    package var missingIndexes: [MissingIndex]
    package var holders: [VacuumHolder]
    /// What could not be looked at, and why.
    package var notes: [String]

    /// Looks, in statements that each see their own moment; nothing is locked for longer than one of them.
    static func make(_ work: DatabaseReportWork, in session: PostgresSession, control: JobControl) throws
        -> DatabaseReport
    {
        try session.run("SET default_transaction_read_only = on")
        defer { if session.isUsable { _ = try? session.run("SET default_transaction_read_only = off") } }
        try session.run("SET statement_timeout = 0")
        var reader = DatabaseReader(session: session, control: control)
        let statistics = try reader.statistics()
        return DatabaseReport(
            statistics: statistics, tables: try reader.tables(work.top), unusedIndexes: try reader.unusedIndexes(),
            invalidIndexes: try reader.invalidIndexes(), missingIndexes: try reader.missingIndexes(),
            holders: try VacuumHolder.look(in: session), notes: reader.notes(statistics))
    }
}
