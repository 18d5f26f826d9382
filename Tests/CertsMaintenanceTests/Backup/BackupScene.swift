import CertsCore
import CertsMaintenance
import CertsTesting
import Foundation

/// A messenger's database, and a directory for its backups.
struct BackupScene: Sendable {
    let directory: TemporaryDirectory
    let messenger: Messenger
    var backup: DatabaseBackup
    /// Added to the clock.
    var shift: TimeInterval = 0

    /// 2,000 messages, media in odd names, sequences that have moved.
    static let content = """
        INSERT INTO users SELECT n FROM generate_series(1, 200) n;
        INSERT INTO messages SELECT n, 1 + n % 200, repeat(md5(n::text), 4), now() + n * interval '1 s'
            FROM generate_series(1, 2000) n;
        INSERT INTO message_media (message_id) SELECT n FROM generate_series(1, 300) n;
        INSERT INTO audit_logs (category, entry) SELECT 'login', jsonb_build_object('n', n) FROM generate_series(1, 50) n;
        INSERT INTO "odd ""table" VALUES ('2026-01-01', 'a''b\\c'), (NULL, 'ü');
        SELECT lo_from_bytea(0, 'a large object');
        CREATE EXTENSION pgcrypto;
        """

    static func make(_ content: String = Self.content, in path: String? = nil) async throws -> BackupScene {
        let directory = try TemporaryDirectory(prefix: "certs-backup")
        return BackupScene(
            directory: directory, messenger: try await Messenger.make(content),
            backup: DatabaseBackup(directory: path ?? directory.path))
    }

    var catalogue: BackupCatalogue { BackupCatalogue(backup.directory, database: messenger.database) }

    func job(_ work: JobWork) throws -> JobDeclaration {
        JobDeclaration(name: try Name("backup"), work: work, schedule: JobSchedule(.every(3600)), retries: 0)
    }

    func executor(_ server: DatabaseDeclaration? = nil, password: String = "") throws -> JobExecutor {
        JobExecutor(
            MaintenanceDeclaration(
                database: server ?? messenger.declaration, jobs: [try job(.backUp(backup))])
        ) { _ in Secret(copying: Array(password.utf8)) }
    }

    func control(_ deadline: Duration = .seconds(120)) -> JobControl {
        let shift = shift
        return JobControl(deadline: .now + deadline, now: { Date().addingTimeInterval(shift) })
    }

    /// Runs a job to its end, as the ledger's runner would.
    @discardableResult
    func run(
        _ work: JobWork? = nil, server: DatabaseDeclaration? = nil, password: String = "",
        deadline: Duration = .seconds(120)
    ) async throws -> JobExecutor.Done {
        let done = try await executor(server, password: password).run(
            try job(work ?? .backUp(backup)), id: "test", quarantine: [], patience: 10, control: control(deadline))
        if let error = done.error { throw error }
        // A copy: what was returned holds the lock of the job as long as it lives.
        return JobExecutor.Done(
            rows: done.rows, counts: done.counts, measures: done.measures, reason: done.reason)
    }

    /// Makes a backup that is named after a moment `shift` seconds from now.
    func backedUp(_ shift: TimeInterval = 0) async throws -> BackupCatalogue.Entry {
        var scene = self
        scene.shift = shift
        try await scene.run()
        return try catalogue.entries().first { abs($0.time.timeIntervalSinceNow - shift) < 60 }!
    }

    var names: [String] { get throws { try FileManager.default.contentsOfDirectory(atPath: backup.directory) } }

    /// What is there besides the files that we keep our locks on.
    var visible: [String] { get throws { try names.filter { !$0.hasSuffix(".lock") }.sorted() } }

    /// A directory with programs that do otherwise than PostgreSQL's: `$real` is the directory of those.
    func client(_ scripts: [String: String]) throws -> String {
        let real = "/usr/lib/postgresql/15/bin"
        let path = directory.path("client-\(UUID().uuidString.prefix(8))")
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
        for name in ["pg_dump", "pg_restore", "pg_dumpall"] {
            let script = scripts[name] ?? "exec \(real)/\(name) \"$@\""
            let text = """
                #!/bin/bash
                real=\(real)
                if [[ $1 == --version && -z "\(scripts["version"] ?? "")" ]]; then exec $real/\(name) --version; fi
                \(scripts["version"] == nil ? script : "echo '\(name) (PostgreSQL) \(scripts["version"] ?? "")'")
                """
            try text.write(toFile: "\(path)/\(name)", atomically: false, encoding: .utf8)
            chmod("\(path)/\(name)", 0o755)
        }
        return path
    }

    func scratches() async throws -> [String] {
        try await messenger.sql("SELECT datname FROM pg_database WHERE datname LIKE 'certs_scratch_%'")
            .split(separator: "\n").map(String.init)
    }

    /// Writes the digests of a backup anew, as somebody would who changes it on purpose.
    func reseal(_ entry: BackupCatalogue.Entry) throws {
        try Tool.run(
            "bash", "-c", "sed 's/^[0-9a-f]*  //' SHA256SUMS | xargs sha256sum > new && mv new SHA256SUMS",
            directory: entry.path)
    }
}

/// The error that `body` throws.
func failure(_ body: () async throws -> Void) async -> CertsError? {
    do {
        try await body()
        return nil
    } catch {
        return CertsError.wrapping(error)
    }
}
