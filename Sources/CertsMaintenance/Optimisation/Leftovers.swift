import CertsCore
import Foundation

/// Invalid copies that REINDEX CONCURRENTLY leaves when it is cut short: kept up by every write, used by nobody.
///
/// One of ours has the pattern of the name (`_ccnew`, `_ccold`, with a number where that was taken), is invalid, and
/// has the table and the definition of an index that we work on. Nobody builds it: to drop it takes the lock that a
/// rebuild holds from its beginning to its end (PostgreSQL manual, "REINDEX", "Rebuilding Indexes Concurrently").
enum Leftovers {
    /// How long one attempt may wait for that lock, and for transactions that still use the table.
    private static let lockTimeout: SQL = "SET lock_timeout = '5s'"

    /// Those that belong to `indexes`, which are known by their names: a rebuilt index is another one of the same name,
    /// and the one that it takes the place of becomes the leftover.
    static func find(of indexes: [RebuildableIndex], in session: PostgresSession) throws -> [TableName] {
        try session.run(
            """
            SELECT n.nspname, left_over.relname
            FROM pg_catalog.pg_index l JOIN pg_catalog.pg_class left_over ON left_over.oid = l.indexrelid
            JOIN pg_catalog.pg_namespace n ON n.oid = left_over.relnamespace
            WHERE NOT l.indisvalid AND left_over.relkind = 'i' AND left_over.relname ~ '_cc(new|old)[0-9]*$'
            AND EXISTS (
                SELECT FROM pg_catalog.pg_index o JOIN pg_catalog.pg_class own ON own.oid = o.indexrelid
                WHERE own.relname = ANY (\(array: indexes.map(\.name.name))::text[]) AND o.indrelid = l.indrelid
                AND o.indisvalid AND o.indrelid = ANY (\(array: indexes.map(\.tableOID))::oid[])
                AND own.relnamespace = left_over.relnamespace
                AND (o.indkey::text, o.indclass::text, o.indcollation::text, o.indoption::text, o.indnkeyatts)
                    = (l.indkey::text, l.indclass::text, l.indcollation::text, l.indoption::text, l.indnkeyatts)
                AND pg_get_expr(o.indexprs, o.indrelid) IS NOT DISTINCT FROM pg_get_expr(l.indexprs, l.indrelid)
                AND pg_get_expr(o.indpred, o.indrelid) IS NOT DISTINCT FROM pg_get_expr(l.indpred, l.indrelid)
                AND (own.relname = regexp_replace(left_over.relname, '_cc(new|old)[0-9]*$', '')
                    OR (octet_length(left_over.relname) >= 60
                        AND starts_with(own.relname, regexp_replace(left_over.relname, '_cc(new|old)[0-9]*$', '')))))
            ORDER BY 1, 2
            """
        ).rows.compactMap { row in
            guard row.count == 2, let schema = row[0], let name = row[1] else { return nil }
            return TableName(name, schema: schema)
        }
    }

    /// Drops them, again and again while that is held up and there is time.
    ///
    /// - Returns: how many went, and those that are still there.
    static func drop(of indexes: [RebuildableIndex], in session: PostgresSession, within limit: Duration) throws
        -> (dropped: Int, left: [TableName])
    {
        let end = ContinuousClock.now + limit
        try session.run("SET statement_timeout = 0")
        try session.run(lockTimeout)
        var dropped = 0
        var left = try find(of: indexes, in: session)
        while !left.isEmpty, ContinuousClock.now < end {
            for name in left {
                do {
                    try session.run(
                        "DROP INDEX CONCURRENTLY IF EXISTS \(table: name)", within: max(.seconds(1), end - .now))
                    dropped += 1
                } catch let failure as PostgresFailure
                    where failure.isLockTimeout || failure.isCancelled || failure.isTransient
                {
                    usleep(200_000)
                }
            }
            left = try find(of: indexes, in: session)
        }
        return (dropped, left)
    }
}
