/// Work on the database itself, not on its rows: what keeps it fast, and what tells how it is.
package enum DatabaseWork: Sendable, Hashable {
    case vacuum(VacuumWork)
    case vacuumFull(VacuumFullWork)
    case reindex(ReindexWork)
    case report(DatabaseReportWork)

    /// What it is about, for tables and errors.
    package var subject: String {
        switch self {
        case .vacuum(let work): work.scope.description
        case .vacuumFull(let work): work.scope.description
        case .reindex(let work):
            work.indexes.isEmpty
                ? work.scope.description
                : (work.scope.tables.map(\.description) + work.indexes).joined(separator: ", ")
        case .report: "database"
        }
    }

    package var word: String {
        switch self {
        case .vacuum: "vacuum and analyze"
        case .vacuumFull: "rewrite tables"
        case .reindex: "rebuild indexes"
        case .report: "look at the database"
        }
    }

    /// Whether nobody can use a table while it runs.
    package var isDisruptive: Bool {
        if case .vacuumFull = self { true } else { false }
    }
}

/// Tables of one schema.
package struct TableScope: Sendable, Hashable, CustomStringConvertible {
    package var schema: String
    /// Empty: all that the role owns.
    package var names: [String]

    package init(schema: String = "public", names: [String] = []) {
        self.schema = schema
        self.names = names
    }

    package var tables: [TableName] { names.map { TableName($0, schema: schema) } }

    package var description: String {
        names.isEmpty ? "schema \(schema)" : tables.map(\.description).joined(separator: ", ")
    }
}

/// VACUUM and ANALYZE of the tables that need it.
package struct VacuumWork: Sendable, Hashable {
    package var scope: TableScope
    /// A table is vacuumed from this many dead rows on, and this part of its rows (0 to 1) in addition.
    package var deadRows: Int
    package var deadShare: Double
    /// It is analyzed when more than this part of its rows has changed since (0 to 1).
    package var changedShare: Double
    /// `vacuum_cost_delay`, in milliseconds; 0: as fast as the disk.
    package var costDelay: Int

    package init(
        scope: TableScope = .init(), deadRows: Int = 50, deadShare: Double = 0.1, changedShare: Double = 0.1,
        costDelay: Int = 2
    ) {
        self.scope = scope
        self.deadRows = deadRows
        self.deadShare = deadShare
        self.changedShare = changedShare
        self.costDelay = costDelay
    }
}

/// VACUUM FULL: writes each table anew while nobody can read it.
package struct VacuumFullWork: Sendable, Hashable {
    /// Its names are never empty.
    package var scope: TableScope
    /// Somebody has looked that there is room for a second copy, where it cannot be seen from here.
    package var freeSpaceChecked: Bool

    package init(scope: TableScope, freeSpaceChecked: Bool = false) {
        self.scope = scope
        self.freeSpaceChecked = freeSpaceChecked
    }
}

/// REINDEX INDEX CONCURRENTLY, one index at a time.
package struct ReindexWork: Sendable, Hashable {
    /// Whose indexes are looked at; with no names and no `indexes`: those of all tables that the role owns.
    package var scope: TableScope
    /// Indexes by their names, in the schema of `scope`.
    package var indexes: [String]
    /// The empty part of an index from which on it is rebuilt (0 to 1), where it can be measured.
    package var bloatShare: Double

    package init(scope: TableScope = .init(), indexes: [String] = [], bloatShare: Double = 0.3) {
        self.scope = scope
        self.indexes = indexes
        self.bloatShare = bloatShare
    }
}

/// A look at tables, indexes and old transactions; changes nothing.
package struct DatabaseReportWork: Sendable, Hashable {
    /// How many tables, largest first.
    package var top: Int

    package init(top: Int = 20) { self.top = top }
}
