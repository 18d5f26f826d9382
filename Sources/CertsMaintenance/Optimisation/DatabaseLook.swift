import CertsCore

/// The report as a job: what it finds becomes metrics.
struct DatabaseLook: SessionWork {
    let work: DatabaseReportWork

    func preview(in session: PostgresSession, sample: Int, control: JobControl) throws -> [WorkPreview] {
        [
            WorkPreview(
                subject: "database", count: 1, keys: ["look"],
                warnings: ["it changes nothing; `certs maintenance report database` shows what it finds"])
        ]
    }

    func run(in session: PostgresSession, control: JobControl, reopen: () throws -> PostgresSession) throws
        -> JobExecutor.Done
    {
        let report = try DatabaseReport.make(work, in: session, control: control)
        return JobExecutor.Done(rows: report.tables.count, measures: report.measures)
    }
}

extension DatabaseReport {
    /// What is unknown has no measure.
    var measures: [JobMeasure] {
        var found: [JobMeasure] = []
        for table in tables {
            let labels = ["table": table.table]
            found.append(JobMeasure(.tableBytes, labels, Double(table.bytes)))
            if let ratio = table.deadRatio { found.append(JobMeasure(.deadRatio, labels, ratio)) }
            if let bytes = table.bloatBytes { found.append(JobMeasure(.bloatBytes, labels, Double(bytes))) }
        }
        found += unusedIndexes.map { JobMeasure(.unusedIndexBytes, ["index": $0.index], Double($0.bytes)) }
        found.append(JobMeasure(.invalidIndexes, [:], Double(invalidIndexes.count)))
        found.append(JobMeasure(.unindexedReferences, [:], Double(missingIndexes.count)))
        let ages = holders.filter { $0.kind == .transaction }.compactMap(\.seconds)
        found.append(JobMeasure(.xminAgeSeconds, [:], ages.max() ?? 0))
        found.append(JobMeasure(.xminAgeTransactions, [:], Double(holders.map(\.transactions).max() ?? 0)))
        return found
    }
}
