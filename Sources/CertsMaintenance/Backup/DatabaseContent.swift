import CertsCore
import Foundation

/// What is in a database, as far as it can be compared after a restore.
package struct DatabaseContent: Codable, Sendable, Hashable {
    package struct Table: Codable, Sendable, Hashable {
        package var rows: Int
        /// The sum of a hash of each row: the order of the rows does not matter. `nil`: they were only counted.
        package var fingerprint: String?
    }

    /// Sequences belong to no snapshot: a value between two that were read.
    package struct Sequence: Codable, Sendable, Hashable {
        /// `nil`: it has never been used.
        package var before: Int?
        package var after: Int?
    }

    /// By `schema.table`.
    package var tables: [String: Table]
    package var sequences: [String: Sequence]
    /// Versions by name.
    package var extensions: [String: String]
    package var largeObjects: Int

    /// Not those that belong to an extension (`e`): it brings them itself.
    private static let ours: SQL = """
        n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema' AND NOT EXISTS (
            SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
        """

    /// Reads it in the transaction of `session`; the tables are locked against changes of their form until its end.
    /// Blocking.
    static func read(
        _ session: PostgresSession, _ comparison: DatabaseBackup.Comparison, _ control: JobControl
    ) throws -> DatabaseContent {
        // What rows look like as text must not depend on settings of the database.
        for (name, value) in [
            ("search_path", ""), ("extra_float_digits", "1"), ("bytea_output", "hex"), ("intervalstyle", "postgres"),
            ("statement_timeout", "0"), ("idle_in_transaction_session_timeout", "0"), ("lock_timeout", "60s"),
        ] {
            try session.run("SELECT set_config(\(value: name), \(value: value), true)")
        }
        let sequences = try sequenceValues(session)
        let names = try session.run(
            """
            SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND \(ours) ORDER BY 1, 2
            """)
        var tables: [String: Table] = [:]
        for row in names.rows {
            let table = TableName(row[1] ?? "", schema: row[0] ?? "")
            tables["\(table.schema).\(table.name)"] = try read(table, session, comparison, control)
        }
        let extensions = try session.run("SELECT extname, extversion FROM pg_extension").rows
        return DatabaseContent(
            tables: tables, sequences: sequences.mapValues { Sequence(before: $0, after: $0) },
            extensions: Dictionary(
                extensions.map { ($0[0] ?? "", $0[1] ?? "") }, uniquingKeysWith: { first, _ in first }),
            largeObjects: try session.run("SELECT count(*) FROM pg_largeobject_metadata").integer ?? 0)
    }

    private static func read(
        _ table: TableName, _ session: PostgresSession, _ comparison: DatabaseBackup.Comparison, _ control: JobControl
    ) throws -> Table {
        let hash: SQL =
            comparison == .counts
            ? "NULL"
            : """
            coalesce(sum(('x' || substr(md5(ROW(certs_row.*)::text), 1, 16))::bit(64)::bigint::numeric), 0)::text
            """
        let row = try session.run(
            "SELECT count(*), \(hash) FROM ONLY \(table: table) AS certs_row", within: control.left
        ).rows.first
        guard let row, let count = row[0].flatMap({ Int($0) }) else {
            throw CertsError(.internal, "count(*) of \(table) is no number")
        }
        return Table(rows: count, fingerprint: row[1])
    }

    private static func sequenceValues(_ session: PostgresSession) throws -> [String: Int?] {
        let rows = try session.run(
            """
            SELECT n.nspname, c.relname, pg_sequence_last_value(c.oid) FROM pg_class c
            JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE c.relkind = 'S' AND c.relpersistence <> 't' AND \(ours)
            """
        ).rows
        return Dictionary(
            rows.map { ("\($0[0] ?? "").\($0[1] ?? "")", $0[2].flatMap { Int($0) }) },
            uniquingKeysWith: { first, _ in first })
    }

    /// Reads the sequences once more, after the dump.
    mutating func close(_ session: PostgresSession) throws {
        for (name, value) in try Self.sequenceValues(session) where sequences[name] != nil {
            sequences[name]?.after = value
        }
    }

    /// What a restored database has otherwise than this one; a sentence for each.
    package func differences(in restored: DatabaseContent) -> [String] {
        var found: [String] = []
        for (name, table) in tables.sorted(by: { $0.key < $1.key }) {
            guard let other = restored.tables[name] else {
                found.append("the table \(name) is missing")
                continue
            }
            if other.rows != table.rows {
                found.append("the table \(name) has \(other.rows) rows instead of \(table.rows)")
            } else if let mine = table.fingerprint, let theirs = other.fingerprint, mine != theirs {
                found.append("the table \(name) has other rows")
            }
        }
        found += restored.tables.keys.filter { tables[$0] == nil }.sorted().map { "there is a table \($0) more" }
        found += sequenceDifferences(restored)
        for (name, version) in extensions.sorted(by: { $0.key < $1.key }) where restored.extensions[name] != version {
            let other = restored.extensions[name].map { "is of version \($0) instead of \(version)" } ?? "is missing"
            found.append("the extension \(name) \(other)")
        }
        if restored.largeObjects != largeObjects {
            found.append("there are \(restored.largeObjects) large objects instead of \(largeObjects)")
        }
        return found
    }

    private func sequenceDifferences(_ restored: DatabaseContent) -> [String] {
        sequences.sorted { $0.key < $1.key }.compactMap { name, sequence in
            guard let other = restored.sequences[name] else { return "the sequence \(name) is missing" }
            let (before, after, value) = (sequence.before, sequence.after, other.before)
            if value == before || value == after { return nil }
            // Between the two readings it was used; it may count downwards.
            if let before, let after, let value, (min(before, after)...max(before, after)).contains(value) {
                return nil
            }
            if before == nil, after != nil, value != nil { return nil }
            func text(_ value: Int?) -> String { value.map { String($0) } ?? "unused" }
            return "the sequence \(name) stands at \(text(value)) instead of \(text(after))"
        }
    }
}
