import CertsCore

/// REINDEX INDEX CONCURRENTLY, one index at a time, and no leftover of it.
struct IndexRebuild: SessionWork {
    let work: ReindexWork

    /// An index that is rebuilt, and why.
    struct Step {
        let index: RebuildableIndex
        let reason: String
    }

    /// Below this size the pages that every index has say nothing about its bloat.
    private static let least = 128 * 1024
    /// How long clearing up may take, whatever the deadline of the run was.
    private static let clearing: Duration = .seconds(60)

    func preview(in session: PostgresSession, sample: Int, control: JobControl) throws -> [WorkPreview] {
        let indexes = try RebuildableIndex.look(work, in: session)
        let leftovers = try Leftovers.find(of: indexes, in: session)
        let previews = try steps(indexes, session, control).map { step in
            WorkPreview(
                subject: step.index.name.description, count: 1, bytes: step.index.bytes,
                keys: ["rebuild: \(step.reason)"])
        }
        guard !leftovers.isEmpty else { return previews }
        return [WorkPreview(subject: "leftovers", count: leftovers.count, keys: leftovers.map(\.description))]
            + previews
    }

    func run(in session: PostgresSession, control: JobControl, reopen: () throws -> PostgresSession) throws
        -> JobExecutor.Done
    {
        let indexes = try RebuildableIndex.look(work, in: session)
        // No time limits of the server's: they end a rebuild in the middle. It waits for old transactions without
        // keeping anybody out, and the deadline of the run is kept here.
        try session.run("SET statement_timeout = 0")
        var tally = PieceTally()
        var dropped = 0
        if let cleared = try? Leftovers.drop(of: indexes, in: session, within: min(Self.clearing, control.left)) {
            dropped = cleared.dropped
        }
        let steps = try steps(indexes, session, control)
        try session.run("SET lock_timeout = 0")
        var isCut = false
        for (index, step) in steps.enumerated() {
            if control.isOver {
                tally.reasons.append("\(control.ending): \(steps.count - index) indexes are left")
                break
            }
            let done = tally.done
            let goesOn = tally.attempt(step.index.name.description, control) { tally in
                try rebuild(step.index, session, control, &tally)
            }
            if tally.done == done { isCut = true }
            guard goesOn else { break }
        }
        try clearUp(indexes, isCut ? reopen : { session }, &tally, &dropped)
        tally.measures.append(JobMeasure(.leftoversDropped, [:], Double(dropped)))
        return tally.result
    }

    /// The indexes that need it, the emptiest first; where that cannot be measured, those that are named.
    private func steps(_ indexes: [RebuildableIndex], _ session: PostgresSession, _ control: JobControl) throws
        -> [Step]
    {
        let source = try BloatSource.look(in: session)
        let isNamed = !work.scope.names.isEmpty || !work.indexes.isEmpty
        guard source != nil || isNamed else {
            throw CertsError(
                .jobRefused, "which indexes are bloated cannot be measured: pgstattuple is not there for the role",
                subject: session.place,
                hint: "name `indexes` or `tables`, or: CREATE EXTENSION pgstattuple; GRANT pg_stat_scan_tables TO …")
        }
        var found: [(step: Step, share: Double)] = []
        for index in indexes {
            guard let bloat = try source?.index(index.oid, in: session, within: control.left) else {
                if isNamed { found.append((Step(index: index, reason: "it is named; its bloat is unknown"), 0)) }
                continue
            }
            guard bloat.share >= work.bloatShare, index.bytes >= Self.least else { continue }
            let reason = "\(Int((bloat.share * 100).rounded())) % of it are empty"
            found.append((Step(index: index, reason: reason), bloat.share))
        }
        return found.sorted { ($0.share, $1.step.index.bytes) > ($1.share, $0.step.index.bytes) }.map(\.step)
    }

    private func rebuild(
        _ index: RebuildableIndex, _ session: PostgresSession, _ control: JobControl, _ tally: inout PieceTally
    ) throws {
        // The new copy, and as much again for sorting.
        if let free = try DiskSpace.free(for: index.oid, in: session, isLocal: session.socketPath != nil),
            free / 2 < index.bytes
        {
            tally.reasons.append("\(index.name) has \(index.bytes) bytes, and only \(free) are free where it is")
            return
        }
        try session.run("REINDEX INDEX CONCURRENTLY \(table: index.name)", within: control.left)
        let row = try session.run(
            """
            SELECT i.indisvalid::text, pg_relation_size(c.oid)::text FROM pg_catalog.pg_index i
            JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
            WHERE n.nspname = \(value: index.name.schema) AND c.relname = \(value: index.name.name)
            """
        ).rows.first
        guard let row, row[0] == "true", let bytes = row[1].flatMap({ Int($0) }) else {
            throw CertsError(
                .jobFailed, "the index \(index.name) is not valid after its rebuild", subject: index.name.description,
                hint: "look at it: `\\d \(index.table)` in psql", retry: .later)
        }
        tally.measures.append(
            JobMeasure(.reindexFreedBytes, ["index": index.name.description], Double(index.bytes - bytes)))
        tally.done += 1
    }

    /// What a rebuild that was cut short has left is kept up by every write: it goes now, or it is told by its name.
    private func clearUp(
        _ indexes: [RebuildableIndex], _ open: () throws -> PostgresSession, _ tally: inout PieceTally,
        _ dropped: inout Int
    ) throws {
        do {
            let cleared = try Leftovers.drop(of: indexes, in: try open(), within: Self.clearing)
            dropped += cleared.dropped
            if !cleared.left.isEmpty {
                let names = cleared.left.map(\.description).joined(separator: ", ")
                tally.reasons.append("the invalid \(names) could not be dropped yet; the next run tries it again")
            }
        } catch {
            // The error that matters is the first one.
            tally.error = tally.error ?? CertsError.wrapping(error, subject: "leftovers")
        }
    }
}
