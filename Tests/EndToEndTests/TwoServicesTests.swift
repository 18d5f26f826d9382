import CertsCore
import CertsTesting
import Foundation
import Testing

/// Two hosts with `certs serve` and one database between them.
@Suite(.timeLimit(.minutes(15))) struct TwoServicesTests {
    /// 20,000 expired messages that take 0.3 s a batch; each deletion is noted, and `touches` counts also those that are
    /// undone, because a sequence is not.
    private static let schema = """
        CREATE TABLE messages (message_id bigint PRIMARY KEY, expires_at timestamptz);
        CREATE INDEX ON messages (expires_at);
        INSERT INTO messages SELECT n, now() - interval '1 hour' FROM generate_series(1, 20000) n;
        CREATE TABLE gone (message_id bigint);
        CREATE SEQUENCE touches;
        CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
        BEGIN PERFORM nextval('touches'); INSERT INTO gone VALUES (OLD.message_id); RETURN NULL; END $$;
        CREATE TRIGGER note AFTER DELETE ON messages FOR EACH ROW EXECUTE FUNCTION note();
        CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.3); RETURN NULL; END $$;
        CREATE TRIGGER slow BEFORE DELETE ON messages FOR EACH STATEMENT EXECUTE FUNCTION slow();
        """

    private struct Runs: Decodable {
        struct Run: Decodable {
            let job: String
            let occurrence: Date?
            let result: String?
            let rows: Int
            let reason: String?
        }
        let runs: [Run]
    }

    /// A host, whose role tells its sessions from those of the other.
    private struct Host {
        let scene: RotationScene
        let role: String

        static func make(_ role: String, _ server: RealPostgres, _ database: String) async throws -> Host {
            _ = try await blocking.run {
                try server.psql("CREATE ROLE \(role) LOGIN")
                try server.psql("GRANT SELECT, DELETE, UPDATE ON messages TO \(role)", database: database)
            }
            let port = try LoopbackPort.reserve()
            let more = """
                server: { listen: "127.0.0.1:\(port)" }
                maintenance:
                  database: { host: "\(server.host)", name: \(database), user: \(role) }
                  jobs: [ { name: messages, kind: expired-messages, every: 8s, retries: 0 } ]
                """
            return Host(scene: try await RotationScene.make(.init(more: more)), role: role)
        }

        func start() throws -> pid_t {
            let log = scene.directory.path("serve.log")
            return try scene.program(["serve"]).start(output: log, errors: log)
        }

        func runs() async throws -> [Runs.Run] {
            let outcome = try await scene.certs("maintenance", "status", "-o", "json", "--limit", "1000")
            return try scene.decoded(Runs.self, outcome).runs
        }
    }

    @Test func eachRowGoesOnceAndAKilledServiceCostsOneBatch() async throws {
        let server = try await RealPostgres.shared()
        let database = try await blocking.run { try server.makeDatabase(Self.schema) }
        func sql(_ text: String) async throws -> String {
            try await blocking.run { try server.psql(text, database: database) }
        }
        let hosts = [
            try await Host.make("\(database)_one", server, database),
            try await Host.make("\(database)_two", server, database),
        ]
        var services = try hosts.map { try $0.start() }
        defer { for service in services { kill(service, SIGKILL) } }

        // Which of them is in a batch, with something done already.
        var busy: Int?
        for _ in 0..<1200 where busy == nil {
            let role = try await sql(
                """
                SELECT usename FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'
                AND (SELECT count(*) FROM gone) > 0 LIMIT 1
                """)
            busy = hosts.firstIndex { $0.role == role }
            try await Task.sleep(for: .milliseconds(20))
        }
        let killed = try #require(busy, "no service began")
        let victim = services[killed]
        kill(victim, SIGKILL)
        _ = try await blocking.run { Program.wait(for: victim, seconds: 10) }

        #expect(try await eventually(within: 120) { try await sql("SELECT count(*) FROM messages") == "0" })
        #expect(try await sql("SELECT count(*), count(DISTINCT message_id) FROM gone") == "20000|20000")
        let touches = Int(try await sql("SELECT last_value FROM touches")) ?? 0
        #expect((20_000...30_000).contains(touches), "at most one batch, of at most 10,000 rows, is done again")
        #expect(
            try await eventually {
                try await hosts[1 - killed].runs().contains { $0.result == "succeeded" && $0.rows > 0 }
            })

        // The killed one comes back, closes its run, and both go on; none of the occurrences runs twice.
        services[killed] = try hosts[killed].start()
        #expect(try await eventually(within: 60) { try await hosts[killed].runs().contains { $0.result == "lost" } })
        try await Task.sleep(for: .seconds(20))
        let all = try await hosts[0].runs() + hosts[1].runs()
        let done = all.filter { $0.result != "skipped" && $0.result != "lost" }.compactMap(\.occurrence)
        #expect(done.count > 2)
        #expect(Set(done).count == done.count, "an occurrence ran on both hosts")
        #expect(all.contains { $0.result == "skipped" && $0.reason?.contains("another process runs the job") == true })
    }
}
