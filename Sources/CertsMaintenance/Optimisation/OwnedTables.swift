import CertsCore

/// A table as the catalog and the statistics have it.
struct OwnedTable: Sendable {
    let oid: String
    let table: TableName
    /// Whether the role may VACUUM it: it owns it, or the database.
    let mayVacuum: Bool
    /// With toast and indexes.
    let bytes: Int
    let liveRows: Int
    let deadRows: Int
    /// Rows that changed since the last ANALYZE, and that came since the last VACUUM.
    let changedRows: Int
    let insertedRows: Int
    let isAnalyzed: Bool
    /// In transactions, since its rows were last frozen.
    let frozenAge: Int
    /// How often it was vacuumed and analyzed by hand.
    let vacuums: Int
    let analyses: Int
}

enum OwnedTables {
    /// The tables of the scope, those with the most dead rows first.
    ///
    /// - Throws: `configuration.invalid` for a table that is not there, `database.refused` for one that is another's.
    static func look(_ scope: TableScope, in session: PostgresSession) throws -> [OwnedTable] {
        // What is asked for by name must be there; where nothing is named, it is what the role may work on.
        let found = try query(scope, in: session)
        for name in scope.names {
            guard let table = found.first(where: { $0.table.name == name }) else {
                throw try missing(TableName(name, schema: scope.schema), session)
            }
            guard table.mayVacuum else {
                throw CertsError(
                    .databaseRefused, "the table \(table.table) belongs to another role",
                    subject: table.table.description,
                    hint: "only its owner can do this (PostgreSQL 15): GRANT the owner's role to the one in "
                        + "`maintenance.database`")
            }
        }
        return scope.names.isEmpty ? found.filter(\.mayVacuum) : found
    }

    private static func query(_ scope: TableScope, in session: PostgresSession) throws -> [OwnedTable] {
        let names: SQL = scope.names.isEmpty ? "true" : "c.relname = ANY (\(array: scope.names)::text[])"
        return try session.run(
            """
            SELECT c.oid::text, c.relname,
                (pg_has_role(c.relowner, 'USAGE') OR pg_has_role(d.datdba, 'USAGE'))::text,
                pg_total_relation_size(c.oid)::text, pg_stat_get_live_tuples(c.oid)::text,
                pg_stat_get_dead_tuples(c.oid)::text, pg_stat_get_mod_since_analyze(c.oid)::text,
                pg_stat_get_ins_since_vacuum(c.oid)::text, (c.reltuples >= 0)::text, age(c.relfrozenxid)::text,
                pg_stat_get_vacuum_count(c.oid)::text, pg_stat_get_analyze_count(c.oid)::text
            FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
            JOIN pg_catalog.pg_database d ON d.datname = current_database()
            WHERE c.relkind IN ('r', 'm') AND c.relpersistence <> 't' AND n.nspname = \(value: scope.schema)
                AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') AND \(names)
            ORDER BY pg_stat_get_dead_tuples(c.oid) DESC, c.relname
            """
        ).rows.compactMap { row in
            guard row.count == 12, let oid = row[0], let name = row[1] else { return nil }
            func number(_ column: Int) -> Int { row[column].flatMap { Int($0) } ?? 0 }
            return OwnedTable(
                oid: oid, table: TableName(name, schema: scope.schema), mayVacuum: row[2] == "true", bytes: number(3),
                liveRows: number(4), deadRows: number(5), changedRows: number(6), insertedRows: number(7),
                isAnalyzed: row[8] == "true", frozenAge: number(9), vacuums: number(10), analyses: number(11))
        }
    }

    private static func missing(_ table: TableName, _ session: PostgresSession) throws -> CertsError {
        let near = try session.run(
            """
            SELECT c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
            WHERE c.relkind IN ('r', 'm') AND n.nspname = \(value: table.schema) ORDER BY 1 LIMIT 40
            """
        ).values
        return CertsError(
            .configurationInvalid, "the database \(session.place) has no table \(table)", subject: table.description,
            hint: near.isEmpty
                ? "the schema \(table.schema) has none; look at `schema`" : "it has \(near.joined(separator: ", "))")
    }
}
