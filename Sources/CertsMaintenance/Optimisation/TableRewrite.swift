import CertsCore

/// VACUUM FULL of the declared tables, the smallest first: nobody can read or write a table while it is written anew.
struct TableRewrite: SessionWork {
    let work: VacuumFullWork
    /// Whether the server is reached through a socket of this host.
    let isLocal: Bool

    func preview(in session: PostgresSession, sample: Int, control: JobControl) throws -> [WorkPreview] {
        let bloat = try BloatSource.look(in: session)
        return try tables(in: session).map { table in
            var warnings: [String] = []
            do { try refuseFullDisk(table, session) } catch let error as CertsError { warnings.append(error.message) }
            let empty = try bloat?.table(table.oid, in: session, within: control.left)
            let known = empty.map { "\($0.bytes) bytes are dead or free" } ?? "how much it would give back is unknown"
            return WorkPreview(
                subject: table.table.description, count: 1, bytes: table.bytes, keys: ["rewrite: \(known)"],
                warnings: warnings)
        }
    }

    func run(in session: PostgresSession, control: JobControl, reopen: () throws -> PostgresSession) throws
        -> JobExecutor.Done
    {
        let tables = try tables(in: session)
        for table in tables { try refuseFullDisk(table, session) }
        try session.run("SET statement_timeout = 0")
        var tally = PieceTally()
        for (index, table) in tables.enumerated() {
            if control.isOver {
                tally.reasons.append("\(control.ending): \(tables.count - index) tables are left")
                break
            }
            let goesOn = tally.attempt(table.table.description, control) { tally in
                // The one before has taken room of its own.
                try refuseFullDisk(table, session)
                try session.run("VACUUM (FULL, ANALYZE) \(table: table.table)", within: control.left)
                let scope = TableScope(schema: table.table.schema, names: [table.table.name])
                let after = try OwnedTables.look(scope, in: session).first?.bytes ?? table.bytes
                tally.measures.append(
                    JobMeasure(
                        .rewriteFreedBytes, ["table": table.table.description], Double(max(0, table.bytes - after))))
                tally.done += 1
            }
            guard goesOn else { break }
        }
        return tally.result
    }

    private func tables(in session: PostgresSession) throws -> [OwnedTable] {
        try OwnedTables.look(work.scope, in: session).sorted { $0.bytes < $1.bytes }
    }

    /// The new copy stands beside the old one until the end, and the log of both takes room, too.
    private func refuseFullDisk(_ table: OwnedTable, _ session: PostgresSession) throws {
        guard let free = try DiskSpace.free(for: table.oid, in: session, isLocal: isLocal) else {
            if work.freeSpaceChecked { return }
            throw CertsError(
                .jobRefused, "the free space of the disk that holds \(table.table) cannot be seen from here",
                subject: table.table.description,
                hint: "look that twice its \(table.bytes) bytes are free, and write 'freeSpaceChecked: true'")
        }
        guard free / 2 >= table.bytes else {
            throw CertsError(
                .jobRefused, "\(table.table) has \(table.bytes) bytes, and only \(free) are free where it is",
                subject: table.table.description, hint: "twice its size is needed; free some, or use pg_repack",
                retry: .never)
        }
    }
}
