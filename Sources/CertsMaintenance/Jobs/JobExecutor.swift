package import CertsCore
import Foundation

/// Carries one job out. Work on the database gets a connection of its own that also holds the lock: when the session dies,
/// so do the lock and the batch that it was in.
package struct JobExecutor: Sendable {
    /// What a run did.
    package struct Done: Sendable {
        /// Rows, files, images: what the job is about.
        package var rows = 0
        package var quarantined = 0
        package var backlog: Int?
        package var quarantine: [QuarantinedRow]?
        package var counts: [JobCounter] = []
        /// Takes the place of what the run before measured; `nil`: that stands.
        package var measures: [JobMeasure]?
        /// Why not everything was done; `nil`: it was.
        package var reason: String?
        /// What ended it early. What is counted above was done before.
        package var error: CertsError?
        /// Holds the lock until it is released.
        var holder: Holder?

        package init(
            rows: Int = 0, quarantined: Int = 0, backlog: Int? = nil, quarantine: [QuarantinedRow]? = nil,
            counts: [JobCounter] = [], measures: [JobMeasure]? = nil, reason: String? = nil, error: CertsError? = nil
        ) {
            self.rows = rows
            self.quarantined = quarantined
            self.backlog = backlog
            self.quarantine = quarantine
            self.counts = counts
            self.measures = measures
            self.reason = reason
            self.error = error
        }
    }

    /// A session that is of no use any more but for the lock that it holds.
    final class Holder: @unchecked Sendable {
        // @unchecked: whoever has the lock has the session, and does nothing with it but end it.
        private let lock = NSLock()
        private var session: PostgresSession?

        init(_ session: PostgresSession) { self.session = session }

        func release() { lock.withLock { session = nil } }
    }

    /// `CERT` in ASCII: the first half of the keys of our advisory locks.
    static let lockClass: Int32 = 0x4345_5254
    /// Jobs block threads for minutes: not those of anybody else.
    static let pool = BlockingPool(name: "certs.maintenance", width: 16)

    package let maintenance: MaintenanceDeclaration
    /// Rotates the certificates that are due; the work of another module.
    private let renewal: (any HostWork)?
    /// Lets disruptive work run, or not.
    private let disruption: DisruptionGuard
    private let host: HostPorts?
    /// Reads a file that holds a secret.
    private let secret: @Sendable (String) throws -> Secret
    private let faults: FaultPoints

    package init(
        _ maintenance: MaintenanceDeclaration, renewal: (any HostWork)? = nil, host: HostPorts? = nil,
        disruption: DisruptionGuard = .closed, faults: FaultPoints = .none,
        secret: @escaping @Sendable (String) throws -> Secret
    ) {
        self.maintenance = maintenance
        self.renewal = renewal
        self.host = host
        self.disruption = disruption
        self.faults = faults
        self.secret = secret
    }

    /// Runs the job to its end.
    ///
    /// - Throws: `lock.held` when another process runs it; what keeps it from beginning.
    ///
    /// - Parameter patience: how long to wait for the lock, in seconds.
    package func run(
        _ job: JobDeclaration, id: String, quarantine: [QuarantinedRow], patience: Double = 0, control: JobControl
    ) async throws -> Done {
        if job.work.isDisruptive, let refusal = await disruption.refusal(job) { throw refusal }
        let application = "certs:\(job.name):\(id.prefix(8))"
        if let work = try hostWork(job.work) {
            let holder = try await holdLock(of: job, at: work.lockPlace, application, patience, control)
            var done = try await work.run(job.name, control: control)
            done.holder = holder
            return done
        }
        return try await Self.pool.run { [self] in
            let session = try open(application, control)
            return try explaining(job) {
                try refuseOtherServers(session)
                try takeLock(of: job.name.rawValue, in: session, patience: patience, control)
                var done = try execute(job, session, quarantine, control)
                if session.isUsable { done.holder = Holder(session) }
                return done
            }
        }
    }

    /// What the job would do now; changes nothing.
    package func plan(_ job: JobDeclaration, sample: Int, control: JobControl) async throws -> [WorkPreview] {
        if let work = try hostWork(job.work) {
            return try await work.preview(job.name, sample: sample, control: control)
        }
        return try await Self.pool.run { [self] in
            let session = try open("certs:\(job.name):plan", control)
            return try explaining(job) {
                try refuseOtherServers(session)
                if case .deleteMedia(let work) = job.work {
                    return [
                        try MediaWork(work, in: session, quarantine: [], control: control).preview(sample: sample)
                            .preview
                    ]
                }
                if case .database(let work) = job.work {
                    return try databaseWork(work).preview(in: session, sample: sample, control: control)
                }
                return try deletions(of: job.work, session).map {
                    try DeletionPreview.make($0, in: session, sample: sample, within: control.left).preview
                }
            }
        }
    }

    /// What would keep a run from beginning: the database, its tables and columns, Redis, a directory, the engine. Changes
    /// nothing.
    package func obstacle(to job: JobDeclaration, control: JobControl) async -> CertsError? {
        do {
            if job.work.usesRedis { try await Self.pool.run { _ = try connectToRedis() } }
            _ = try await plan(job, sample: 0, control: control)
            return nil
        } catch let error as CertsError where error.code == .usage {
            // It only tells people: there is no plan, but what it needs is there.
            return nil
        } catch {
            return CertsError.wrapping(error, subject: job.name.rawValue)
        }
    }

    /// `nil`: it is done in a session of the database.
    private func hostWork(_ work: JobWork) throws -> (any HostWork)? {
        switch work {
        case .checkRedisKeys(let check): RedisKeyWork(check: check, connect: connectToRedis)
        case .command(let work): ProgramWork(work: work)
        case .renewCertificates: renewal
        case .backUp(let work): BackupWork(backup: work, access: try access)
        case .testRestore(let work):
            RestoreTestWork(
                backup: try maintenance.backup(of: work.job).backup, name: work.backup, access: try access)
        case .restore(let work):
            RestoreWork(
                work: work, backup: try maintenance.backup(of: work.job).backup, access: try access, faults: faults)
        case .backUpServer(let work): PgBackRestWork(work: work)
        case .host(let job): host?.work(job)
        default: nil
        }
    }

    /// A session that holds the lock while work runs that is not done in it; `nil`: the work needs none.
    private func holdLock(
        of job: JobDeclaration, at place: LockPlace, _ application: String, _ patience: Double, _ control: JobControl
    ) async throws -> Holder? {
        let database: String?
        switch place {
        case .nowhere: return nil
        case .declaredDatabase: database = nil
        case .administration: database = DatabaseAccess.administration
        }
        return try await Self.pool.run { [self] in
            let access = try access
            let session = try access.open(application, to: database, control)
            return try explaining(job) {
                try refuseOtherServers(session)
                // Elsewhere it has to name the database, too: each of a server may have such a job.
                let name = database == nil ? "\(job.name)" : "\(job.name)@\(access.declaration.name)"
                try takeLock(of: name, in: session, patience: patience, control)
                return Holder(session)
            }
        }
    }

    private var access: DatabaseAccess {
        get throws {
            guard let database = maintenance.database else {
                throw CertsError(
                    .configurationInvalid, "no database is declared", hint: "write `database:` under `maintenance:`")
            }
            return DatabaseAccess(declaration: database, secret: secret)
        }
    }

    func open(_ application: String, _ control: JobControl) throws -> PostgresSession {
        try access.open(application, control)
    }

    private func explaining<Value>(_ job: JobDeclaration, _ body: () throws -> Value) throws -> Value {
        do {
            return try body()
        } catch let failure as PostgresFailure {
            throw failure.error("the job \(job.name) failed", subject: job.work.subject)
        }
    }

    /// A standby takes no changes, and another server than the declared one must not get them.
    private func refuseOtherServers(_ session: PostgresSession) throws {
        if try session.run("SELECT pg_is_in_recovery()").flag {
            throw CertsError(
                .jobRefused, "\(session.place) is a standby", subject: session.place,
                hint: "name the primary in `maintenance.database`", retry: .later)
        }
        guard let expected = maintenance.database?.systemIdentifier else { return }
        let found = try session.run("SELECT system_identifier::text FROM pg_control_system()").value ?? ""
        guard found == expected else {
            throw CertsError(
                .jobRefused, "\(session.place) is the system \(found), not \(expected)", subject: session.place,
                hint: "look which server this is; correct `systemIdentifier` if it is the right one")
        }
    }

    private func takeLock(of job: String, in session: PostgresSession, patience: Double, _ control: JobControl) throws {
        let key = Self.lockKey(of: job)
        let end = ContinuousClock.now + .seconds(patience)
        while true {
            let isTaken = try session.run(
                "SELECT pg_try_advisory_lock(\(value: Int(Self.lockClass))::int4, \(value: Int(key))::int4)"
            ).flag
            if isTaken { return }
            guard ContinuousClock.now < end, !control.isOver else { break }
            control.pause(0.5)
        }
        throw CertsError(
            .lockHeld, "another process runs the job \(job)", subject: job,
            hint: "`SELECT * FROM pg_locks WHERE locktype = 'advisory'` names it", retry: .later)
    }

    /// The second half.
    static func lockKey(of job: String) -> Int32 { Int32(bitPattern: FNV1a.hash32(job.utf8)) }

    /// What a job deletes, one for each condition.
    private func deletions(of work: JobWork, _ session: PostgresSession) throws -> [Deletion] {
        switch work {
        case .deleteRows(let work): [try Deletion.make(work, in: session)]
        case .deleteOrphans(let work): [try Deletion.make(work, in: session)]
        case .archiveRows(let work):
            try work.retention.keys.sorted().map { try Deletion.make(work, category: $0, in: session) }
        default:
            throw CertsError(
                .usage, "this job deletes nothing: it tells users", hint: "`certs maintenance run` tells them")
        }
    }

    private func execute(
        _ job: JobDeclaration, _ session: PostgresSession, _ quarantine: [QuarantinedRow], _ control: JobControl
    ) throws -> Done {
        switch job.work {
        case .deleteRows(let work):
            var deletion = BatchDeletion(
                try Deletion.make(work, in: session), in: session, quarantine: quarantine, control: control)
            let error = failure(of: job) { try deletion.run() }
            return done(job, deletion.outcome, error, counter: work.counter)
        case .deleteOrphans(let work):
            var deletion = BatchDeletion(
                try Deletion.make(work, in: session), in: session, quarantine: quarantine, control: control)
            let error = failure(of: job) { try deletion.run() }
            return done(job, deletion.outcome, error)
        case .deleteMedia(let work):
            var media = try MediaWork(work, in: session, quarantine: quarantine, control: control)
            let error = failure(of: job) { try media.run() }
            return done(job, media.outcome, error)
        case .archiveRows(let work):
            var archive = ArchiveWork(work, of: job.name, in: session, control: control)
            let error = failure(of: job) { try archive.run() }
            return done(job, archive.outcome, error)
        case .checkKeyRotation(let check):
            var notices = try notices(job, session, control)
            let error = failure(of: job) { try notices.run(check) }
            return done(job, notices, error)
        case .checkPrekeys(let check):
            var notices = try notices(job, session, control)
            let error = failure(of: job) { try notices.run(check) }
            return done(job, notices, error, counter: .prekeyNotices)
        case .database(let work):
            return try databaseWork(work).run(in: session, control: control) {
                // What a run that was stopped leaves is cleared by a session that nothing has stopped.
                try open("certs:\(job.name):clear", JobControl(now: control.now))
            }
        default:
            throw CertsError(.internal, "'\(job.work.word)' is no work of a session", subject: job.name.rawValue)
        }
    }

    /// What was done before a failure is not forgotten: it is returned beside it.
    private func failure(of job: JobDeclaration, _ body: () throws -> Void) -> CertsError? {
        do {
            try explaining(job, body)
            return nil
        } catch {
            return CertsError.wrapping(error, subject: job.name.rawValue)
        }
    }

    private func notices(_ job: JobDeclaration, _ session: PostgresSession, _ control: JobControl) throws -> NoticeWork
    {
        NoticeWork(job: job.name, in: session, redis: try connectToRedis(), control: control)
    }

    private func connectToRedis() throws -> RedisConnection {
        guard let redis = maintenance.redis else {
            throw CertsError(
                .configurationInvalid, "no Redis is declared", hint: "write `redis:` under `maintenance:`")
        }
        return try RedisConnection(redis, password: try redis.passwordFile.map { try secret($0) })
    }

    private func done(
        _ job: JobDeclaration, _ outcome: BatchDeletion.Outcome, _ error: CertsError?, counter: WorkCounter? = nil
    ) -> Done {
        let table = job.work.subject
        var counts = [
            JobCounter(job: job.name, kind: .rowsDeleted, table: table, value: outcome.rows),
            JobCounter(job: job.name, kind: .bytesFreed, value: outcome.bytesFreed),
            JobCounter(job: job.name, kind: .lockTimeouts, value: outcome.lockTimeouts),
        ]
        if counter == .expiredMessages {
            counts.append(JobCounter(job: job.name, kind: .expiredMessages, value: outcome.rows))
        }
        return Done(
            rows: outcome.rows, quarantined: outcome.quarantined, backlog: error == nil ? outcome.backlog : nil,
            quarantine: error == nil ? outcome.quarantine : nil, counts: counts, reason: outcome.reason, error: error)
    }

    private func done(
        _ job: JobDeclaration, _ notices: NoticeWork, _ error: CertsError?, counter: WorkCounter? = nil
    ) -> Done {
        var counts = [JobCounter(job: job.name, kind: .noticesSent, value: notices.told)]
        if counter == .prekeyNotices {
            counts.append(JobCounter(job: job.name, kind: .prekeyNotices, value: notices.told))
        }
        return Done(
            rows: notices.told, backlog: error == nil ? notices.found : nil, counts: counts, reason: notices.reason,
            error: error)
    }
}
