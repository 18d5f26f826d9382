import CertsCore

/// A valid index that can be rebuilt beside its users.
struct RebuildableIndex: Sendable, Hashable {
    let oid: String
    let name: TableName
    let table: TableName
    let tableOID: String
    let bytes: Int

    /// The indexes that are declared, by themselves or by their tables; else those of all tables that the role owns.
    ///
    /// - Throws: `configuration.invalid` for what is not there, or cannot be rebuilt in this way.
    static func look(_ work: ReindexWork, in session: PostgresSession) throws -> [RebuildableIndex] {
        let tables =
            work.scope.names.isEmpty && !work.indexes.isEmpty ? [] : try OwnedTables.look(work.scope, in: session)
        let rows = try session.run(
            """
            SELECT c.oid::text, c.relname, t.relname, t.oid::text, pg_relation_size(c.oid)::text,
                i.indisvalid::text, i.indisexclusion::text, pg_has_role(c.relowner, 'USAGE')::text,
                (c.relkind = 'I')::text, (c.relname = ANY (\(array: work.indexes)::text[]))::text
            FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
            JOIN pg_catalog.pg_class t ON t.oid = i.indrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
            WHERE n.nspname = \(value: work.scope.schema) AND n.nspname NOT IN ('pg_catalog', 'pg_toast')
                AND c.relpersistence <> 't'
                AND (i.indrelid = ANY (\(array: tables.map(\.oid))::oid[])
                    OR c.relname = ANY (\(array: work.indexes)::text[]))
            ORDER BY c.relname
            """
        ).rows.map { $0.map { $0 ?? "" } }.filter { $0.count == 10 }
        for name in work.indexes where !rows.contains(where: { $0[1] == name }) {
            throw CertsError(
                .configurationInvalid, "the schema \(work.scope.schema) has no index '\(name)'", subject: name,
                hint: "`\\di \(work.scope.schema).*` in psql lists them")
        }
        return try rows.compactMap { row in
            let index = RebuildableIndex(
                oid: row[0], name: TableName(row[1], schema: work.scope.schema),
                table: TableName(row[2], schema: work.scope.schema), tableOID: row[3], bytes: Int(row[4]) ?? 0)
            guard let problem = problem(row) else { return index }
            // Of a table all that can be; what is asked for by name must be.
            guard row[9] == "true" else { return nil }
            throw CertsError(
                .configurationInvalid, "the index \(index.name) \(problem)", subject: index.name.description,
                hint: "take it out of `indexes`; `certs maintenance report database` says what to do with it")
        }
    }

    private static func problem(_ row: [String]) -> String? {
        if row[8] == "true" { return "is partitioned: name those of its partitions" }
        if row[6] == "true" { return "belongs to an exclusion constraint, and cannot be rebuilt concurrently" }
        if row[7] != "true" { return "belongs to another role" }
        return row[5] == "true" ? nil : "is not valid"
    }
}
