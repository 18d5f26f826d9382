import CertsCore
import CertsPrograms
import Foundation

/// Lets pgBackRest make a backup of the whole server, and reads back what it has then.
struct PgBackRestWork: HostWork {
    let work: PhysicalBackup

    /// Of each stream, in bytes: `info` of years of backups.
    private static let outputLimit = 16 << 20

    func preview(_ job: Name, sample: Int, control: JobControl) async throws -> [WorkPreview] {
        let last = try await newest(control)
        return [
            WorkPreview(
                subject: "\(work.extent.rawValue) backup of the stanza \(work.stanza)", count: 1,
                bytes: last?.bytes ?? 0, keys: last.map { ["after \($0.label)"] } ?? [],
                warnings: last == nil && work.extent != .full ? ["there is none yet: it will be a full one"] : [])
        ]
    }

    func run(_ job: Name, control: JobControl) async throws -> JobExecutor.Done {
        let begin = ContinuousClock.now
        // Without the archive of its WAL a backup cannot be restored.
        _ = try await pgbackrest("check", [], control)
        let before = try await newest(control)
        _ = try await pgbackrest("backup", ["--type=\(work.extent.rawValue)"], control)
        let seconds = Double((ContinuousClock.now - begin) / .milliseconds(1)) / 1000
        let report = try await report(control)
        guard let made = report.newest, made.label != before?.label, !made.failed else {
            throw CertsError(
                .jobFailed, "pgbackrest says that it made a backup, and its list has no new one without errors",
                subject: work.stanza, hint: "`pgbackrest --stanza=\(work.stanza) info` and `verify` tell more")
        }
        let type = ["type": made.type]
        let ages = PhysicalBackup.Extent.allCases.compactMap { extent in
            report.newest(extent.rawValue).map {
                JobMeasure(.backupSuccess, ["type": extent.rawValue], Double($0.stop))
            }
        }
        return JobExecutor.Done(
            rows: 1,
            measures: ages + [
                JobMeasure(.backupBytes, type, Double(made.bytes)), JobMeasure(.backupSeconds, type, seconds),
            ])
    }

    private func newest(_ control: JobControl) async throws -> PgBackRestReport.Backup? {
        try await report(control).newest
    }

    private func report(_ control: JobControl) async throws -> PgBackRestReport {
        let bytes = try await pgbackrest("info", ["--output=json"], control)
        guard let report = try PgBackRestReport(Data(bytes), stanza: work.stanza) else {
            throw CertsError(
                .jobRefused, "pgbackrest knows no stanza '\(work.stanza)'", subject: work.stanza,
                hint: "`pgbackrest --stanza=\(work.stanza) stanza-create` makes it")
        }
        return report
    }

    private func pgbackrest(_ command: String, _ options: [String], _ control: JobControl) async throws -> [UInt8] {
        let arguments = work.program + ["--stanza=\(work.stanza)"] + options + [command]
        do {
            return try await Program(arguments, deadline: control.left, outputLimit: Self.outputLimit).run()
        } catch let failure as ProgramFailure {
            throw failure.certsError(
                .jobFailed, "'pgbackrest \(command)'", subject: work.stanza,
                hint: "it has to run as the user of the server (`program:`); its manual explains the number in brackets"
            )
        }
    }
}

/// `pgbackrest info --output=json` of one stanza (pgBackRest user guide, "Backup Info").
struct PgBackRestReport: Sendable {
    struct Backup: Sendable {
        let label: String
        let type: String
        /// Seconds since 1970.
        let stop: Int
        /// Of what is restored from it.
        let bytes: Int
        let failed: Bool
    }

    /// Oldest first.
    let backups: [Backup]

    var newest: Backup? { backups.last }

    func newest(_ type: String) -> Backup? { backups.last { $0.type == type && !$0.failed } }

    private struct Stanza: Decodable {
        struct Item: Decodable {
            struct Times: Decodable { let stop: Int }
            struct Sizes: Decodable { let size: Int }
            let label: String
            let type: String
            let timestamp: Times
            let info: Sizes
            let error: Bool?
        }
        let name: String
        let backup: [Item]?
    }

    /// - Returns: `nil`: there is no such stanza.
    init?(_ json: Data, stanza: String) throws {
        let all: [Stanza]
        do {
            all = try JSONDecoder().decode([Stanza].self, from: json)
        } catch {
            throw CertsError(
                .jobFailed, "what 'pgbackrest info' printed cannot be read", subject: stanza,
                hint: "this is written for pgBackRest 2.45; look at what it prints", cause: error)
        }
        guard let found = all.first(where: { $0.name == stanza }) else { return nil }
        backups = (found.backup ?? []).map {
            Backup(
                label: TerminalText.sanitized($0.label), type: TerminalText.sanitized($0.type), stop: $0.timestamp.stop,
                bytes: $0.info.size, failed: $0.error ?? false)
        }.sorted { $0.stop < $1.stop }
    }
}
