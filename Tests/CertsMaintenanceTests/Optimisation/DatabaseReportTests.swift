import CertsCore
import CertsMaintenance
import CertsTesting
import Foundation
import Testing

@Suite(.timeLimit(.minutes(10))) struct DatabaseReportTests {
    private static let content = """
        INSERT INTO users SELECT n FROM generate_series(1, 1000) n;
        INSERT INTO messages SELECT n, NULL, repeat('x', 300), now() FROM generate_series(1, 20000) n;
        DELETE FROM messages WHERE message_id % 3 = 0;
        INSERT INTO "odd ""table" SELECT now(), n::text FROM generate_series(1, 100) n;
        """

    private static func report(_ scene: DatabaseScene, top: Int = 20) async throws -> DatabaseReport {
        try await scene.executor().databaseReport(DatabaseReportWork(top: top), control: Messenger.control())
    }

    @Test func withoutTheExtensionBloatIsUnknown() async throws {
        let scene = try await DatabaseScene.make(Self.content)
        let report = try await Self.report(scene)
        #expect(report.tables.first?.table == "messages")
        #expect(report.tables.allSatisfy { $0.bloatBytes == nil })
        #expect(report.notes.contains { $0.hasPrefix("bloat is unknown") })
        #expect(report.tables.contains { $0.table == "odd \"table" })
        #expect(try await Self.report(scene, top: 1).tables.count == 1)
    }

    @Test func bloatIsThatOfPgstattuple() async throws {
        let scene = try await DatabaseScene.make(Self.content + "CREATE EXTENSION pgstattuple;", owned: true)
        // Who may not call it gets no number.
        #expect(try await Self.report(scene).tables.allSatisfy { $0.bloatBytes == nil })
        try await scene.sql("GRANT pg_stat_scan_tables TO \(scene.user)")
        for isVacuumed in [false, true] {
            if isVacuumed { try await scene.sql("VACUUM messages") }
            let table = try #require(try await Self.report(scene).tables.first { $0.table == "messages" })
            let exact = try await scene.sql("SELECT dead_tuple_percent + free_percent FROM pgstattuple('messages')")
            let share = Double(try #require(table.bloatBytes)) / Double(table.heapBytes) * 100
            #expect(abs(share - (Double(exact) ?? -100)) < 5, "\(share) beside \(exact)")
            #expect(share > 20)
        }
        let table = try #require(try await Self.report(scene).tables.first { $0.table == "messages" })
        #expect(table.heapBytes + table.indexBytes + table.toastBytes <= table.bytes)
        #expect(String(table.bytes) == (try await scene.sql("SELECT pg_total_relation_size('messages')")))
        #expect(table.vacuumedAt != nil)
    }

    @Test func indexesThatKeepRowsApartAreNeverCalledUnused() async throws {
        let scene = try await DatabaseScene.make(
            Self.content + """
                CREATE INDEX idle ON users (last_seen);
                CREATE INDEX "odd; index" ON "odd ""table" ("when it; ends");
                CREATE UNIQUE INDEX apart ON users (signed_prekey_at, user_id);
                ALTER TABLE media ADD CONSTRAINT one_blob UNIQUE (blob_key);
                ALTER TABLE audit_logs ADD CONSTRAINT no_overlap EXCLUDE USING btree (id WITH =);
                CREATE TABLE replicated (id int NOT NULL, other int NOT NULL);
                CREATE UNIQUE INDEX identity ON replicated (other);
                ALTER TABLE replicated REPLICA IDENTITY USING INDEX identity;
                CREATE INDEX used ON messages (md5(body));
                CREATE INDEX broken ON users (user_id, last_seen);
                UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'broken'::regclass;
                """)
        try await scene.sql(
            "SET enable_seqscan = off; SELECT count(*) FROM messages WHERE md5(body) = 'x'")
        try await scene.sql("DROP INDEX messages_expiry")
        let report = try await Self.report(scene)
        let unused = Set(report.unusedIndexes.map(\.index))
        #expect(unused.contains("idle") && unused.contains("odd; index"))
        // `messages_reply` is the only index of a foreign key: dropping it would make each deletion slow.
        for kept in ["apart", "one_blob", "no_overlap", "identity", "used", "broken", "messages_reply"] {
            #expect(!unused.contains(kept), "\(kept)")
        }
        #expect(!unused.contains { $0.hasSuffix("_pkey") })
        let odd = try #require(report.unusedIndexes.first { $0.index == "odd; index" })
        #expect(odd.recommendation == #"DROP INDEX CONCURRENTLY public."odd; index";"#)
        #expect(report.invalidIndexes.map(\.index) == ["broken"])
        #expect(report.invalidIndexes.first?.recommendation == "REINDEX INDEX CONCURRENTLY public.broken;")
        // What it recommends can be run as it stands.
        try await scene.sql(odd.recommendation)
        try await scene.sql("REINDEX INDEX CONCURRENTLY public.broken")
        let again = try await Self.report(scene)
        #expect(!again.unusedIndexes.contains { $0.index == "odd; index" })
        #expect(again.invalidIndexes.isEmpty)
    }

    @Test func youngStatisticsAreCalledYoung() async throws {
        let scene = try await DatabaseScene.make(Self.content)
        #expect(try await Self.report(scene).statistics.areYoung)
        try await scene.sql("SELECT pg_stat_reset()")
        let report = try await Self.report(scene)
        #expect(report.statistics.areYoung && !report.statistics.isAtLeast)
        #expect(abs(try #require(report.statistics.since).timeIntervalSinceNow) < 600)
        #expect(report.notes.contains { $0.contains("30 days") })
    }

    @Test func foreignKeysWithoutAnIndexAreListed() async throws {
        let scene = try await DatabaseScene.make(Self.content)
        let missing = try await Self.report(scene).missingIndexes
        #expect(Set(missing.map(\.constraint)) == ["messages_sender_fkey", "message_inbox_message_id_fkey"])
        let inbox = try #require(missing.first { $0.table == "message_inbox" })
        #expect(inbox.columns == ["message_id"] && inbox.parent == "messages")
        #expect(inbox.recommendation == "CREATE INDEX CONCURRENTLY ON public.message_inbox (message_id);")
        try await scene.sql(inbox.recommendation)
        #expect(try await Self.report(scene).missingIndexes.map(\.constraint) == ["messages_sender_fkey"])
    }

    @Test func oldTransactionsAreListedAndMeasured() async throws {
        let scene = try await DatabaseScene.make(Self.content)
        let (report, done) = try await scene.beside("SELECT count(*) FROM users") {
            (try await Self.report(scene), try await scene.run(.report(DatabaseReportWork())))
        }
        let holder = try #require(report.holders.first { $0.detail.contains("beside-") })
        #expect(holder.kind == .transaction)
        #expect(holder.seconds.map { $0 >= 0 && $0 < 600 } == true)
        #expect((scene.has(done.measures, .xminAgeSeconds) ?? 0) > 0)
        #expect(scene.has(done.measures, .invalidIndexes) == 0)
        #expect(scene.has(done.measures, .unindexedReferences) == 2)
        let ratio = try #require(scene.has(done.measures, .deadRatio, ["table": "messages"]))
        #expect(abs(ratio - 1.0 / 3) < 0.01)
        #expect(scene.has(done.measures, .bloatBytes, ["table": "messages"]) == nil)
        #expect(
            done.measures?.contains { $0.kind == .unusedIndexBytes && $0.labels["index"] == "messages_expiry" } == true)
    }
}
