import CertsCore
import CertsMaintenance
import CertsTesting
import Foundation
import Testing

/// A database of its own, a role that owns its tables and is nobody's superuser, and the jobs that work on it.
struct DatabaseScene: Sendable {
    let messenger: Messenger
    var user: String

    static func make(_ content: String = "", owned: Bool = false) async throws -> DatabaseScene {
        let messenger = try await Messenger.make(content)
        guard owned else { return DatabaseScene(messenger: messenger, user: RealPostgres.user) }
        let role = "owner_\(messenger.database)"
        try await messenger.sql(
            """
            CREATE ROLE \(role) LOGIN; GRANT CREATE ON SCHEMA public TO \(role);
            DO $$ DECLARE t regclass; BEGIN
                FOR t IN SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' LOOP
                    EXECUTE format('ALTER TABLE %s OWNER TO \(role)', t);
                END LOOP;
            END $$;
            """)
        return DatabaseScene(messenger: messenger, user: role)
    }

    func executor(_ disruption: DisruptionGuard = .closed) -> JobExecutor {
        var declaration = messenger.declaration
        declaration.user = user
        return JobExecutor(MaintenanceDeclaration(database: declaration), disruption: disruption) { _ in
            Secret(copying: [])
        }
    }

    /// With a name of its own: what a run came to holds the lock of its job.
    static func job(_ work: DatabaseWork) throws -> JobDeclaration {
        JobDeclaration(
            name: try Name("job-\(UUID().uuidString.lowercased())"), work: .database(work),
            schedule: JobSchedule(.every(3600)))
    }

    func run(
        _ work: DatabaseWork, _ disruption: DisruptionGuard = .closed, control: JobControl = Messenger.control()
    ) async throws -> JobExecutor.Done {
        try await executor(disruption).run(
            Self.job(work), id: "test", quarantine: [], patience: 10, control: control)
    }

    func plan(_ work: DatabaseWork) async throws -> [WorkPreview] {
        try await executor().plan(Self.job(work), sample: 20, control: Messenger.control())
    }

    @discardableResult
    func sql(_ sql: String) async throws -> String { try await messenger.sql(sql) }

    /// A connection that has run `statements` in one transaction and keeps it open while `body` runs.
    func beside<Value: Sendable>(_ statements: String..., body: () async throws -> Value) async throws -> Value {
        let directory = try TemporaryDirectory(prefix: "certs-beside")
        let mark = "beside-\(UUID().uuidString)"
        let commands = ["BEGIN ISOLATION LEVEL REPEATABLE READ"] + statements + ["SELECT pg_sleep(300)"]
        let process = ServerProcess(
            [
                "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d",
                "host=\(messenger.server.host) user=\(RealPostgres.user) dbname=\(messenger.database) "
                    + "application_name=\(mark)",
            ] + commands.flatMap { ["-c", $0] }, directory: "/tmp", log: directory.path("log"))
        let question =
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = '\(mark)' AND query LIKE 'SELECT pg_sleep%'"
        try await BlockingPool.network.run {
            try process.start { (try? messenger.server.psql(question)) == "1" }
        }
        let outcome: Result<Value, any Error>
        do { outcome = .success(try await body()) } catch { outcome = .failure(error) }
        // The server notices a client that is gone only when it writes to it.
        try await sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '\(mark)'")
        try await BlockingPool.network.run { process.stop() }
        return try outcome.get()
    }

    func has(_ measures: [JobMeasure]?, _ kind: JobMeasure.Kind, _ labels: [String: String] = [:]) -> Double? {
        measures?.first { $0.kind == kind && $0.labels == labels }?.value
    }
}
