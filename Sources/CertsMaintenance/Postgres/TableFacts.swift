package import CertsCore

/// What the catalog says of one table: the live truth that the configuration is compared with.
package struct TableFacts: Sendable {
    package struct Column: Sendable, Hashable {
        /// As the catalog names it: `timestamptz`, `int8`, `text`.
        package let type: String
        package let typeSchema: String
    }

    /// A foreign key that leads here.
    package struct Reference: Sendable {
        package let constraint: String
        package let table: TableName
        package let columns: [String]
        package let referenced: [String]
        /// NO ACTION or RESTRICT: as long as such a row is there, ours cannot go.
        package let blocks: Bool
        /// CASCADE: such rows go with ours.
        package let cascades: Bool
        /// Whether an index of the other table begins with its columns; without one each deletion reads it whole.
        package let isIndexed: Bool
    }

    package let table: TableName
    package let columns: [String: Column]
    package let primaryKey: [String]
    /// Columns that an index begins with.
    package let indexed: Set<String>
    package let references: [Reference]
    /// Of the last ANALYZE; negative: never.
    package let estimatedRows: Double

    private static let systemSchemas = ["pg_catalog", "information_schema", "pg_toast"]

    /// Looks the table up.
    /// - Throws: `configuration.invalid` when there is no such table, or it cannot be worked on.
    package static func look(_ table: TableName, in session: PostgresSession) throws -> TableFacts {
        guard !systemSchemas.contains(table.schema), !table.schema.hasPrefix("pg_") else {
            throw CertsError(
                .configurationInvalid, "\(table) belongs to the system catalog", subject: table.description,
                hint: "name a table of your own")
        }
        let found = try session.run(
            """
            SELECT c.oid::text, c.relkind::text, c.reltuples::text,
                   EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE i.inhparent = c.oid)::text
            FROM pg_catalog.pg_class c
            JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
            WHERE n.nspname = \(value: table.schema) AND c.relname = \(value: table.name)
            """)
        guard let row = found.rows.first, let oid = row[0], let kind = row[1] else { throw try missing(table, session) }
        guard kind == "r" else {
            let what = ["v": "a view", "p": "partitioned", "f": "a foreign table", "m": "a materialized view"][kind]
            throw CertsError(
                .configurationInvalid, "\(table) is \(what ?? "not a plain table")", subject: table.description,
                hint: kind == "p" ? "name its partitions, or drop whole ones" : "name a plain table")
        }
        // Places of rows are those of one table: the same place in a table that inherits from it is another row.
        guard row[3] == "false" else {
            throw CertsError(
                .configurationInvalid, "other tables inherit from \(table)", subject: table.description,
                hint: "name those tables, each with a job of its own")
        }
        return TableFacts(
            table: table, columns: try columns(oid, session), primaryKey: try primaryKey(oid, session),
            indexed: try indexed(oid, session), references: try references(oid, session),
            estimatedRows: row[2].flatMap { Double($0) } ?? -1)
    }

    /// The column, if the table has it.
    /// - Throws: `configuration.invalid` with the columns that there are.
    @discardableResult
    package func column(_ name: String, of types: Set<String>? = nil) throws -> Column {
        guard let column = columns[name] else {
            throw CertsError(
                .configurationInvalid, "the table \(table) has no column '\(TerminalText.sanitized(name, limit: 80))'",
                subject: table.description,
                hint: "it has \(columns.keys.sorted().prefix(30).joined(separator: ", "))")
        }
        if let types, !types.contains(column.type) {
            throw CertsError(
                .configurationInvalid, "the column '\(name)' of \(table) is of type \(column.type)",
                subject: table.description, hint: "it must be \(types.sorted().joined(separator: ", "))")
        }
        return column
    }

    package static let times: Set<String> = ["timestamptz", "timestamp", "date"]

    /// What makes deleting from it slow, for people.
    package var warnings: [String] {
        references.filter { !$0.isIndexed }.map {
            "no index of \($0.table) begins with \($0.columns.joined(separator: ", ")) (\($0.constraint)): each deletion "
                + "from \(table) reads all of it"
        }
    }

    private static func missing(_ table: TableName, _ session: PostgresSession) throws -> CertsError {
        let near = try session.run(
            """
            SELECT n.nspname || '.' || c.relname FROM pg_catalog.pg_class c
            JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
            WHERE c.relkind = 'r' AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
            ORDER BY 1 LIMIT 40
            """
        ).values
        return CertsError(
            .configurationInvalid, "the database \(session.place) has no table \(table)", subject: table.description,
            hint: near.isEmpty ? "it has none at all" : "it has \(near.joined(separator: ", "))")
    }

    private static func columns(_ oid: String, _ session: PostgresSession) throws -> [String: Column] {
        let rows = try session.run(
            """
            SELECT a.attname, t.typname, n.nspname FROM pg_catalog.pg_attribute a
            JOIN pg_catalog.pg_type t ON t.oid = a.atttypid JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
            WHERE a.attrelid = \(value: oid)::oid AND a.attnum > 0 AND NOT a.attisdropped
            """
        ).rows.map { $0.compactMap { $0 } }
        return Dictionary(
            rows.filter { $0.count == 3 }.map { ($0[0], Column(type: $0[1], typeSchema: $0[2])) },
            uniquingKeysWith: { first, _ in first })
    }

    private static func primaryKey(_ oid: String, _ session: PostgresSession) throws -> [String] {
        try session.run(
            """
            SELECT a.attname FROM pg_catalog.pg_constraint c
            CROSS JOIN LATERAL unnest(c.conkey) WITH ORDINALITY k(number, place)
            JOIN pg_catalog.pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.number
            WHERE c.contype = 'p' AND c.conrelid = \(value: oid)::oid ORDER BY k.place
            """
        ).values
    }

    private static func indexed(_ oid: String, _ session: PostgresSession) throws -> Set<String> {
        Set(
            try session.run(
                """
                SELECT a.attname FROM pg_catalog.pg_index i
                JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
                WHERE i.indrelid = \(value: oid)::oid AND i.indisvalid
                """
            ).values)
    }

    private static func references(_ oid: String, _ session: PostgresSession) throws -> [Reference] {
        // One line for each column; those of one constraint follow one another.
        let rows = try session.run(
            """
            SELECT c.oid::text, c.conname, n.nspname, r.relname, own.attname, theirs.attname,
                   c.confdeltype::text,
                   EXISTS (SELECT FROM pg_catalog.pg_index i WHERE i.indrelid = c.conrelid AND i.indisvalid
                           AND i.indkey[0] = ANY (c.conkey) AND i.indpred IS NULL)::text
            FROM pg_catalog.pg_constraint c
            JOIN pg_catalog.pg_class r ON r.oid = c.conrelid
            JOIN pg_catalog.pg_namespace n ON n.oid = r.relnamespace
            CROSS JOIN LATERAL unnest(c.conkey, c.confkey) WITH ORDINALITY k(own, theirs, place)
            JOIN pg_catalog.pg_attribute own ON own.attrelid = c.conrelid AND own.attnum = k.own
            JOIN pg_catalog.pg_attribute theirs ON theirs.attrelid = c.confrelid AND theirs.attnum = k.theirs
            WHERE c.contype = 'f' AND c.confrelid = \(value: oid)::oid ORDER BY c.oid, k.place
            """
        ).rows.map { $0.map { $0 ?? "" } }.filter { $0.count == 8 }
        var order: [String] = []
        for row in rows where order.last != row[0] { order.append(row[0]) }
        return order.compactMap { constraint in
            let own = rows.filter { $0[0] == constraint }
            guard let first = own.first else { return nil }
            return Reference(
                constraint: first[1], table: TableName(first[3], schema: first[2]), columns: own.map { $0[4] },
                referenced: own.map { $0[5] }, blocks: ["a", "r"].contains(first[6]), cascades: first[6] == "c",
                isIndexed: first[7] == "true")
        }
    }
}
