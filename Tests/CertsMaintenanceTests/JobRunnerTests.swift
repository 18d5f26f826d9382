import CertsCore
import CertsMaintenance
import CertsStore
import CertsTesting
import Foundation
import Logging
import Synchronization
import Testing

@Suite(.timeLimit(.minutes(10))) struct JobRunnerTests {
    private static let messages = """
        INSERT INTO messages SELECT n, NULL, 'text', now() - interval '1 hour' FROM generate_series(1, 3000) n;
        """

    @Test func aRunIsRecordedWithWhatItDidAndTheCountersMove() async throws {
        let shop = try await Workshop.make(Self.messages)
        let job = try Workshop.job()
        let run = try await shop.runner().run(job, occurrence: nil, source: .command)
        #expect(run.result == .succeeded)
        #expect(run.rows == 3000)
        let kept = try await shop.database.runs(of: job.name, limit: 5)
        #expect(kept.map(\.id) == [run.id])
        #expect(kept.map(\.rows) == [3000])
        #expect(kept.map(\.result) == [.succeeded])
        let families = try await JobMetrics.families([job], shop.database, now: Date())
        let text = PrometheusText.render(families)
        #expect(text.contains("messenger_expired_messages_cleaned_up_total 3000\n"))
        #expect(text.contains("messenger_prekeys_replenished_total 0\n"))
        #expect(text.contains("certs_job_rows_deleted_total{job=\"messages\",table=\"messages\"} 3000\n"))
        #expect(text.contains("certs_job_runs_total{job=\"messages\",result=\"succeeded\"} 1\n"))
    }

    @Test func aProgramRunsWithoutADatabaseAndItsFailureIsTold() async throws {
        let shop = try await Workshop.make("")
        let elsewhere = DatabaseDeclaration(host: shop.directory.path("nowhere"), name: "none", user: "nobody")
        let file = shop.directory.path("made")
        let good = try Workshop.job(.command(CommandWork(["/usr/bin/touch", file])))
        let plan = try await shop.runner(server: elsewhere).executor.plan(good, sample: 5, control: Messenger.control())
        #expect(plan.map(\.keys) == [["/usr/bin/touch \(file)"]])
        #expect(!FileManager.default.fileExists(atPath: file))
        let run = try await shop.runner(server: elsewhere).run(good, occurrence: nil, source: .command)
        #expect(run.result == .succeeded, "\(run.reason ?? "")")
        #expect(FileManager.default.fileExists(atPath: file))
        let text = PrometheusText.render(try await JobMetrics.families([good], shop.database, now: Date()))
        #expect(text.contains("certs_job_command_seconds{job=\"messages\"} "))
        #expect(!text.contains("certs_job_rows_deleted_total{"))
        let bad = try Workshop.job(.command(CommandWork(["/bin/sh", "-c", "echo no room >&2; exit 3"])))
        let failed = try await shop.runner(server: elsewhere).run(bad, occurrence: nil, source: .command)
        #expect(failed.result == .failed)
        #expect(failed.reason?.contains("no room") == true && failed.reason?.contains("exit code 3") == true)
    }

    @Test func twoRunnersOnOneDatabaseRunAJobOnceAtATime() async throws {
        let one = try await Workshop.make(
            Self.messages + """
                CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$
                BEGIN PERFORM pg_sleep(1); RETURN NULL; END $$;
                CREATE TRIGGER slow BEFORE DELETE ON messages FOR EACH STATEMENT EXECUTE FUNCTION slow();
                """)
        // Another host: with a state directory of its own, on the same database.
        let directory = try TemporaryDirectory(prefix: "certs-jobs")
        let state = try await StateDirectory.open(at: directory.path("state"), create: true)
        let two = Workshop(
            directory: directory, messenger: one.messenger, database: try await Database.open(in: state), state: state)
        let job = try Workshop.job()
        async let first = one.runner().run(job, occurrence: Date(), source: .timer)
        async let second = two.runner(host: "other").run(job, occurrence: Date(), source: .timer)
        let runs = try await [first, second]
        #expect(Set(runs.map(\.result)) == [.succeeded, .skipped])
        #expect(runs.map(\.rows).reduce(0, +) == 3000)
    }

    @Test func aServerThatIsAwayIsRecordedAndTriedAgain() async throws {
        let shop = try await Workshop.make("")
        var job = try Workshop.job()
        (job.retries, job.retryAfter) = (1, 0.05)
        let nowhere = DatabaseDeclaration(host: "/nonexistent", name: "x", user: "y")
        let run = try await shop.runner(server: nowhere).run(job, occurrence: nil, source: .command)
        #expect(run.result == .failed)
        #expect(run.attempt == 2)
        #expect(run.reason?.contains("cannot connect") == true)
        #expect(try await shop.database.runs(of: nil, limit: 5).count == 2)
    }

    @Test func anotherServerThanTheDeclaredOneIsRefused() async throws {
        let shop = try await Workshop.make(Self.messages)
        var server = shop.messenger.declaration
        server.systemIdentifier = "1"
        let run = try await shop.runner(server: server).run(try Workshop.job(), occurrence: nil, source: .command)
        #expect(run.result == .refused)
        #expect(try await shop.messenger.count("messages") == 3000)
    }

    @Test func runsOfProcessesThatAreGoneAreClosed() async throws {
        let shop = try await Workshop.make("")
        let job = try Workshop.job()
        let gone = JobRun(
            id: "gone", job: job.name, occurrence: nil, startedAt: Date(), source: .timer, runner: "host:999999")
        try await shop.database.begin(gone)
        try await shop.runner().closeLostRuns()
        #expect(try await shop.database.openRuns().isEmpty)
        #expect(try await shop.database.runs(of: nil, limit: 1).first?.result == .lost)
    }

    @Test func theSchedulerRunsEachOccurrenceOnceAcrossRestarts() async throws {
        let shop = try await Workshop.make(Self.messages)
        let job = try Workshop.job()
        for _ in 0..<2 {
            let scheduler = JobScheduler(
                [job], runner: shop.runner(), logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() },
                host: "host")
            let task = Task { await scheduler.run() }
            let known = try await shop.database.runs(of: nil, limit: 100).count
            for _ in 0..<600 where try await shop.database.runs(of: nil, limit: 100).count < known + 3 {
                try await Task.sleep(for: .milliseconds(50))
            }
            task.cancel()
            await task.value
        }
        let runs = try await shop.database.runs(of: nil, limit: 100)
        let occurrences = runs.compactMap(\.occurrence)
        #expect(occurrences.count >= 6)
        #expect(Set(occurrences).count == occurrences.count)
        #expect(try await shop.database.openRuns().isEmpty)
        #expect(runs.map(\.rows).reduce(0, +) == 3000)
        // Each at a whole second: anchored to the epoch, not to a start.
        #expect(occurrences.allSatisfy { $0.timeIntervalSince1970.truncatingRemainder(dividingBy: 1) == 0 })
    }

    private static func media(_ directory: String, share: Double? = nil) -> JobWork {
        .deleteMedia(
            MediaDeletion(
                rows: RowDeletion(
                    TableName("media"), column: "expires_at", limits: DeletionLimits(share: share)),
                pathColumns: ["blob_key", "thumbnail_key"], directory: directory))
    }

    @Test func aFileThatAnotherRowHasStays() async throws {
        let shop = try await Workshop.make(
            """
            INSERT INTO media VALUES (1, 'same', NULL, now() - interval '1 hour'), (2, 'other', 'same', NULL),
                (3, 'twice', NULL, now() - interval '1 hour'), (4, 'twice', NULL, now() - interval '1 hour');
            """)
        let tree = shop.directory.path("blobs")
        try FileManager.default.createDirectory(atPath: tree, withIntermediateDirectories: true)
        for name in ["same", "other", "twice"] { try shop.directory.write("1", to: "blobs/\(name)") }
        let run = try await shop.runner().run(
            try Workshop.job(Self.media(tree)), occurrence: nil, source: .command)
        #expect(run.result == .succeeded && run.rows == 3)
        #expect(try FileManager.default.contentsOfDirectory(atPath: tree).sorted() == ["other", "same"])
    }

    /// A trigger that marks rows instead of deleting them.
    @Test func aRowThatStaysKeepsItsFile() async throws {
        let shop = try await Workshop.make(
            """
            INSERT INTO media VALUES (1, 'one', NULL, now() - interval '1 hour');
            CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
            CREATE TRIGGER keep BEFORE DELETE ON media FOR EACH ROW EXECUTE FUNCTION keep();
            """)
        let tree = shop.directory.path("blobs")
        try FileManager.default.createDirectory(atPath: tree, withIntermediateDirectories: true)
        try shop.directory.write("1", to: "blobs/one")
        let run = try await shop.runner().run(
            try Workshop.job(Self.media(tree)), occurrence: nil, source: .command)
        #expect(run.result == .incomplete && run.rows == 0 && run.quarantined == 1)
        #expect(FileManager.default.fileExists(atPath: tree + "/one"))
    }

    @Test func anEmptyDirectoryAndAShareThatIsTooLargeAreRefused() async throws {
        let shop = try await Workshop.make(
            """
            INSERT INTO media SELECT n, 'f' || n, NULL, now() - interval '1 hour' FROM generate_series(1, 100) n;
            """)
        let tree = shop.directory.path("blobs")
        try FileManager.default.createDirectory(atPath: tree, withIntermediateDirectories: true)
        let empty = try await shop.runner().run(
            try Workshop.job(Self.media(tree)), occurrence: nil, source: .command)
        #expect(empty.result == .refused && empty.reason?.contains("is empty") == true)
        try shop.directory.write("1", to: "blobs/f1")
        let capped = try await shop.runner().run(
            try Workshop.job(Self.media(tree, share: 0.05)), occurrence: nil, source: .command)
        #expect(capped.result == .refused && capped.reason?.contains("the cap is 5 %") == true)
        #expect(try await shop.messenger.count("media") == 100)
        #expect(FileManager.default.fileExists(atPath: tree + "/f1"))
    }

    @Test func filesGoWithTheirRowsAndRowsThatAreUsedKeepThem() async throws {
        let shop = try await Workshop.make(
            """
            INSERT INTO media VALUES (1, 'a/one', 'a/one.thumb', now() - interval '1 hour'), (2, 'two', NULL, now() - interval '1 hour'),
                (3, 'missing', NULL, now() - interval '1 hour'), (4, '../outside', NULL, now() - interval '1 hour'),
                (5, 'live', NULL, now() + interval '1 hour');
            INSERT INTO messages (message_id, media_id) VALUES (1, 2);
            """)
        let tree = shop.directory.path("blobs")
        try FileManager.default.createDirectory(atPath: tree + "/a", withIntermediateDirectories: true)
        for name in ["blobs/a/one", "blobs/a/one.thumb", "blobs/two", "blobs/live", "outside"] {
            try shop.directory.write("12345", to: name)
        }
        let work = MediaDeletion(
            rows: RowDeletion(
                TableName("media"), column: "expires_at",
                unless: .init(TableName("messages"), column: "media_id", key: "media_id")),
            pathColumns: ["blob_key", "thumbnail_key"], directory: tree)
        let run = try await shop.runner().run(
            try Workshop.job(.deleteMedia(work)), occurrence: nil, source: .command)
        #expect(run.rows == 2)
        #expect(run.result == .incomplete)
        #expect(run.quarantined == 1)
        #expect(run.counts.first { $0.kind == .bytesFreed }?.value == 10)
        #expect(
            try await shop.messenger.sql("SELECT string_agg(media_id::text, ',' ORDER BY media_id) FROM media")
                == "2,4,5")
        func exists(_ name: String) -> Bool { FileManager.default.fileExists(atPath: shop.directory.path(name)) }
        #expect(exists("outside") && exists("blobs/two") && exists("blobs/live"))
        #expect(!exists("blobs/a/one") && !exists("blobs/a/one.thumb"))
    }

    @Test func auditRowsAreDeletedOnlyAfterTheyWereArchived() async throws {
        let shop = try await Workshop.make(
            """
            INSERT INTO audit_logs (category, legal_hold, entry, created_at) SELECT c, n = 1,
                jsonb_build_object('n', n, 'text', E'zwei\\nZeilen "ü"'), now() - interval '400 days'
            FROM generate_series(1, 1500) n, unnest(ARRAY['login', 'message']) c;
            INSERT INTO audit_logs (category, created_at) VALUES ('login', now() - interval '1 day');
            """)
        let archive = shop.directory.path("archive")
        let work = RowArchival(
            rows: RowDeletion(TableName("audit_logs"), column: "created_at"), directory: archive,
            retention: ["login": 365 * 86400], categoryColumn: "category", holdColumn: "legal_hold")
        let job = try Workshop.job(.archiveRows(work))
        // Without the directory nothing goes.
        let refused = try await shop.runner().run(job, occurrence: nil, source: .command)
        #expect(refused.result == .failed)
        #expect(try await shop.messenger.count("audit_logs") == 3001)

        try FileManager.default.createDirectory(atPath: archive, withIntermediateDirectories: false)
        let run = try await shop.runner().run(job, occurrence: nil, source: .command)
        #expect(run.rows == 1499)
        #expect(
            try await shop.messenger.sql("SELECT category, count(*) FROM audit_logs GROUP BY 1 ORDER BY 1")
                == "login|2\nmessage|1500")
        let files = try FileManager.default.contentsOfDirectory(atPath: archive).sorted()
        #expect(files.count == 4)
        let check = try Tool.run(["sha256sum", "-c"] + files.filter { $0.hasSuffix(".sha256") }, directory: archive)
        #expect(check.status == 0, "\(check.output)")
        let lines = try files.filter { $0.hasSuffix(".jsonl") }.map {
            try String(contentsOfFile: "\(archive)/\($0)", encoding: .utf8).split(separator: "\n").count
        }
        #expect(lines.reduce(0, +) == 1499)
    }

    @Test func everyUserWhoseKeyIsOldIsToldOnceWithinTheCoolDown() async throws {
        let shop = try await Workshop.make(
            """
            INSERT INTO users SELECT n, now() - CASE WHEN n > 1200 THEN interval '90 days' ELSE interval '1 hour' END,
                now() - CASE WHEN n > 700 AND n <= 1200 THEN interval '1 day' ELSE interval '8 days' END
            FROM generate_series(1, 1300) n;
            """)
        let redis = try await BlockingPool.network.run { try RealRedis() }
        let check = KeyRotationCheck(
            users: TableName("users"), key: "user_id", column: "signed_prekey_at", age: 7 * 86400,
            seenColumn: "last_seen",
            notice: NoticePolicy(channel: "notices", coolDown: 3600))
        let job = try Workshop.job(.checkKeyRotation(check))
        let first = try await shop.runner(redis: redis.declaration).run(job, occurrence: nil, source: .command)
        #expect(first.result == .succeeded)
        // All of them, not the first hundred; and nobody listens, so that they wait in the list.
        #expect(first.rows == 700)
        let again = try await shop.runner(redis: redis.declaration).run(job, occurrence: nil, source: .command)
        #expect(again.rows == 0)
        let waiting = try await BlockingPool.network.run { try redis.cli("LLEN", "notices:pending") }
        #expect(waiting == "700")
    }

    @Test func usersWithoutAnyPrekeysAreToldToo() async throws {
        let shop = try await Workshop.make(
            """
            INSERT INTO users (user_id) SELECT generate_series(1, 1000);
            INSERT INTO one_time_prekeys (user_id) SELECT n FROM generate_series(1, 1000) n, generate_series(1, 25) k WHERE n > 10;
            UPDATE one_time_prekeys SET used_at = now() WHERE user_id > 990 AND id % 25 < 15;
            """)
        let redis = try await BlockingPool.network.run { try RealRedis() }
        let check = PrekeyCheck(
            users: TableName("users"), key: "user_id", prekeys: TableName("one_time_prekeys"), userColumn: "user_id",
            usedColumn: "used_at", notice: NoticePolicy(channel: "notices", coolDown: 3600))
        let job = try Workshop.job(.checkPrekeys(check))
        let run = try await shop.runner(redis: redis.declaration).run(job, occurrence: nil, source: .command)
        #expect(run.rows == 20)
        let text = PrometheusText.render(try await JobMetrics.families([job], shop.database, now: Date()))
        #expect(text.contains("messenger_prekeys_replenished_total 20\n"))
        #expect(text.contains("certs_job_backlog_rows{job=\"messages\"} 20\n"))
    }
}
