import CertsCore

/// Which rows of one table go: made from a declaration and the catalog, used in the same form by a dry run and by a run.
package struct Deletion: Sendable {
    /// What decides on an alias of the table: for the rows themselves, and for rows that refer to them.
    typealias Condition = @Sendable (SQL) -> SQL

    let facts: TableFacts
    /// The column that they are taken in the order of.
    let age: String
    let limits: DeletionLimits
    private let conditions: [Condition]
    /// Rows of `t` that would have to go and cannot, for what stands in them.
    var unfit: SQL?

    init(_ facts: TableFacts, age: String, limits: DeletionLimits, conditions: [Condition]) {
        self.facts = facts
        self.age = age
        self.limits = limits
        self.conditions = conditions
    }

    /// All conditions on the rows of `alias`.
    func condition(_ alias: SQL) -> SQL { SQL.all(conditions.map { $0(alias) }) }

    /// Whether the key of a row is the same tomorrow.
    var hasStableKey: Bool { !facts.primaryKey.isEmpty }

    /// What names a row of `t` in the quarantine and in a plan: its primary key, or its place where it has none.
    var key: SQL {
        switch facts.primaryKey.count {
        case 0: return "t.ctid::text"
        case 1: return "t.\(name: facts.primaryKey[0])::text"
        default:
            let parts = SQL.list(facts.primaryKey.map { "t.\(name: $0)::text" })
            return "jsonb_build_array(\(parts))::text"
        }
    }

    /// Whether a row of `t` has one of these keys; by the index of the primary key where that has one column.
    func hasKey(_ keys: [String]) -> SQL {
        guard facts.primaryKey.count == 1, let type = facts.columns[facts.primaryKey[0]] else {
            return "\(key) = ANY (\(array: keys)::text[])"
        }
        return
            "t.\(name: facts.primaryKey[0]) = ANY (\(array: keys)::text[]::\(name: type.typeSchema).\(name: type.type)[])"
    }

    /// The rows, oldest first, without those of `excluded`.
    func candidates(_ columns: SQL, limit: Int, excluded: [String] = [], only: [String]? = nil) -> SQL {
        var filter = condition("t")
        if !excluded.isEmpty { filter = "\(filter) AND NOT (\(hasKey(excluded)))" }
        if let only { filter = "\(filter) AND \(hasKey(only))" }
        return """
            SELECT \(columns) FROM ONLY \(table: facts.table) AS t WHERE \(filter) ORDER BY t.\(name: age) LIMIT \(value: limit)::int8
            """
    }

    /// Deletes up to `limit` of the rows that nobody has locked, in one statement.
    func deleteBatch(limit: Int, excluded: [String]) -> SQL {
        """
        DELETE FROM ONLY \(table: facts.table) WHERE ctid = ANY (ARRAY(\
        \(candidates("t.ctid", limit: limit, excluded: excluded)) FOR UPDATE OF t SKIP LOCKED))
        """
    }

    /// Deletes the rows at these places, whose locks the transaction holds.
    func delete(places: [String]) -> SQL {
        "DELETE FROM ONLY \(table: facts.table) WHERE ctid = ANY (\(array: places)::tid[])"
    }

    /// How many rows there are to go, counted up to `limit`.
    func count(limit: Int, excluded: [String] = []) -> SQL {
        "SELECT count(*) FROM (\(candidates("1", limit: limit, excluded: excluded))) AS found"
    }
}

extension Deletion {
    /// A part of a table below which a cap on the share says nothing.
    private static let freeRows = 10

    /// Refuses to delete a part of the table that is larger than any clean-up should be.
    /// - Throws: `job.refused`; nothing was changed.
    func refuseTooLargeShare(in session: PostgresSession, within limit: Duration) throws {
        guard let share = limits.share else { return }
        let total = try size(in: session)
        let allowed = max(Self.freeRows, Int(Double(total) * share))
        let found = try session.run(count(limit: allowed + 1), within: limit).integer ?? 0
        guard found > allowed else { return }
        throw CertsError(
            .jobRefused,
            "more than \(allowed) of the \(total) rows of \(facts.table) would go: the cap is \(Int(share * 100)) %",
            subject: facts.table.description,
            hint: "look at them with `certs maintenance plan`; if they are right, raise `maximumShare`")
    }

    private func size(in session: PostgresSession) throws -> Int {
        // An estimate is good enough for a large table, and a count is quick for a small one.
        if facts.estimatedRows > 1_000_000 { return Int(facts.estimatedRows) }
        return try session.run("SELECT count(*) FROM ONLY \(table: facts.table)").integer ?? 0
    }

    /// The present as the server has it, minus `seconds`: taken once for a run, so that it has one and the same cut-off.
    static func cutOff(_ seconds: Double, in session: PostgresSession) throws -> String {
        let answer = try session.run(
            "SELECT (clock_timestamp() - make_interval(secs => \(value: seconds)::float8))::text")
        guard let text = answer.value else { throw PostgresFailure(state: nil, message: "the server has no time") }
        return text
    }

    /// `cutOff` in the type of the column, so that its index can be used.
    static func moment(_ cutOff: String, as type: String) -> SQL {
        switch type {
        case "timestamp": "\(value: cutOff)::timestamptz::timestamp"
        case "date": "\(value: cutOff)::timestamptz::date"
        default: "\(value: cutOff)::timestamptz"
        }
    }

    /// Rows whose column lies before the cut-off; NULL never does.
    static func before(_ column: String, _ cutOff: String, _ facts: TableFacts) throws -> Condition {
        let moment = moment(cutOff, as: try facts.column(column, of: TableFacts.times).type)
        return { "\($0).\(name: column) < \(moment)" }
    }
}
