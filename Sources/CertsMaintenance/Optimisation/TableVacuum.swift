import CertsCore

/// VACUUM and ANALYZE, table by table, where there is a need.
struct TableVacuum: SessionWork {
    let work: VacuumWork

    /// A table and what is done to it.
    struct Step {
        let table: OwnedTable
        /// Why it is vacuumed, and why analyzed; `nil`: it is not.
        let vacuum: String?
        let analyze: String?
    }

    func preview(in session: PostgresSession, sample: Int, control: JobControl) throws -> [WorkPreview] {
        let holders = try VacuumHolder.look(in: session)
        let warning = holders.first.map { ["\($0.text) may still see rows that died after it began"] } ?? []
        return try steps(in: session).map { step in
            WorkPreview(
                subject: step.table.table.description, count: step.vacuum == nil ? 0 : step.table.deadRows,
                bytes: step.table.bytes,
                keys: [step.vacuum.map { "vacuum: \($0)" }, step.analyze.map { "analyze: \($0)" }].compactMap { $0 },
                warnings: step.vacuum == nil ? [] : warning)
        }
    }

    func run(in session: PostgresSession, control: JobControl, reopen: () throws -> PostgresSession) throws
        -> JobExecutor.Done
    {
        // Each statement has the deadline of the run; others give way to it or it to them within the time for locks.
        try session.run("SET statement_timeout = 0")
        try session.run("SELECT set_config('vacuum_cost_delay', \(value: work.costDelay)::text || 'ms', false)")
        let mayTruncate = try !hasStandby(session)
        var tally = PieceTally()
        let steps = try steps(in: session)
        for (index, step) in steps.enumerated() {
            if control.isOver {
                tally.reasons.append("\(control.ending): \(steps.count - index) tables are left")
                break
            }
            let goesOn = tally.attempt(step.table.table.description, control) { tally in
                try carryOut(step, mayTruncate: mayTruncate, session, control, &tally)
            }
            guard goesOn else { break }
        }
        return tally.result
    }

    /// The tables with a need, the neediest first.
    func steps(in session: PostgresSession) throws -> [Step] {
        let limit = try session.run("SELECT current_setting('vacuum_freeze_table_age')").integer ?? 150_000_000
        return try OwnedTables.look(work.scope, in: session).compactMap { table in
            let step = Step(table: table, vacuum: vacuumReason(table, limit), analyze: analyzeReason(table))
            return step.vacuum == nil && step.analyze == nil ? nil : step
        }
    }

    private func vacuumReason(_ table: OwnedTable, _ freezeAge: Int) -> String? {
        let rows = Double(table.liveRows)
        if table.deadRows > 0, Double(table.deadRows) >= Double(work.deadRows) + work.deadShare * rows {
            return "\(table.deadRows) dead rows beside \(table.liveRows)"
        }
        // Rows that were only ever added: as autovacuum counts them, for the visibility map and for freezing.
        if Double(table.insertedRows) > 1000 + 0.2 * rows { return "\(table.insertedRows) new rows" }
        if table.frozenAge > freezeAge { return "its oldest row is \(table.frozenAge) transactions old" }
        return nil
    }

    private func analyzeReason(_ table: OwnedTable) -> String? {
        guard table.isAnalyzed else { return "it never was" }
        guard Double(table.changedRows) > 50 + work.changedShare * Double(table.liveRows) else { return nil }
        return "\(table.changedRows) rows have changed"
    }

    /// The end of a table is cut off under a lock that a standby has to replay, and cannot refuse: its readers wait.
    private func hasStandby(_ session: PostgresSession) throws -> Bool {
        try session.run(
            """
            SELECT EXISTS (SELECT FROM pg_catalog.pg_stat_replication)
                OR EXISTS (SELECT FROM pg_catalog.pg_replication_slots WHERE slot_type = 'physical')
            """
        ).flag
    }

    private func carryOut(
        _ step: Step, mayTruncate: Bool, _ session: PostgresSession, _ control: JobControl, _ tally: inout PieceTally
    ) throws {
        let table = step.table.table
        _ = session.takeNotices()
        if step.vacuum != nil {
            let truncate: SQL = mayTruncate ? "true" : "false"
            let analyze: SQL = step.analyze == nil ? "false" : "true"
            try session.run(
                "VACUUM (VERBOSE, ANALYZE \(analyze), TRUNCATE \(truncate)) \(table: table)", within: control.left)
        } else {
            try session.run("ANALYZE \(table: table)", within: control.left)
        }
        let notice = VacuumNotice(session.takeNotices(), table: table.name)
        let scope = TableScope(schema: table.schema, names: [table.name])
        guard let after = try OwnedTables.look(scope, in: session).first else { return }
        // The server skips what it may not or cannot do with a warning alone.
        let isDone =
            (step.vacuum == nil || after.vacuums > step.table.vacuums)
            && (step.analyze == nil || after.analyses > step.table.analyses)
        guard isDone else {
            tally.reasons.append("the server has skipped \(table)")
            return
        }
        tally.done += 1
        guard step.vacuum != nil else { return }
        note(step.table, after, notice, &tally)
        let held = notice.unremovable ?? after.deadRows
        guard held > 0, held >= work.deadRows else { return }
        let holder = try VacuumHolder.look(in: session).first?.text ?? "a transaction that has ended by now"
        tally.reasons.append("\(held) dead rows of \(table) cannot go yet: held back by \(holder)")
    }

    private func note(
        _ before: OwnedTable, _ after: OwnedTable, _ notice: VacuumNotice, _ tally: inout PieceTally
    ) {
        let name = before.table.description
        tally.measures += [
            JobMeasure(.vacuumedDeadRows, ["table": name, "when": "before"], Double(before.deadRows)),
            JobMeasure(.vacuumedDeadRows, ["table": name, "when": "after"], Double(after.deadRows)),
        ]
        if let held = notice.unremovable {
            tally.measures.append(JobMeasure(.vacuumHeldRows, ["table": name], Double(held)))
        }
        if let scans = notice.indexScans {
            tally.measures.append(JobMeasure(.vacuumIndexScans, ["table": name], Double(scans)))
        }
    }
}
