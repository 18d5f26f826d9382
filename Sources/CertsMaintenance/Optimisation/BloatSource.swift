import CertsCore

/// Measures how much of a table or an index is dead or free, by the extension pgstattuple; never guesses.
struct BloatSource {
    struct Bloat: Hashable {
        let bytes: Int
        /// Of the whole, from 0 to 1.
        let share: Double
    }

    /// Where the extension is.
    private let schema: String

    /// `nil`: it is not installed, or the role may not call it (`pg_stat_scan_tables` may).
    static func look(in session: PostgresSession) throws -> BloatSource? {
        try session.run(
            """
            SELECT n.nspname FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace
            WHERE e.extname = 'pgstattuple' AND has_schema_privilege(n.oid, 'USAGE') AND (
                SELECT count(*) FROM pg_catalog.pg_proc p WHERE p.pronamespace = n.oid
                AND p.proname IN ('pgstattuple_approx', 'pgstatindex')
                AND p.proargtypes[0] = 'regclass'::regtype AND has_function_privilege(p.oid, 'EXECUTE')) = 2
            """
        ).value.map { BloatSource(schema: $0) }
    }

    /// Of the heap alone: dead rows and free space. Reads what the visibility map does not vouch for.
    func table(_ oid: String, in session: PostgresSession, within limit: Duration) throws -> Bloat? {
        let row = try session.run(
            """
            SELECT (dead_tuple_len + approx_free_space)::int8::text,
                ((dead_tuple_len + approx_free_space) / nullif(table_len, 0))::text
            FROM \(name: schema).pgstattuple_approx(\(value: oid)::oid::regclass)
            """, within: limit
        ).rows.first
        guard let row, let bytes = row[0].flatMap({ Int($0) }) else { return nil }
        return Bloat(bytes: bytes, share: row[1].flatMap { Double($0) } ?? 0)
    }

    /// Of a B-tree: what its leaves are emptier than when it was built.
    func index(_ oid: String, in session: PostgresSession, within limit: Duration) throws -> Bloat? {
        let row = try session.run(
            """
            SELECT s.index_size::text, s.avg_leaf_density::text, coalesce((
                SELECT o.option_value::float8 FROM pg_options_to_table(c.reloptions) o
                WHERE o.option_name = 'fillfactor'), 90)::text
            FROM pg_catalog.pg_class c JOIN pg_catalog.pg_am a ON a.oid = c.relam
            CROSS JOIN LATERAL \(name: schema).pgstatindex(c.oid::regclass) s
            WHERE c.oid = \(value: oid)::oid AND a.amname = 'btree'
            """, within: limit
        ).rows.first
        guard let row, row.count == 3, let size = row[0].flatMap({ Double($0) }),
            let density = row[1].flatMap({ Double($0) }), let filled = row[2].flatMap({ Double($0) }), density.isFinite
        else { return nil }
        let share = min(1, max(0, 1 - density / max(filled, 1)))
        return Bloat(bytes: Int(size * share), share: share)
    }
}
