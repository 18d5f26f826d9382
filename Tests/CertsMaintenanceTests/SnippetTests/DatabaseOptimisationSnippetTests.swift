import CertsCore
import CertsMaintenance
import CertsTesting
import Foundation
import Testing

/// The statements of "Database Optimization Procedures" on a real server: first what they do as they are
/// written, then that ours do what they meant.
@Suite(.timeLimit(.minutes(10))) struct DatabaseOptimisationSnippetTests {
    private static let content = """
        INSERT INTO users SELECT n FROM generate_series(1, 1000) n;
        INSERT INTO messages SELECT n, NULL, 'text', now() FROM generate_series(1, 10000) n;
        DELETE FROM messages WHERE message_id % 2 = 0;
        """

    /// What `psql` says to the statement as the role of the scene.
    private static func psql(_ scene: DatabaseScene, _ sql: String) async throws -> Tool.Outcome {
        try await BlockingPool.network.run {
            try Tool.run([
                "psql", "-X", "-v", "ON_ERROR_STOP=1", "-h", scene.messenger.server.host, "-U", scene.user, "-d",
                scene.messenger.database, "-c", sql,
            ])
        }
    }

    /// `-- Run vacuum analyze on all tables`
    /// `VACUUM ANALYZE;`
    @Test func vacuumAnalyzeSkipsWhatTheRoleDoesNotOwnAndCallsThatSuccess() async throws {
        let scene = try await DatabaseScene.make(Self.content + "CREATE TABLE anothers (n int);", owned: true)
        try await scene.sql("ALTER TABLE media OWNER TO postgres")
        let original = try await Self.psql(scene, "VACUUM ANALYZE;")
        #expect(original.status == 0)
        #expect(original.output.contains(#"skipping "media" --- only table or database owner can vacuum it"#))
        #expect(original.output.contains("only superuser can vacuum it"))
        #expect(try await scene.sql("SELECT last_vacuum FROM pg_stat_user_tables WHERE relname = 'media'") == "")

        let error = await #expect(throws: CertsError.self) {
            try await scene.run(.vacuum(VacuumWork(scope: TableScope(names: ["media"]))))
        }
        #expect(error?.code == .databaseRefused)
        try await scene.sql("DELETE FROM messages")
        let done = try await scene.run(.vacuum(VacuumWork(costDelay: 0)))
        #expect(done.error == nil && done.reason == nil, "\(done.reason ?? "")")
        #expect(scene.has(done.measures, .vacuumedDeadRows, ["table": "messages", "when": "after"]) == 0)
    }

    /// `VACUUM FULL messages;`
    @Test func vacuumFullBesideAReaderShutsAllOthersOut() async throws {
        let scene = try await DatabaseScene.make(Self.content)
        try await scene.beside("SELECT count(*) FROM messages") {
            // It waits for the reader, for ever, and whoever comes after it waits, too.
            let directory = try TemporaryDirectory(prefix: "certs-full")
            let full = ServerProcess(
                [
                    "psql", "-X", "-h", scene.messenger.server.host, "-U", RealPostgres.user, "-d",
                    scene.messenger.database, "-c", "VACUUM FULL messages",
                ], directory: "/tmp", log: directory.path("log"))
            let waiting = "SELECT count(*) FROM pg_locks WHERE relation = 'messages'::regclass AND NOT granted"
            try await BlockingPool.network.run {
                try full.start {
                    (try? scene.messenger.server.psql(waiting, database: scene.messenger.database)) == "1"
                }
            }
            let second = try await Self.psql(
                scene, "SET statement_timeout = '2s'; SELECT count(*) FROM messages")
            #expect(second.status != 0 && second.output.contains("statement timeout"))
            try await scene.sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query = 'VACUUM FULL messages'")
            try await BlockingPool.network.run { full.stop() }

            let work = VacuumFullWork(scope: TableScope(names: ["messages"]))
            await #expect(throws: CertsError.self) { try await scene.run(.vacuumFull(work)) }
            let done = try await scene.run(.vacuumFull(work), .confirmed)
            #expect(done.reason?.contains("locked by others") == true, "\(done.reason ?? "")")
            #expect(try await scene.messenger.count("messages") == 5000)
        }
        let done = try await scene.run(
            .vacuumFull(VacuumFullWork(scope: TableScope(names: ["messages"]))), .confirmed)
        #expect(done.rows == 1 && done.reason == nil, "\(done.reason ?? "")")
    }

    /// `REINDEX TABLE messages;`
    @Test func reindexTableKeepsWritersOut() async throws {
        let scene = try await DatabaseScene.make(Self.content)
        let write = "SET lock_timeout = '1s'; UPDATE messages SET body = 'new' WHERE message_id = 1"
        // In a transaction, so that the moment in which it holds its lock is long enough to be seen.
        try await scene.messenger.withSession { session in
            try session.run("BEGIN")
            try session.run("REINDEX TABLE messages")
            #expect(throws: RealPostgres.Failed.self) {
                try scene.messenger.server.psql(write, database: scene.messenger.database)
            }
            try session.run("ROLLBACK")
        }
        // Ours waits for a writer that has begun; others write meanwhile.
        try await scene.beside("UPDATE messages SET body = 'other' WHERE message_id = 3") {
            async let rebuilt = scene.run(
                .reindex(ReindexWork(scope: TableScope(names: ["messages"]))), control: Messenger.control(.seconds(4)))
            let waiting =
                "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'REINDEX INDEX CONC%' "
                + "AND wait_event_type = 'Lock' AND datname = current_database()"
            for _ in 0..<500 where try await scene.sql(waiting) == "0" { try await Task.sleep(for: .milliseconds(20)) }
            try await scene.sql(write)
            try await scene.sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'beside-%' "
                    + "AND datname = current_database()")
            _ = try await rebuilt
        }
        let done = try await scene.run(.reindex(ReindexWork(scope: TableScope(names: ["messages"]))))
        #expect(done.rows == 3 && done.reason == nil, "\(done.reason ?? "")")
        #expect(try await scene.sql("SELECT count(*) FROM pg_index WHERE NOT indisvalid") == "0")
    }

    /// `SELECT schemaname, tablename, indexname FROM pg_stat_user_indexes WHERE idx_scan = 0 AND idx_tup_read = 0;`
    @Test func theQueryForUnusedIndexesFailsAndMendedListsPrimaryKeys() async throws {
        let scene = try await DatabaseScene.make(Self.content)
        let original = try await Self.psql(
            scene,
            """
            SELECT schemaname, tablename, indexname
            FROM pg_stat_user_indexes
            WHERE idx_scan = 0 AND idx_tup_read = 0;
            """)
        #expect(original.status != 0)
        #expect(original.output.contains(#"column "tablename" does not exist"#))
        let mended = try await scene.sql(
            "SELECT indexrelname FROM pg_stat_user_indexes WHERE idx_scan = 0 AND idx_tup_read = 0")
        #expect(mended.contains("media_pkey"))
        let report = try await scene.executor().databaseReport(.init(), control: Messenger.control())
        #expect(report.unusedIndexes.contains { $0.index == "messages_expiry" })
        #expect(!report.unusedIndexes.contains { $0.index.hasSuffix("_pkey") })
    }

    /// `-- Check table bloat`
    /// `SELECT pg_size_pretty(pg_total_relation_size('messages'));`
    @Test func theQueryForBloatTellsTheSizeOnly() async throws {
        let scene = try await DatabaseScene.make(Self.content + "CREATE EXTENSION pgstattuple;")
        let size = "SELECT pg_size_pretty(pg_total_relation_size('messages'));"
        let before = try await scene.sql(size)
        try await scene.sql("DELETE FROM messages WHERE message_id > 100")
        // Nearly everything is bloat by now, and the number is the same.
        #expect(try await scene.sql(size) == before)
        let report = try await scene.executor().databaseReport(.init(), control: Messenger.control())
        let table = try #require(report.tables.first { $0.table == "messages" })
        #expect(Double(try #require(table.bloatBytes)) / Double(table.heapBytes) > 0.8)
    }

    /// `SELECT table_name, pg_size_pretty(pg_total_relation_size(table_name)) FROM information_schema.tables …`
    @Test func theQueryForLargeTablesFailsAndMendedFailsOnOddNames() async throws {
        let scene = try await DatabaseScene.make(Self.content)
        let original = try await Self.psql(
            scene,
            """
            SELECT table_name, pg_size_pretty(pg_total_relation_size(table_name))
            FROM information_schema.tables
            WHERE table_schema = 'public'
            ORDER BY pg_total_relation_size DESC;
            """)
        #expect(original.status != 0)
        let mended = try await Self.psql(
            scene,
            """
            SELECT table_name, pg_total_relation_size(table_name::text) FROM information_schema.tables
            WHERE table_schema = 'public' ORDER BY 2 DESC;
            """)
        #expect(mended.status != 0)
        let tables = try await scene.executor().databaseReport(.init(), control: Messenger.control()).tables
        #expect(tables.first?.table == "messages")
        #expect(tables.contains { $0.table == "odd \"table" })
        #expect(tables.map(\.bytes) == tables.map(\.bytes).sorted(by: >))
    }
}
