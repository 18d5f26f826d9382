import CertsCore
import CertsMaintenance
import CertsTesting
import Foundation
import Testing

@Suite(.timeLimit(.minutes(15))) struct IndexRebuildTests {
    /// `messages_expiry` is mostly empty, the primary key is as full as it was built.
    private static let bloated = """
        INSERT INTO messages SELECT n, NULL, 'text', now() + n * interval '1 s' FROM generate_series(1, 30000) n;
        UPDATE messages SET expires_at = expires_at + interval '1 year' WHERE message_id % 20 <> 0;
        """

    private static func scene(_ extra: String = "", owned: Bool = false) async throws -> DatabaseScene {
        let scene = try await DatabaseScene.make(bloated + extra, owned: owned)
        try await scene.sql("VACUUM messages")
        try await scene.sql("REINDEX INDEX messages_pkey; REINDEX INDEX messages_reply")
        return scene
    }

    private static func invalid(_ scene: DatabaseScene) async throws -> String {
        try await scene.sql(
            "SELECT string_agg(indexrelid::regclass::text, ' ' ORDER BY 1) FROM pg_index WHERE NOT indisvalid")
    }

    @Test func whatIsEmptyIsRebuiltAndTheRestIsLeft() async throws {
        let scene = try await Self.scene("CREATE EXTENSION pgstattuple;")
        let work = ReindexWork(scope: TableScope(names: ["messages"]))
        let files =
            "SELECT string_agg(pg_relation_filenode(oid)::text, ' ' ORDER BY relname) FROM pg_class "
            + "WHERE relname IN ('messages_pkey', 'messages_reply')"
        let before = try await scene.sql(files)
        let plan = try await scene.plan(.reindex(work))
        #expect(plan.map(\.subject) == ["messages_expiry"])
        #expect(plan.first?.keys.first?.contains("% of it are empty") == true)
        let done = try await scene.run(.reindex(work))
        #expect(done.error == nil && done.reason == nil, "\(done.reason ?? "")")
        #expect(done.rows == 1)
        #expect((scene.has(done.measures, .reindexFreedBytes, ["index": "messages_expiry"]) ?? 0) > 100_000)
        #expect(try await scene.sql(files) == before)
        #expect(try await scene.plan(.reindex(work)).isEmpty)
    }

    @Test func withoutAMeasureOnlyWhatIsNamedIsRebuilt() async throws {
        let scene = try await Self.scene(owned: true)
        let error = await #expect(throws: CertsError.self) { try await scene.run(.reindex(ReindexWork())) }
        #expect(error?.code == .jobRefused)
        #expect(error?.hint?.contains("pgstattuple") == true)
        let unknown = await #expect(throws: CertsError.self) {
            try await scene.run(.reindex(ReindexWork(indexes: ["messages_expriy"])))
        }
        #expect(unknown?.code == .configurationInvalid)
        let work = ReindexWork(indexes: ["messages_expiry"])
        #expect(try await scene.plan(.reindex(work)).map(\.subject) == ["messages_expiry"])
        let done = try await scene.run(.reindex(work))
        #expect(done.rows == 1 && done.reason == nil, "\(done.reason ?? "")")
        #expect(try await Self.invalid(scene).isEmpty)
    }

    @Test func leftoversOfEarlierRunsAreFoundAndThoseOfOthersStay() async throws {
        let scene = try await Self.scene()
        // A rebuild that waits for a reader, and is ended by the server: twice, so that there are two.
        try await scene.beside("SELECT count(*) FROM messages") {
            for _ in 1...2 {
                await #expect(throws: RealPostgres.Failed.self) {
                    try await scene.sql("SET statement_timeout = '1s'; REINDEX INDEX CONCURRENTLY messages_expiry")
                }
                await #expect(throws: (any Error).self) {
                    try await BlockingPool.network.run { try Self.cutShort(scene) }
                }
            }
        }
        #expect(try await Self.invalid(scene) == "messages_expiry_ccnew messages_expiry_ccnew1")
        // One with such a name that is no copy of ours: of another definition, made by hand.
        try await scene.sql("CREATE INDEX messages_expiry_ccnew7 ON messages (sender, body)")
        try await scene.sql(
            "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'messages_expiry_ccnew7'::regclass")
        let work = ReindexWork(indexes: ["messages_expiry"])
        let plan = try await scene.plan(.reindex(work))
        #expect(plan.first?.subject == "leftovers")
        #expect(plan.first?.keys == ["messages_expiry_ccnew", "messages_expiry_ccnew1"])
        let done = try await scene.run(.reindex(work))
        #expect(done.error == nil && done.reason == nil, "\(done.reason ?? "")")
        #expect(scene.has(done.measures, .leftoversDropped) == 2)
        #expect(try await Self.invalid(scene) == "messages_expiry_ccnew7")
    }

    private static func cutShort(_ scene: DatabaseScene) throws {
        let session = try PostgresSession(
            scene.messenger.declaration, password: nil, application: "certs:test")
        try session.run("SET lock_timeout = '1s'")
        try session.run("REINDEX INDEX CONCURRENTLY messages_expiry", within: .seconds(60))
    }

    @Test func cutShortAtAnyTimeItLeavesNothing() async throws {
        let scene = try await Self.scene()
        let work = ReindexWork(scope: TableScope(names: ["messages"]))
        // As long as it takes when nothing cuts it short.
        let begin = ContinuousClock.now
        #expect(try await scene.run(.reindex(work)).rows == 3)
        let whole = max(10, Int((ContinuousClock.now - begin) / .milliseconds(1)))
        var cut = 0
        for round in 1...16 {
            let pause = Int.random(in: 1...whole)
            let interrupt = JobInterrupt()
            // By turns: the deadline of the run, and a process that is told to stop.
            let isInterrupted = round.isMultiple(of: 2)
            let control = Messenger.control(isInterrupted ? .seconds(120) : .milliseconds(pause), interrupt)
            let stop = Task {
                guard isInterrupted else { return }
                try? await Task.sleep(for: .milliseconds(pause))
                interrupt.set()
            }
            let done = try? await scene.run(.reindex(work), control: control)
            stop.cancel()
            if done?.rows != 3 { cut += 1 }
            #expect(try await Self.invalid(scene).isEmpty, "after \(pause) ms")
        }
        #expect(cut > 0)
        let names = try await scene.sql(
            "SELECT string_agg(indexrelid::regclass::text, ' ' ORDER BY 1) FROM pg_index "
                + "WHERE indrelid = 'messages'::regclass")
        #expect(Set(names.split(separator: " ")) == ["messages_expiry", "messages_pkey", "messages_reply"])
    }

    @Test func besideAReaderTheDeadlineEndsTheWaitAndTheNextRunClearsUp() async throws {
        let scene = try await Self.scene()
        let work = ReindexWork(indexes: ["messages_expiry"])
        // It goes after the deadline and within the time for clearing up.
        let release = Task {
            try await Task.sleep(for: .seconds(6))
            try await scene.sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'beside-%' "
                    + "AND datname = current_database()")
        }
        let done = try await scene.beside("SELECT count(*) FROM messages") {
            try await scene.run(.reindex(work), control: Messenger.control(.seconds(2)))
        }
        try await release.value
        #expect(done.rows == 0)
        #expect(done.reason?.contains("its deadline has passed") == true, "\(done.reason ?? "")")
        #expect(scene.has(done.measures, .leftoversDropped) == 1)
        #expect(try await Self.invalid(scene).isEmpty)
    }

    /// A reader without a snapshot is waited for only after the new index has the name: what is left is the old one.
    @Test func theOldIndexIsDroppedToo() async throws {
        let scene = try await Self.scene()
        let (isOpen, release) = (JobInterrupt(), JobInterrupt())
        async let reader: Void = scene.messenger.withSession { session in
            try session.run("BEGIN")
            try session.run("LOCK TABLE messages IN ACCESS SHARE MODE")
            isOpen.set()
            while !release.isSet { usleep(20_000) }
            try session.run("ROLLBACK")
        }
        while !isOpen.isSet { try await Task.sleep(for: .milliseconds(20)) }
        let held = Task {
            let question =
                "SELECT count(*) FROM pg_index WHERE NOT indisvalid "
                + "AND indexrelid::regclass::text = 'messages_expiry_ccold'"
            // The old one is seen, and goes on waiting until the deadline is over.
            var isSeen = false
            for _ in 0..<200 where !isSeen {
                isSeen = try await scene.sql(question) == "1"
                try await Task.sleep(for: .milliseconds(50))
            }
            try await Task.sleep(for: .seconds(5))
            release.set()
            return isSeen
        }
        let done = try await scene.run(
            .reindex(ReindexWork(indexes: ["messages_expiry"])), control: Messenger.control(.seconds(4)))
        let isSeen = try await held.value
        try await reader
        #expect(isSeen)
        #expect(done.reason?.contains("its deadline has passed") == true, "\(done.reason ?? "")")
        #expect(scene.has(done.measures, .leftoversDropped) == 1)
        #expect(try await Self.invalid(scene).isEmpty)
    }
}
