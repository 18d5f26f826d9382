import CertsCore
import Foundation

/// Proves a backup: restores it beside the live database, compares, and writes down how it came out.
struct RestoreTestWork: HostWork {
    let backup: DatabaseBackup
    /// `nil`: the newest that is good.
    let name: String?
    let access: DatabaseAccess

    var lockPlace: LockPlace { .administration }

    private var catalogue: BackupCatalogue { BackupCatalogue(backup.directory, database: access.declaration.name) }

    func preview(_ job: Name, sample: Int, control: JobControl) async throws -> [WorkPreview] {
        let entry = try await JobExecutor.pool.run { [catalogue, name] in try catalogue.entry(name) }
        return [
            WorkPreview(
                subject: "restore into a scratch database", count: 1, bytes: entry.manifest?.databaseBytes ?? 0,
                keys: [entry.name], warnings: entry.damage.map { [$0] } ?? [])
        ]
    }

    func run(_ job: Name, control: JobControl) async throws -> JobExecutor.Done {
        let (entry, lock) = try await Self.take(name, catalogue)
        defer { withExtendedLifetime(lock) {} }
        let outcome = try await prove(entry, job, control)
        let now = control.now()
        let record = RestoreTestRecord(
            at: now, seconds: outcome.seconds, age: now.timeIntervalSince(entry.manifest?.takenAt ?? entry.time),
            differences: outcome.differences)
        try await JobExecutor.pool.run {
            try BackupFiles.write(
                try StoredJSON.encode(record, readable: true), to: entry.path(RestoreTestRecord.fileName))
        }
        guard record.differences.isEmpty else {
            return JobExecutor.Done(error: RestoreWork.isOther(entry, record.differences))
        }
        return JobExecutor.Done(
            rows: 1,
            measures: [
                JobMeasure(.restoreTestSuccess, [:], now.timeIntervalSince1970),
                JobMeasure(.restoreTestSeconds, [:], record.seconds), JobMeasure(.restoreTestAge, [:], record.age),
            ])
    }

    /// Finds a backup and keeps it from being deleted.
    static func take(_ name: String?, _ catalogue: BackupCatalogue) async throws -> (BackupCatalogue.Entry, BackupLock)
    {
        try await JobExecutor.pool.run {
            try BackupFolder.check(catalogue.directory)
            let entry = try catalogue.entry(name)
            guard let lock = try BackupLock(entry) else {
                throw CertsError(.lockHeld, "the backup \(entry.name) is being deleted", retry: .later)
            }
            return (entry, lock)
        }
    }

    private func prove(_ entry: BackupCatalogue.Entry, _ job: Name, _ control: JobControl) async throws
        -> RestoreTrial.Outcome
    {
        do {
            try await BackupFiles.verify(entry, control)
        } catch let error as CertsError where error.code == .jobFailed && !control.isOver {
            return .init(seconds: 0, differences: [error.message])
        }
        guard let manifest = entry.manifest else { throw CertsError(.internal, "a verified backup has a manifest") }
        let trial = RestoreTrial(
            backup: backup, access: access, entry: entry, manifest: manifest, control: control, isForUse: false)
        return try await Self.inScratch(access, job, control) { scratch, admin in
            try await trial.run(scratch, admin, checks: true)
        }
    }

    /// Runs `body` with the name of a scratch database, which is dropped whatever happens.
    static func inScratch<Value: Sendable>(
        _ access: DatabaseAccess, _ job: Name, _ control: JobControl,
        _ body: (String, SharedSession) async throws -> Value
    ) async throws -> Value {
        let admin = try await SharedSession.open(
            access, "certs:\(job):scratch", to: DatabaseAccess.administration, what: "the restore failed", control)
        let scratch = ScratchDatabase.newName()
        let result: Result<Value, any Error>
        do {
            result = .success(try await body(scratch, admin))
        } catch {
            result = .failure(error)
        }
        // In a session of its own: the other one may have been told to stop. Once that is closed, the lock is free.
        admin.close()
        let calm = JobControl(deadline: .now + .seconds(180), now: control.now)
        try? await withUncancelledTask {
            let session = try await SharedSession.open(
                access, "certs:\(job):drop", to: DatabaseAccess.administration, what: "the scratch stays", calm)
            try await session.run { try ScratchDatabase.drop(scratch, $0) }
        }
        return try result.get()
    }
}
