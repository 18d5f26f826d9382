import CertsCore
import Foundation

/// The questions of the report, each one statement on the catalog; tables go by their oid, so no name is too odd.
struct DatabaseReader {
    let session: PostgresSession
    let control: JobControl
    private var isBloatKnown = true
    private var lockedTables = 0

    init(session: PostgresSession, control: JobControl) {
        self.session = session
        self.control = control
    }

    private static let ownSchemas: SQL =
        "n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') AND n.nspname NOT LIKE 'pg\\_temp\\_%'"

    // MARK: - Tables

    /// The largest, with partitions each for itself.
    mutating func tables(_ top: Int) throws -> [DatabaseReport.Table] {
        let source = try BloatSource.look(in: session)
        isBloatKnown = source != nil
        let rows = try session.run(
            """
            SELECT c.oid::text, n.nspname, c.relname, pg_stat_get_live_tuples(c.oid)::text,
                pg_stat_get_dead_tuples(c.oid)::text, pg_relation_size(c.oid)::text,
                coalesce(pg_total_relation_size(nullif(c.reltoastrelid, 0)), 0)::text, pg_indexes_size(c.oid)::text,
                pg_total_relation_size(c.oid)::text,
                extract(epoch FROM greatest(pg_stat_get_last_vacuum_time(c.oid),
                    pg_stat_get_last_autovacuum_time(c.oid)))::text,
                extract(epoch FROM greatest(pg_stat_get_last_analyze_time(c.oid),
                    pg_stat_get_last_autoanalyze_time(c.oid)))::text
            FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
            WHERE c.relkind IN ('r', 'm') AND \(Self.ownSchemas)
            ORDER BY pg_total_relation_size(c.oid) DESC, n.nspname, c.relname LIMIT \(value: top)::int8
            """, within: control.left
        ).rows.filter { $0.count == 11 }
        return try rows.map { row in
            func number(_ column: Int) -> Int { row[column].flatMap { Int($0) } ?? 0 }
            let bloat = try bloat(row[0] ?? "", source)
            let rows = number(3) + number(4)
            return DatabaseReport.Table(
                table: TableName(row[2] ?? "", schema: row[1] ?? "").description, liveRows: number(3),
                deadRows: number(4), deadRatio: rows == 0 ? nil : Double(number(4)) / Double(rows),
                heapBytes: number(5), toastBytes: number(6), indexBytes: number(7), bytes: number(8),
                bloatBytes: bloat, vacuumedAt: Self.date(row[9]), analyzedAt: Self.date(row[10]))
        }
    }

    private mutating func bloat(_ oid: String, _ source: BloatSource?) throws -> Int? {
        do {
            return try source?.table(oid, in: session, within: control.left)?.bytes
        } catch let failure as PostgresFailure where failure.isLockTimeout {
            lockedTables += 1
            return nil
        }
    }

    private static func date(_ seconds: String?) -> Date? {
        seconds.flatMap { Double($0) }.map { Date(timeIntervalSince1970: $0) }
    }

    // MARK: - Indexes

    /// Indexes that are there for queries alone, and that no query has used: never one that keeps rows apart, belongs
    /// to a constraint, names rows for replication, or is the only one of a foreign key.
    func unusedIndexes() throws -> [DatabaseReport.Index] {
        try indexes(
            """
            i.indisvalid AND i.indisready AND pg_stat_get_numscans(c.oid) = 0
            AND NOT (i.indisunique OR i.indisprimary OR i.indisexclusion OR i.indisreplident OR i.indisclustered)
            AND NOT c.relispartition
            AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint k WHERE k.conindid = c.oid)
            AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint f WHERE f.contype = 'f' AND f.conrelid = i.indrelid
                AND \(Self.serves("i", "f")) AND NOT EXISTS (
                    SELECT FROM pg_catalog.pg_index other WHERE other.indrelid = i.indrelid
                    AND other.indexrelid <> i.indexrelid AND \(Self.serves("other", "f"))))
            """, "format('DROP INDEX CONCURRENTLY %I.%I;', n.nspname, c.relname)")
    }

    /// An invalid index costs each write and serves no query.
    func invalidIndexes() throws -> [DatabaseReport.Index] {
        try indexes(
            "NOT i.indisvalid",
            """
            CASE WHEN c.relname ~ '_cc(new|old)[0-9]*$'
                THEN format('DROP INDEX CONCURRENTLY %I.%I;', n.nspname, c.relname)
                WHEN c.relkind = 'I' THEN 'attach the indexes of all partitions'
                ELSE format('REINDEX INDEX CONCURRENTLY %I.%I;', n.nspname, c.relname) END
            """)
    }

    /// Whether an index can find the rows of a foreign key: it begins with the key's columns, in any order.
    private static func serves(_ index: SQL, _ key: SQL) -> SQL {
        """
        (\(index).indisvalid AND \(index).indpred IS NULL
        AND (\(index).indkey::int2[])[0:cardinality(\(key).conkey) - 1] @> \(key).conkey)
        """
    }

