package import CertsCore

/// What a run would delete now: found with the same condition, in a transaction that cannot write.
package struct DeletionPreview: Sendable {
    package var table: TableName
    /// Rows that go.
    package var rows: Int
    /// Their size, TOAST not counted.
    package var bytes: Int
    /// The first of their keys, oldest row first.
    package var keys: [String]
    /// Rows that would have to go and that others hold by a foreign key.
    package var held: Int
    package var warnings: [String]
    /// Why a run would refuse all of it.
    package var refusal: String?

    package var preview: WorkPreview {
        let isRefused = refusal != nil
        return WorkPreview(
            subject: table.description, count: isRefused ? 0 : rows, bytes: isRefused ? 0 : bytes, held: held,
            keys: isRefused ? [] : keys, warnings: warnings, refusal: refusal)
    }

    /// Blocking.
    /// - Parameter sample: how many keys to name.
    package static func make(
        _ deletion: Deletion, in session: PostgresSession, sample: Int = 20, within limit: Duration = .seconds(300)
    ) throws -> DeletionPreview {
        try session.transaction("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY") {
            // A look at a large table may take longer than a batch does.
            try session.run("SET LOCAL statement_timeout = 0")
            let held = deletion.held
            let count = deletion.limits.rows
            let totals = try session.run(
                """
                \(held) SELECT count(*), coalesce(sum(bytes), 0) FROM (SELECT pg_column_size(t.*) AS bytes \
                FROM \(table: deletion.facts.table) AS t WHERE \(deletion.condition("t")) \
                AND t.ctid NOT IN (SELECT place FROM held) LIMIT \(value: count)::int8) AS found
                """, within: limit
            ).rows.first?.map { Int($0 ?? "") ?? 0 }
            let keys = try session.run(
                """
                \(held) SELECT \(deletion.key) FROM \(table: deletion.facts.table) AS t \
                WHERE \(deletion.condition("t")) AND t.ctid NOT IN (SELECT place FROM held) \
                ORDER BY t.\(name: deletion.age), 1 LIMIT \(value: min(sample, count))::int8
                """, within: limit
            ).values
            let blocked = try session.run("\(held) SELECT count(*) FROM held", within: limit).integer ?? 0
            var warnings = deletion.facts.warnings + (try deletion.companions(in: session, within: limit))
            if !deletion.facts.indexed.contains(deletion.age) {
                warnings.append(
                    "no index of \(deletion.facts.table) begins with \(deletion.age): each batch reads the whole table")
            }
            return DeletionPreview(
                table: deletion.facts.table, rows: totals?.first ?? 0, bytes: totals?.last ?? 0, keys: keys,
                held: blocked, warnings: warnings,
                refusal: try refusal { try deletion.refuseTooLargeShare(in: session, within: limit) })
        }
    }
}

extension DeletionPreview {
    /// What a guard that a run has, too, says.
    static func refusal(_ check: () throws -> Void) throws -> String? {
        do {
            try check()
            return nil
        } catch let error as CertsError where error.code == .jobRefused {
            return error.message
        }
    }
}

extension Deletion {
    /// The rows of other tables that go with the rows, by ON DELETE CASCADE; of the tables that refer to these, only the
    /// names are told.
    func companions(in session: PostgresSession, within limit: Duration) throws -> [String] {
        try facts.references.filter { $0.cascades && $0.table != facts.table }.compactMap { reference in
            let count =
                try session.run(
                    """
                    \(held) SELECT count(*) FROM \(table: reference.table) AS other WHERE EXISTS (SELECT FROM \
                    ONLY \(table: facts.table) AS t WHERE \(condition("t")) AND \(join(reference, "other")) \
                    AND t.ctid NOT IN (SELECT place FROM held))
                    """, within: limit
                ).integer ?? 0
            return count == 0 ? nil : "\(count) rows of \(reference.table) go with them (ON DELETE CASCADE)"
        }
    }

    /// `WITH RECURSIVE held(place)`: the rows to go to which a row refers that stays, and those to which one of these
    /// refers; and those that are not fit to go.
    var held: SQL {
        let blocking = facts.references.filter(\.blocks)
        let seeds = blocking.map { reference in
            var staying: SQL = "true"
            if reference.table == facts.table { staying = "(\(condition("other"))) IS NOT TRUE" }
            return """
                EXISTS (SELECT FROM \(table: reference.table) AS other WHERE \(join(reference, "other")) AND \(staying))
                """ as SQL
        }
        let seed: SQL = """
            SELECT t.ctid FROM \(table: facts.table) AS t WHERE \(condition("t")) \
            AND (\(Self.any(seeds + [unfit].compactMap { $0 })))
            """
        let own = blocking.filter { $0.table == facts.table }
        guard !own.isEmpty else { return "WITH RECURSIVE held(place) AS (\(seed))" }
        let steps = Self.any(own.map { join($0, "other") })
        return """
            WITH RECURSIVE held(place) AS (\(seed) UNION SELECT t.ctid FROM held \
            JOIN \(table: facts.table) AS other ON other.ctid = held.place \
            JOIN \(table: facts.table) AS t ON \(steps) WHERE \(condition("t")))
            """
    }

    /// Whether the row of `other` refers to that of `t`.
    private func join(_ reference: TableFacts.Reference, _ other: SQL) -> SQL {
        SQL.all(
            zip(reference.columns, reference.referenced).map { own, theirs in
                "\(other).\(name: own) = t.\(name: theirs)"
            })
    }

    private static func any(_ conditions: [SQL]) -> SQL {
        guard let first = conditions.first else { return "false" }
        return conditions.dropFirst().reduce(first) { $0 + " OR " + $1 }
    }
}
