import CertsCore
import Foundation

/// Puts a backup into the place of the live database.
///
/// The backup is restored into a scratch database and compared; then two names change in one transaction. Before that
/// the live database is untouched, after it the old one is still there under another name: whenever the process dies,
/// the server has one or the other, and a scratch that is left is dropped by the next restore or test.
struct RestoreWork: HostWork {
    let work: DatabaseRestore
    let backup: DatabaseBackup
    let access: DatabaseAccess
    let faults: FaultPoints

    var lockPlace: LockPlace { .administration }

    private var live: String { access.declaration.name }
    private var catalogue: BackupCatalogue { BackupCatalogue(backup.directory, database: live) }

    /// The places where a test makes the process die, in their order.
    package static let faultPoints = [
        "restore-begun", "restore-made", "restore-compared", "restore-renaming", "restore-renamed",
    ]

    func preview(_ job: Name, sample: Int, control: JobControl) async throws -> [WorkPreview] {
        let entry = try await JobExecutor.pool.run { [catalogue, work] in try catalogue.entry(work.backup) }
        return [
            WorkPreview(
                subject: "restore in the place of \(access.place)", count: 1, bytes: entry.manifest?.databaseBytes ?? 0,
                keys: [entry.name], warnings: ["the database that is live now is kept as \(work.keepAs)"])
        ]
    }

    func run(_ job: Name, control: JobControl) async throws -> JobExecutor.Done {
        let (entry, lock) = try await RestoreTestWork.take(work.backup, catalogue)
        defer { withExtendedLifetime(lock) {} }
        try await refuseUnfit(entry, control)
        guard let manifest = entry.manifest else {
            throw CertsError(
                .jobRefused, "the backup \(entry.name) has no manifest that can be read", subject: entry.name,
                hint: "its dump can be restored by hand with pg_restore, into a database of another name")
        }
        let trial = RestoreTrial(
            backup: backup, access: access, entry: entry, manifest: manifest, control: control, isForUse: true)
        try faults.reached("restore-begun")
        let accepted = try await RestoreTestWork.inScratch(access, job, control) { scratch, admin in
            try await admin.run { try DatabaseSwap.refuseUnfit(live: live, old: work.keepAs, $0) }
            let outcome = try await trial.run(scratch, admin, checks: !work.acceptsDifferences)
            try faults.reached("restore-made")
            guard outcome.differences.isEmpty || work.acceptsDifferences else {
                throw Self.isOther(entry, outcome.differences)
            }
            try await analyze(scratch, job, control)
            try await admin.run { try manifest.properties.apply(to: scratch, $0) }
            try faults.reached("restore-compared")
            let swap = DatabaseSwap(
                live: live, old: work.keepAs, scratch: scratch, comment: manifest.properties.comment,
                connectionLimit: manifest.properties.connectionLimit, faults: faults)
            try await swap.run(admin, access, job, control)
            try faults.reached("restore-renamed")
            return outcome.differences
        }
        let words = accepted.prefix(20).joined(separator: "; ")
        return JobExecutor.Done(
            rows: 1,
            reason: accepted.isEmpty
                ? nil : TerminalText.sanitized("restored, and other than it was: \(words)", limit: 2000))
    }

    /// Without statistics the first statements after the restore would be slow ones.
    private func analyze(_ scratch: String, _ job: Name, _ control: JobControl) async throws {
        let session = try await SharedSession.open(
            access, "certs:\(job):analyze", to: scratch, what: "the statistics failed", control)
        defer { session.close() }
        try await session.run { session in
            try session.run("SET statement_timeout = 0")
            try session.run("ANALYZE", within: control.left)
        }
    }

    /// A backup that is damaged, or that a restore found to be something else.
    private func refuseUnfit(_ entry: BackupCatalogue.Entry, _ control: JobControl) async throws {
        guard !work.acceptsDifferences else { return }
        do {
            try await BackupFiles.verify(entry, control)
        } catch let error as CertsError where error.code == .jobFailed {
            throw CertsError(
                .jobRefused, error.message, subject: entry.name,
                hint: "take another one (`certs maintenance backups`); `--accept-differences` restores it nevertheless")
        }
        if let test = entry.test, !test.differences.isEmpty { throw Self.isOther(entry, test.differences, .jobRefused) }
    }

    static func isOther(
        _ entry: BackupCatalogue.Entry, _ differences: [String], _ code: CertsError.Code = .jobFailed
    ) -> CertsError {
        CertsError(
            code, "the backup \(entry.name), restored, is not what it should be", subject: entry.name,
            hint: "take another one (`certs maintenance backups`), make a new one, and look at the disk",
            details: Array(differences.prefix(20)).map { TerminalText.sanitized($0, limit: 500) })
    }
}