    private func indexes(_ condition: SQL, _ recommendation: SQL) throws -> [DatabaseReport.Index] {
        let question: SQL = """
            SELECT tn.nspname, t.relname, n.nspname, c.relname, pg_relation_size(c.oid)::text,
                coalesce(pg_stat_get_numscans(c.oid), 0)::text, pg_get_indexdef(c.oid), \(recommendation)
            FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
            JOIN pg_catalog.pg_class t ON t.oid = i.indrelid
            JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
            JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace
            WHERE \(Self.ownSchemas) AND \(condition)
            ORDER BY pg_relation_size(c.oid) DESC, n.nspname, c.relname LIMIT 1000
            """
        return try rows(question, width: 8).map { row in
            DatabaseReport.Index(
                index: TableName(row[3], schema: row[2]).description,
                table: TableName(row[1], schema: row[0]).description, bytes: Int(row[4]) ?? 0,
                scans: Int(row[5]) ?? 0, definition: row[6], recommendation: row[7])
        }
    }

    func missingIndexes() throws -> [DatabaseReport.MissingIndex] {
        let question: SQL = """
            SELECT n.nspname, t.relname, f.conname, pn.nspname, p.relname,
                (SELECT string_agg(a.attname, E'\\x01' ORDER BY k.place)
                    FROM unnest(f.conkey) WITH ORDINALITY k(number, place)
                    JOIN pg_catalog.pg_attribute a ON a.attrelid = f.conrelid AND a.attnum = k.number),
                format('CREATE INDEX CONCURRENTLY ON %I.%I (%s);', n.nspname, t.relname,
                    (SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY k.place)
                        FROM unnest(f.conkey) WITH ORDINALITY k(number, place)
                        JOIN pg_catalog.pg_attribute a ON a.attrelid = f.conrelid AND a.attnum = k.number))
            FROM pg_catalog.pg_constraint f JOIN pg_catalog.pg_class t ON t.oid = f.conrelid
            JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace
            JOIN pg_catalog.pg_class p ON p.oid = f.confrelid
            JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace
            WHERE f.contype = 'f' AND f.conparentid = 0 AND \(Self.ownSchemas) AND NOT EXISTS (
                SELECT FROM pg_catalog.pg_index i WHERE i.indrelid = f.conrelid AND \(Self.serves("i", "f")))
            ORDER BY pg_relation_size(t.oid) DESC, n.nspname, t.relname, f.conname LIMIT 1000
            """
        return try rows(question, width: 7).map { row in
            DatabaseReport.MissingIndex(
                table: TableName(row[1], schema: row[0]).description, constraint: row[2],
                columns: row[5].split(separator: "\u{1}").map(String.init),
                parent: TableName(row[4], schema: row[3]).description, recommendation: row[6])
        }
    }

    private func rows(_ question: SQL, width: Int) throws -> [[String]] {
        try session.run(question, within: control.left).rows.map { row in row.map { $0 ?? "" } }
            .filter { $0.count == width }
    }

    // MARK: - Statistics

    func statistics() throws -> DatabaseReport.Statistics {
        let row =
            try session.run(
                """
                SELECT extract(epoch FROM d.stats_reset)::text,
                    (SELECT extract(epoch FROM least(min(s.last_vacuum), min(s.last_autovacuum), min(s.last_analyze),
                        min(s.last_autoanalyze))) FROM pg_catalog.pg_stat_all_tables s)::text,
                    extract(epoch FROM clock_timestamp())::text,
                    (EXISTS (SELECT FROM pg_catalog.pg_stat_replication))::text
                FROM pg_catalog.pg_stat_database d WHERE d.datname = current_database()
                """
            ).rows.first ?? [nil, nil, nil, nil]
        let since = Self.date(row[0]) ?? Self.date(row[1])
        let now = Self.date(row[2]) ?? control.now()
        let isYoung = since.map { now.timeIntervalSince($0) < Double(DatabaseReport.Statistics.days) * 86400 } ?? true
        return DatabaseReport.Statistics(
            since: since, isAtLeast: row[0] == nil, areYoung: isYoung, hasStandby: row[3] == "true")
    }

    func notes(_ statistics: DatabaseReport.Statistics) -> [String] {
        var notes: [String] = []
        if !isBloatKnown {
            notes.append(
                "bloat is unknown: CREATE EXTENSION pgstattuple, and GRANT pg_stat_scan_tables to the role"
            )
        }
        if lockedTables > 0 { notes.append("the bloat of \(lockedTables) tables is unknown: others have locked them") }
        if statistics.areYoung {
            notes.append(
                "the statistics cover less than \(DatabaseReport.Statistics.days) days: too few to drop an index"
            )
        }
        if statistics.hasStandby {
            notes.append("a standby is attached: ask it, too, before an index goes; it has statistics of its own")
        }
        return notes
    }
}
