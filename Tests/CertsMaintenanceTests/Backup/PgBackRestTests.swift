import CertsCore
import CertsMaintenance
import CertsTesting
import Foundation
import Testing

/// A server whose WAL is archived by the real pgBackRest.
private struct ArchivedServer: Sendable {
    let directory: TemporaryDirectory
    let server: RealPostgres
    static let stanza = "messenger"

    var program: [String] { RealPostgres.asServer + ["pgbackrest", "--config=\(directory.path("pgbackrest.conf"))"] }

    static func make() async throws -> ArchivedServer {
        try await BlockingPool.network.run {
            let directory = try TemporaryDirectory(prefix: "certs-pgbr")
            let configuration = directory.path("pgbackrest.conf")
            for name in ["repo", "log", "lock"] { mkdir(directory.path(name), 0o755) }
            let server = try RealPostgres(settings: [
                "archive_mode=on",
                "archive_command=pgbackrest --config=\(configuration) --stanza=\(stanza) archive-push %p",
            ])
            try """
            [global]
            repo1-path=\(directory.path("repo"))
            repo1-retention-full=2
            log-path=\(directory.path("log"))
            lock-path=\(directory.path("lock"))
            log-level-console=warn
            start-fast=y
            archive-timeout=15
            [\(stanza)]
            pg1-path=\(server.cluster)
            pg1-socket-path=\(server.host)
            pg1-user=\(RealPostgres.user)
            """.write(toFile: configuration, atomically: false, encoding: .utf8)
            chmod(configuration, 0o644)
            if geteuid() == 0 { try Tool.run("chown", "-R", RealPostgres.user, directory.path) }
            return ArchivedServer(directory: directory, server: server)
        }
    }

    func pgbackrest(_ arguments: String...) async throws -> Tool.Outcome {
        try await BlockingPool.network.run { [program] in
            try Tool.run(program + ["--stanza=\(Self.stanza)"] + arguments)
        }
    }

    func job(_ extent: PhysicalBackup.Extent, stanza: String = stanza) throws -> JobDeclaration {
        JobDeclaration(
            name: try Name("hourly"),
            work: .backUpServer(PhysicalBackup(stanza: stanza, extent: extent, program: program)),
            schedule: JobSchedule(.every(3600)), retries: 0)
    }

    func run(_ extent: PhysicalBackup.Extent, stanza: String = stanza) async throws -> JobExecutor.Done {
        try await executor.run(
            try job(extent, stanza: stanza), id: "test", quarantine: [], control: Messenger.control(.seconds(180)))
    }

    // No database is declared: pgBackRest has a configuration of its own.
    var executor: JobExecutor { JobExecutor(MaintenanceDeclaration()) { _ in Secret(copying: []) } }
}

@Suite(.timeLimit(.minutes(10))) struct PgBackRestTests {
    @Test func hourlyIncrementsStandOnAFullBackupAndAreReadBack() async throws {
        let server = try await ArchivedServer.make()
        let unknown = await failure {
            _ = try await server.executor.plan(
                try server.job(.incr, stanza: "other"), sample: 5, control: Messenger.control())
        }
        #expect(unknown?.code == .jobRefused && unknown?.message.contains("other") == true, "\(unknown as Any)")
        let made = try await server.pgbackrest("stanza-create")
        #expect(made.status == 0, "\(made.output)")
        let plan = try await server.executor.plan(try server.job(.incr), sample: 5, control: Messenger.control())
        #expect(plan.first?.warnings == ["there is none yet: it will be a full one"])

        let first = try await server.run(.incr)
        let full = first.measures?.first { $0.kind == .backupSuccess }
        #expect(full?.labels == ["type": "full"])
        #expect(abs((full?.value ?? 0) - Date().timeIntervalSince1970) < 600)
        #expect((first.measures?.first { $0.kind == .backupBytes }?.value ?? 0) > 1_000_000)
        _ = try await server.server.psqlElsewhere("CREATE TABLE more AS SELECT generate_series(1, 1000) n")
        let second = try await server.run(.incr)
        let ages = (second.measures ?? []).filter { $0.kind == .backupSuccess }
        #expect(ages.map { $0.labels["type"] } == ["full", "incr"] && ages.first?.value == full?.value)
        #expect(second.measures?.contains { $0.kind == .backupSeconds && $0.labels == ["type": "incr"] } == true)
        let info = try await server.pgbackrest("info").output
        #expect(info.contains("incr backup") && info.contains("status: ok"))
    }

    @Test func aServerWhoseWALIsNotArchivedIsNotBackedUp() async throws {
        let server = try await ArchivedServer.make()
        #expect(try await server.pgbackrest("stanza-create").status == 0)
        try await BlockingPool.network.run { [server] in
            // The repository takes nothing more from the server.
            try Tool.run("chmod", "-R", "a-w", server.directory.path("repo"))
            if geteuid() == 0 { try Tool.run("chown", "-R", "root", server.directory.path("repo")) }
        }
        let error = await failure { _ = try await server.run(.full) }
        #expect(error?.code == .jobFailed && error?.message.contains("pgbackrest check") == true, "\(error as Any)")
    }
}
