package import CertsCore

/// Work on the database itself, in the session that holds the lock of its job. Blocking.
protocol SessionWork {
    /// What a run would do now; changes nothing.
    ///
    /// - Throws: `job.refused` where a run would be refused.
    func preview(in session: PostgresSession, sample: Int, control: JobControl) throws -> [WorkPreview]
    /// Does it.
    ///
    /// - Parameter reopen: a second session that no interrupt reaches, to clear up with.
    /// - Throws: what kept it from doing anything; what ended it later is in ``JobExecutor/Done/error``.
    func run(in session: PostgresSession, control: JobControl, reopen: () throws -> PostgresSession) throws
        -> JobExecutor.Done
}

extension JobExecutor {
    func databaseWork(_ work: DatabaseWork) -> any SessionWork {
        switch work {
        case .vacuum(let work): TableVacuum(work: work)
        case .vacuumFull(let work): TableRewrite(work: work, isLocal: maintenance.database?.host.hasPrefix("/") == true)
        case .reindex(let work): IndexRebuild(work: work)
        case .report(let work): DatabaseLook(work: work)
        }
    }

    /// The report, on whatever server is declared: a standby has statistics of its own.
    package func databaseReport(_ work: DatabaseReportWork, control: JobControl) async throws -> DatabaseReport {
        try await Self.pool.run {
            let session = try open("certs:report", control)
            do {
                return try DatabaseReport.make(work, in: session, control: control)
            } catch let failure as PostgresFailure {
                throw failure.error("the report failed", subject: session.place)
            }
        }
    }
}

/// What a run over several tables or indexes came to.
struct PieceTally {
    var done = 0
    var measures: [JobMeasure] = []
    /// What was left, and why.
    var reasons: [String] = []
    var error: CertsError?

    /// Runs `body` for one piece of the work. A lock of others or the deadline leaves it and is told; whatever else
    /// goes wrong ends the run.
    ///
    /// - Returns: whether to go on.
    mutating func attempt(_ piece: String, _ control: JobControl, _ body: (inout PieceTally) throws -> Void) -> Bool {
        do {
            try body(&self)
            return true
        } catch let failure as PostgresFailure where failure.isLockTimeout {
            reasons.append("\(piece) is locked by others")
            return !control.isOver
        } catch let failure as PostgresFailure where failure.isCancelled && control.isOver {
            reasons.append("\(control.ending) while it worked on \(piece)")
            return false
        } catch let failure as PostgresFailure {
            error = failure.error("\(piece) failed", subject: piece)
            return false
        } catch {
            self.error = CertsError.wrapping(error, subject: piece)
            return false
        }
    }

    /// At most three reasons in one sentence.
    var result: JobExecutor.Done {
        let more = reasons.count > 3 ? "; and \(reasons.count - 3) more" : ""
        let reason = reasons.isEmpty ? nil : reasons.prefix(3).joined(separator: "; ") + more
        return JobExecutor.Done(rows: done, measures: measures, reason: reason, error: error)
    }
}
