import ArgumentParser
import CertsCore
import CertsEngine
import CertsMaintenance
import CertsStore
import Foundation

struct BackupsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "backups",
        abstract: "The backups of the database, newest first: which are whole, which are proven.",
        discussion: """
            verified: it was read back whole when it was made, and its files are as large as then; --check reads them all \
            again. proven: it was restored, and compared with what the database had. Exit code 1 when one is damaged.
            """)

    @OptionGroup var global: GlobalOptions
    @OptionGroup var output: OutputOptions
    @Option(help: "The job that makes them; needed if there are several.")
    var job: String?
    @Flag(help: "Read each whole and compare it with its digests.")
    var check = false

    struct Item: Encodable {
        let name: String
        let takenAt: Date
        let ageSeconds: Double
        @OrNull var bytes: Int?
        let isVerified: Bool
        let isProven: Bool
        @OrNull var provenAt: Date?
        @OrNull var restoreSeconds: Double?
        @OrNull var copiedAt: Date?
        let problems: [String]
    }

    struct Document: Encodable {
        let schema = 1
        let directory: String
        let backups: [Item]
    }

    func run() async throws {
        let declarations = try ConfigurationFile.load(path: global.configurationPath)
        let found = try BackupChoice.catalogue(declarations.maintenance, job)
        let now = Date()
        let control = JobControl(deadline: .now + .seconds(86400), now: { Date() })
        var items: [Item] = []
        for entry in try await BlockingPool.shared.run({ try found.entries() }) {
            var problems = (entry.damage.map { [$0] } ?? []) + (entry.test?.differences ?? [])
            if check, entry.damage == nil {
                do {
                    try await found.verify(entry, control)
                } catch let error as CertsError {
                    problems.insert(error.message, at: 0)
                }
            }
            items.append(Self.item(entry, problems, now))
        }
        try Listing(
            document: Document(directory: found.directory, backups: items), items: items,
            columns: [
                Column("backup") { $0.name }, Column("age") { Time.distance(to: $0.takenAt, from: now) },
                Column("bytes", isNumber: true) { $0.bytes.map { String($0) } ?? "-" },
                Column("verified") { $0.isVerified ? "yes" : "NO" }, Column("proven") { Time.text($0.provenAt) },
                Column("copied") { Time.text($0.copiedAt) },
                Column("problems") { $0.problems.joined(separator: "; ") },
            ]
        ).print(output.output)
        if items.contains(where: { !$0.isVerified }) { throw ExitStatus.failed }
    }

    private static func item(_ entry: BackupCatalogue.Entry, _ problems: [String], _ now: Date) -> Item {
        let isGood = entry.isGood && problems.isEmpty
        let takenAt = entry.manifest?.takenAt ?? entry.time
        return Item(
            name: entry.name, takenAt: takenAt, ageSeconds: now.timeIntervalSince(takenAt),
            bytes: entry.manifest?.bytes, isVerified: isGood, isProven: isGood && entry.isProven,
            provenAt: isGood ? entry.test?.at : nil,
            restoreSeconds: isGood ? entry.test?.seconds : nil,
            copiedAt: entry.copiedAt, problems: problems)
    }
}

struct RestoreTestCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "restore-test", abstract: "Restore a backup beside the live database, compare, and drop it again.",
        discussion: """
            The rows of each table, the sequences, the extensions and the schema are compared with what they were when the \
            backup was made. Exit codes: 0 it is the same; 1 it is not, or cannot be restored; 5 refused.
            """)

    @OptionGroup var global: GlobalOptions
    @Argument(help: "The backup; without it the newest that is whole.")
    var backup: String?
    @Option(help: "The job that makes the backups; needed if there are several.")
    var job: String?

    func run() async throws {
        let assembly = try await Assembly.forMaintenance(global)
        let catalogue = try BackupChoice.catalogue(assembly.declarations.maintenance, job)
        let name = try await BlockingPool.shared.run { try catalogue.entry(backup).name }
        let run = try await assembly.testRestore(of: name, job: try job.map { try Name($0) })
        try await BackupChoice.end(run) { try await BackupChoice.proof(of: name, in: catalogue) }
    }
}

