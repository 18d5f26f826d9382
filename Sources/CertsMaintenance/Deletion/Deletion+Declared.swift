package import CertsCore

extension Deletion {
    /// The rows of a declared deletion.
    /// - Throws: `configuration.invalid` for what the catalog does not have.
    package static func make(_ work: RowDeletion, in session: PostgresSession) throws -> Deletion {
        let facts = try TableFacts.look(work.table, in: session)
        return Deletion(
            facts, age: work.column, limits: work.limits, conditions: try conditions(work, facts, session))
    }

    static func conditions(_ work: RowDeletion, _ facts: TableFacts, _ session: PostgresSession) throws -> [Condition] {
        let cutOff = try cutOff(work.age, in: session)
        var conditions = [try before(work.column, cutOff, facts)]
        if let length = work.lengthColumn {
            try facts.column(length, of: ["int2", "int4", "int8"])
            let moment = moment(cutOff, as: try facts.column(work.column).type)
            conditions.append { alias in
                "\(alias).\(name: work.column) + make_interval(secs => \(alias).\(name: length)) < \(moment)"
            }
        }
        if let unless = work.unless {
            let other = try TableFacts.look(unless.table, in: session)
            try sameType(other, unless.column, facts, unless.key)
            conditions.append { alias in
                """
                NOT EXISTS (SELECT FROM \(table: unless.table) AS kept \
                WHERE kept.\(name: unless.column) = \(alias).\(name: unless.key))
                """
            }
        }
        return conditions
    }

    /// The rows without a parent.
    ///
    /// By NOT EXISTS with qualified names: `NOT IN` deletes nothing where the parents have a NULL, and everything where the
    /// column of the sub-select is silently the outer one.
    /// - Throws: `job.refused` where there are no parents at all.
    package static func make(_ work: OrphanDeletion, in session: PostgresSession) throws -> Deletion {
        let facts = try TableFacts.look(work.table, in: session)
        let parent = try TableFacts.look(work.parent, in: session)
        try sameType(facts, work.column, parent, work.parentColumn)
        guard try session.run("SELECT EXISTS (SELECT FROM \(table: work.parent))").flag else {
            throw CertsError(
                .jobRefused, "\(work.parent) is empty: every row of \(work.table) would be an orphan",
                subject: work.table.description,
                hint: "look whether this is the right database, and \(work.parent) its table")
        }
        let cutOff = try cutOff(work.age, in: session)
        return Deletion(
            facts, age: work.ageColumn, limits: work.limits,
            conditions: [
                try before(work.ageColumn, cutOff, facts),
                // A row without a reference has no parent to lose.
                { "\($0).\(name: work.column) IS NOT NULL" },
                { alias in
                    """
                    NOT EXISTS (SELECT FROM \(table: work.parent) AS parent \
                    WHERE parent.\(name: work.parentColumn) = \(alias).\(name: work.column))
                    """
                },
            ])
    }

    /// The rows of one category that are older than its retention and not held.
    static func make(_ work: RowArchival, category: String, in session: PostgresSession) throws -> Deletion {
        let facts = try TableFacts.look(work.rows.table, in: session)
        try facts.column(work.categoryColumn)
        let cutOff = try cutOff(work.retention[category] ?? .infinity, in: session)
        var conditions: [Condition] = [
            try before(work.rows.column, cutOff, facts),
            { "\($0).\(name: work.categoryColumn)::text = \(value: category)" },
        ]
        if let hold = work.holdColumn {
            try facts.column(hold, of: ["bool"])
            conditions.append { "\($0).\(name: hold) IS FALSE" }
        }
        return Deletion(facts, age: work.rows.column, limits: work.rows.limits, conditions: conditions)
    }

    private static func sameType(
        _ facts: TableFacts, _ column: String, _ other: TableFacts, _ otherColumn: String
    ) throws {
        let (one, two) = (try facts.column(column), try other.column(otherColumn))
        guard one == two else {
            throw CertsError(
                .configurationInvalid,
                "\(facts.table).\(column) is of type \(one.type) and \(other.table).\(otherColumn) of type \(two.type)",
                subject: facts.table.description, hint: "name the columns that belong together")
        }
    }
}
