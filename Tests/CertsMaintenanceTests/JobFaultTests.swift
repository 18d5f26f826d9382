import CertsCore
import CertsMaintenance
import CertsStore
import CertsTesting
import Foundation
import Logging
import Testing

/// What breaks while a job runs: it goes on where it can, nothing is lost, and the reason is in the ledger and in a metric.
@Suite(.timeLimit(.minutes(15))) struct JobFaultTests {
    private static let messages = """
        INSERT INTO messages SELECT n, NULL, 'text', now() - interval '1 hour' FROM generate_series(1, 20000) n;
        CREATE SEQUENCE calls;
        CREATE TABLE gone (message_id bigint);
        CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN INSERT INTO gone VALUES (OLD.message_id); RETURN NULL; END $$;
        CREATE TRIGGER note AFTER DELETE ON messages FOR EACH ROW EXECUTE FUNCTION note();
        """
    private static let slow = """
        CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN IF nextval('calls') < 20 THEN PERFORM pg_sleep(0.6); END IF; RETURN NULL; END $$;
        CREATE TRIGGER slow BEFORE DELETE ON messages FOR EACH STATEMENT EXECUTE FUNCTION slow();
        """

    private func metrics(_ job: JobDeclaration, _ shop: Workshop) async throws -> String {
        PrometheusText.render(try await JobMetrics.families([job], shop.database, now: Date()))
    }

    /// Each deleted row was deleted once, and none is left.
    private func expectEachGoneOnce(_ shop: Workshop) async throws {
        #expect(try await shop.messenger.sql("SELECT count(*), count(DISTINCT message_id) FROM gone") == "20000|20000")
        #expect(try await shop.messenger.count("messages") == 0)
    }

    @Test func aServerThatRestartsInTheMiddleCostsABatchAndNoRow() async throws {
        let server = try await BlockingPool.network.run { try RealPostgres() }
        let shop = try await Workshop.make(Self.messages + Self.slow, on: server)
        var job = try Workshop.job()
        (job.retries, job.retryAfter) = (6, 0.5)
        let (declared, runner) = (job, shop.runner())
        async let ended = runner.run(declared, occurrence: nil, source: .command)
        while try await shop.messenger.count("messages") > 15_000 { try await Task.sleep(for: .milliseconds(20)) }
        try await BlockingPool.network.run {
            try server.stopAtOnce()
            _ = usleep(700_000)
            try server.start()
        }
        let run = try await ended
        #expect(run.result == .succeeded, "\(run.reason ?? "")")
        try await expectEachGoneOnce(shop)
        let runs = try await shop.database.runs(of: job.name, limit: 10)
        #expect(runs.filter { $0.result == .failed }.count == run.attempt - 1 && run.attempt > 1)
        #expect(runs.last?.reason?.isEmpty == false)
        // What was committed before the failure counts.
        #expect(try await metrics(job, shop).contains("messenger_expired_messages_cleaned_up_total 20000\n"))
        #expect(try await metrics(job, shop).contains("certs_job_runs_total{job=\"messages\",result=\"failed\"} "))
        try await BlockingPool.network.run { server.stop() }
    }

    /// The server says that its disk is full (53100) for a while, as it does when a file cannot grow.
    @Test func aServerWhoseDiskIsFullIsWaitedForAndToldOf() async throws {
        let shop = try await Workshop.make(
            Self.messages + """
                CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$
                BEGIN
                  IF nextval('calls') BETWEEN 3 AND 4 THEN
                    RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100';
                  END IF;
                  RETURN NULL;
                END $$;
                CREATE TRIGGER full_disk BEFORE DELETE ON messages FOR EACH STATEMENT EXECUTE FUNCTION full_disk();
                """)
        var job = try Workshop.job()
        (job.retries, job.retryAfter) = (3, 0.1)
        let run = try await shop.runner().run(job, occurrence: nil, source: .command)
        #expect(run.result == .succeeded, "\(run.reason ?? "")")
        try await expectEachGoneOnce(shop)
        let failed = try await shop.database.runs(of: job.name, limit: 10).filter { $0.result == .failed }
        #expect(failed.allSatisfy { $0.reason?.contains("No space left on device") == true })
        #expect(failed.count == run.attempt - 1 && run.attempt > 1)
    }

    /// An archive that does not fit keeps its rows.
    @Test func anArchiveOnAFullDiskLosesNothing() async throws {
        let shop = try await Workshop.make(
            """
            INSERT INTO audit_logs (category, entry, created_at)
                SELECT 'login', jsonb_build_object('text', repeat(md5(n::text), 20)), now() - interval '400 days'
                FROM generate_series(1, 3000) n;
            """)
        let archive = shop.directory.path("archive")
        try FileManager.default.createDirectory(atPath: archive, withIntermediateDirectories: false)
        let mounted = try Tool.run(["mount", "-t", "tmpfs", "-o", "size=1200k", "tmpfs", archive])
        try #require(mounted.status == 0, "\(mounted.output)")
        defer { _ = try? Tool.run(["umount", "-l", archive]) }
        let job = try Workshop.job(
            .archiveRows(
                RowArchival(
                    rows: RowDeletion(TableName("audit_logs"), column: "created_at"), directory: archive,
                    retention: ["login": 365 * 86400], categoryColumn: "category")))
        let run = try await shop.runner().run(job, occurrence: nil, source: .command)
        #expect(run.result == .failed)
        #expect(run.reason?.contains("No space left") == true, "\(run.reason ?? "")")
        #expect(run.rows == 1000)
        #expect(try await shop.messenger.count("audit_logs") == 2000)
        #expect(
            try await metrics(job, shop).contains(
                "certs_job_rows_deleted_total{job=\"messages\",table=\"audit_logs\"} 1000"))
        // No file that looks whole and is not.
        let files = try FileManager.default.contentsOfDirectory(atPath: archive)
        let check = try Tool.run(["sha256sum", "-c"] + files.filter { $0.hasSuffix(".sha256") }, directory: archive)
        #expect(check.status == 0, "\(check.output)")
        #expect(files.filter { $0.hasSuffix(".jsonl") }.count == 1)
    }

    /// A clock that is two hours ahead, is put right, and is two hours behind: no occurrence twice, none lost for good.
    @Test func aClockThatIsSteppedNeitherRepeatsNorSilencesAJob() async throws {
        let shop = try await Workshop.make("")
        let clock = ManualClock(Date(timeIntervalSince1970: 1_800_000_000))
        var job = try Workshop.job(.deleteRows(Messenger.expired), JobSchedule(.every(600)))
        job.catchUp = .latest(within: 86400)
        let scheduler = JobScheduler(
            [job], runner: shop.runner(now: { clock.now.wall }),
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() },
            host: "host")
        let task = Task { await scheduler.run() }
        func count() async throws -> Int {
            try await shop.database.runs(of: nil, limit: 1000).filter { $0.result == .succeeded }.count
        }
        func expectRun(after seconds: TimeInterval, _ what: Comment) async throws {
            let known = try await count()
            clock.advance(by: seconds)
            for _ in 0..<300 where try await count() == known { try await Task.sleep(for: .milliseconds(50)) }
            #expect(try await count() == known + 1, what)
        }
        // Its first look is where it begins to count.
        for _ in 0..<100 where try await shop.database.jobStates().isEmpty {
            try await Task.sleep(for: .milliseconds(50))
        }
        try await expectRun(after: 700, "an ordinary occurrence")
        try await expectRun(after: 7200, "two hours ahead: the newest of those that passed")
        clock.step(by: -7200)
        try await Task.sleep(for: .seconds(2))
        try await expectRun(after: 700, "put right again: it goes on from here")
        clock.step(by: -7200)
        try await Task.sleep(for: .seconds(2))
        try await expectRun(after: 700, "two hours behind: it goes on from there")
        task.cancel()
        await task.value
        let runs = try await shop.database.runs(of: nil, limit: 1000)
        #expect(runs.contains { $0.result == .skipped && $0.reason?.contains("occurrences: missed") == true })
    }
}