extension Assembly {
    /// Restores a backup beside the live database and compares; in the ledger under the name of the declared test, if
    /// there is one.
    func testRestore(of backup: String, job: Name?) async throws -> JobRun {
        let maintenance = declarations.maintenance
        let source = try maintenance.backup(of: job).job
        var declared = maintenance.jobs.first { candidate in
            guard case .testRestore(let work) = candidate.work else { return false }
            return (try? maintenance.backup(of: work.job))?.job == source
        }
        declared?.work = .testRestore(RestoreTest(of: source, backup: backup))
        let test =
            try declared ?? BackupChoice.job("restore-test", .testRestore(RestoreTest(of: source, backup: backup)))
        return try await jobs.run(test, occurrence: nil, source: .command)
    }
}

struct RestoreCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "restore", abstract: "Put a backup into the place of the live database, which is kept.",
        discussion: """
            The backup is restored into a scratch database and compared; then the two names change in one transaction, and \
            whoever is connected to the live database is cut off. The old database stays under another name, closed for \
            connections; drop it when you are sure. Without --yes it is only said what would be done.
            """)

    @OptionGroup var global: GlobalOptions
    @Argument(help: "The backup: see `certs maintenance backups`.")
    var backup: String
    @Option(help: "The job that makes the backups; needed if there are several.")
    var job: String?
    @Flag(help: "Do it.")
    var yes = false
    @Option(help: "The name that the live database gets.")
    var keepAs: String?
    @Flag(help: "Restore it although it is damaged, or other than when it was made.")
    var acceptDifferences = false

    func run() async throws {
        let assembly = try await Assembly.forMaintenance(global)
        let maintenance = assembly.declarations.maintenance
        let source = try maintenance.backup(of: try job.map { try Name($0) }).job
        let live = maintenance.database?.name ?? ""
        let old = keepAs ?? Self.oldName(live, Date())
        let restore = try BackupChoice.job(
            "restore",
            .restore(DatabaseRestore(of: source, backup: backup, keepAs: old, acceptsDifferences: acceptDifferences)))
        guard yes else {
            let control = JobControl(deadline: .now + .seconds(60), now: { Date() })
            for item in try await assembly.jobs.executor.plan(restore, sample: 1, control: control) {
                Terminal.note(
                    TerminalText.sanitized("\(item.subject): \(item.keys.joined()); \(item.warnings.joined())"))
            }
            throw CertsError(
                .jobRefused, "nothing was done: this cuts everybody off from '\(live)'", subject: live,
                hint: "repeat it with `--yes`")
        }
        let run = try await assembly.jobs.run(restore, occurrence: nil, source: .command)
        try await BackupChoice.end(run) {
            "\(live) is as in \(backup); what it was is kept as '\(old)', closed: drop it with `DROP DATABASE \"\(old)\"`"
        }
    }

    /// `messaging_before_20261125T150000Z`, cut to what the server takes (63 bytes).
    private static func oldName(_ live: String, _ now: Date) -> String {
        let digits = Time.text(now).filter { $0 != "-" && $0 != ":" }
        var start = live
        while start.utf8.count > 38 { start.removeLast() }
        return "\(start)_before_\(digits)"
    }
}

/// What the commands about backups have in common.
enum BackupChoice {
    static func catalogue(_ maintenance: MaintenanceDeclaration, _ job: String?) throws -> BackupCatalogue {
        let backup = try maintenance.backup(of: try job.map { try Name($0) }).backup
        return BackupCatalogue(backup.directory, database: maintenance.database?.name ?? "")
    }

    /// A job that is not declared: it has no time, runs once, and is in the ledger.
    static func job(_ name: String, _ work: JobWork) throws -> JobDeclaration {
        JobDeclaration(
            name: try Name(name), work: work, schedule: JobSchedule(.every(366 * 86400)), deadline: 86400, retries: 0)
    }

    /// What the test of a backup found, for people.
    static func proof(of name: String, in catalogue: BackupCatalogue) async throws -> String {
        let record = try await BlockingPool.shared.run { try catalogue.entry(name).test }
        guard let record else { return "\(name): restored" }
        let seconds = String(format: "%.1f", record.seconds)
        return "\(name): restored and compared in \(seconds) s (RTO); \(Int(record.age)) s old (RPO)"
    }

    static func end(_ run: JobRun, _ words: () async throws -> String) async throws {
        if run.result == .succeeded { return Terminal.note(TerminalText.sanitized(try await words())) }
        Terminal.note(TerminalText.sanitized(run.reason ?? run.result?.rawValue ?? "it did not end"))
        switch run.result {
        case .incomplete: throw ExitStatus.partly
        case .refused, .skipped: throw ExitStatus.refused
        default: throw ExitStatus.failed
        }
    }
}
