import CertsCore
import CertsMaintenance
import CertsTesting
import Foundation
import Testing

@Suite(.timeLimit(.minutes(10))) struct BatchDeletionTests {
    /// 30,000 messages: 1 to 20,000 have expired, 20,001 to 25,000 live, the rest never expire.
    private static let many = """
        INSERT INTO messages SELECT n, NULL, 'text', CASE WHEN n <= 20000 THEN now() - interval '1 hour'
            WHEN n <= 25000 THEN now() + interval '1 hour' END FROM generate_series(1, 30000) n;
        INSERT INTO message_inbox SELECT n % 7, n FROM generate_series(1, 30000, 100) n;
        """

    @Test func expiredRowsGoAndAllOthersStay() async throws {
        let messenger = try await Messenger.make(Self.many)
        let outcome = try await messenger.delete(Messenger.expired)
        #expect(outcome.rows == 20_000)
        #expect(outcome.reason == nil)
        #expect(outcome.backlog == 0)
        #expect(try await messenger.count("messages") == 10_000)
        #expect(try await messenger.count("message_inbox") == 100)
        #expect(try await messenger.sql("SELECT min(message_id) FROM messages") == "20001")
    }

    @Test func twoAtOnceDeleteEachRowOnce() async throws {
        let messenger = try await Messenger.make(Self.many)
        async let one = messenger.delete(Messenger.expired)
        async let two = messenger.delete(Messenger.expired)
        let (first, second) = try await (one, two)
        #expect(first.rows + second.rows == 20_000)
        #expect(try await messenger.count("messages") == 10_000)
    }

    /// One expired row with a live reply aborts the whole statement of the procedure, every minute, for ever.
    @Test func aRowThatIsHeldStopsTheOriginalAndNotUs() async throws {
        let messenger = try await Messenger.make(
            Self.many + "INSERT INTO messages VALUES (40000, NULL, 'reply', NULL, NULL, 777);")
        await #expect(throws: RealPostgres.Failed.self) {
            try await messenger.sql("DELETE FROM messages WHERE expires_at < NOW() AND expires_at IS NOT NULL")
        }
        #expect(try await messenger.count("messages") == 30_001)

        let outcome = try await messenger.delete(Messenger.expired)
        #expect(outcome.rows == 19_999)
        #expect(outcome.quarantine.map(\.key) == ["777"])
        #expect(outcome.quarantine.first?.reason.contains("23503") == true)
        #expect(outcome.backlog == 1)
        #expect(outcome.reason != nil)
        // It rests in the next run, is tried again after its time, and goes when nothing holds it.
        let resting = try await messenger.delete(Messenger.expired, quarantine: outcome.quarantine)
        #expect(resting.rows == 0)
        #expect(resting.quarantine == outcome.quarantine)
        try await messenger.sql("DELETE FROM messages WHERE message_id = 40000")
        var due = outcome.quarantine
        due[0].retryAt = Date(timeIntervalSince1970: 0)
        let again = try await messenger.delete(Messenger.expired, quarantine: due)
        #expect(again.rows == 1)
        #expect(again.quarantine.isEmpty)
    }

    @Test func aParentGoesAfterItsExpiredReplyWhateverTheOrder() async throws {
        // The oldest is referred to by the newest: with it in one batch the halves fail at first.
        let messenger = try await Messenger.make(
            """
            INSERT INTO messages SELECT n, NULL, '', now() - (1000 - n) * interval '1 minute' FROM generate_series(1, 999) n;
            UPDATE messages SET reply_to = 1 WHERE message_id = 999;
            INSERT INTO messages VALUES (5000, NULL, 'live', NULL, NULL, 500);
            """)
        let outcome = try await messenger.delete(Messenger.expired)
        #expect(outcome.rows == 998)
        #expect(outcome.quarantine.map(\.key) == ["500"])
    }

    @Test func rowsThatOthersHaveLockedAreLeftForLater() async throws {
        let messenger = try await Messenger.make(Self.many)
        let outcome = try await messenger.withSession { session in
            try session.transaction {
                try session.run("SELECT FROM messages WHERE message_id <= 100 FOR UPDATE")
                let other = try PostgresSession(messenger.declaration, password: nil, application: "certs:other")
                var deletion = BatchDeletion(
                    try Deletion.make(Messenger.expired, in: other), in: other, control: Messenger.control())
                try deletion.run()
                return deletion.outcome
            }
        }
        #expect(outcome.rows == 19_900)
        #expect(outcome.backlog == 100)
        #expect(outcome.reason == "rows are locked by others")
        #expect(try await messenger.delete(Messenger.expired).rows == 100)
    }

    @Test func aCapEndsTheRunAndTheNextGoesOn() async throws {
        let messenger = try await Messenger.make(Self.many)
        var work = Messenger.expired
        work.limits.rows = 2500
        let outcome = try await messenger.delete(work)
        #expect(outcome.rows == 2500)
        #expect(outcome.backlog == 17_500)
        #expect(outcome.reason?.contains("2500") == true)
        #expect(try await messenger.delete(Messenger.expired).rows == 17_500)
    }

    @Test func aStatementThatIsCancelledIsTriedAgain() async throws {
        // Each of the first batches sleeps in a trigger until an administrator cancels it.
        let messenger = try await Messenger.make(
            Self.many + """
                CREATE SEQUENCE calls;
                CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$
                BEGIN IF nextval('calls') < 3 THEN PERFORM pg_sleep(100); END IF; RETURN NULL; END $$;
                CREATE TRIGGER slow BEFORE DELETE ON messages FOR EACH STATEMENT EXECUTE FUNCTION slow();
                """)
        async let outcome = messenger.delete(Messenger.expired)
        var cancelled = 0
        for _ in 0..<600 where cancelled < 2 {
            let answer = try await messenger.sql(
                """
                SELECT count(*) FILTER (WHERE pg_cancel_backend(pid)) FROM pg_stat_activity
                WHERE application_name = 'certs:test' AND datname = current_database() AND wait_event = 'PgSleep'
                """)
            cancelled += Int(answer) ?? 0
            try await BlockingPool.network.run { _ = usleep(50_000) }
        }
        #expect(try await outcome.rows == 20_000)
        #expect(cancelled == 2)
    }

    @Test func anInterruptLosesNothingThatIsCommitted() async throws {
        let messenger = try await Messenger.make(
            Self.many + """
                CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$
                BEGIN PERFORM pg_sleep(0.3); RETURN NULL; END $$;
                CREATE TRIGGER slow BEFORE DELETE ON messages FOR EACH STATEMENT EXECUTE FUNCTION slow();
                """)
        let interrupt = JobInterrupt()
        async let ended: BatchDeletion.Outcome? = try? messenger.delete(
            Messenger.expired, control: Messenger.control(.seconds(120), interrupt))
        while try await messenger.count("messages") == 30_000 { try await Task.sleep(for: .milliseconds(20)) }
        interrupt.set()
        // Either it ends between two batches, or within one: then that one is undone.
        _ = await ended
        let left = try await messenger.count("messages")
        #expect(left < 30_000 && left > 10_000)
        #expect(try await messenger.delete(Messenger.expired).rows == left - 10_000)
    }

    @Test(arguments: [
        RowDeletion(TableName("mesages"), column: "expires_at"),
        RowDeletion(TableName("messages"), column: "expired_at"),
        RowDeletion(TableName("messages"), column: "body"),
        RowDeletion(TableName("pg_class", schema: "pg_catalog"), column: "x"),
        RowDeletion(
            TableName("media"), column: "expires_at",
            unless: .init(TableName("messages"), column: "body", key: "media_id")),
    ])
    func whatTheCatalogDoesNotHaveIsRefused(work: RowDeletion) async throws {
        let messenger = try await Messenger.make()
        let error = await #expect(throws: CertsError.self) { try await messenger.delete(work) }
        #expect(error?.code == .configurationInvalid)
        #expect(error?.hint?.isEmpty == false)
    }

    @Test func oddNamesAndOtherTypesAreNoObstacle() async throws {
        let messenger = try await Messenger.make(
            #"INSERT INTO "odd ""table" VALUES (current_date - 3, 'it''s "old"'), (current_date + 3, 'new'), (NULL, 'x');"#
        )
        let work = RowDeletion(TableName(#"odd "table"#), column: "when it; ends", age: 86400)
        #expect(try await messenger.preview(work).keys == [#"it's "old""#])
        #expect(try await messenger.delete(work).rows == 1)
        #expect(
            try await messenger.sql(#"SELECT string_agg("select", ',' ORDER BY "select") FROM "odd ""table""#)
                == "new,x")
    }

    @Test func aTableWithoutAPrimaryKeyIsCleanedToo() async throws {
        let messenger = try await Messenger.make(
            """
            INSERT INTO verification_codes SELECT n::text, 'c', 0, now() - n * interval '1 minute'
            FROM generate_series(1, 3000) n;
            """)
        let work = RowDeletion(TableName("verification_codes"), column: "expires_at", age: 3600)
        let outcome = try await messenger.delete(work)
        #expect(outcome.rows == 2940 || outcome.rows == 2941)
        #expect(outcome.quarantine.isEmpty)
    }

    /// The place of a row is unique within one physical table only: (0,1) of the child is another row.
    @Test func aTableFromWhichOthersInheritIsRefusedAndTheChildIsCleanedAlone() async throws {
        let messenger = try await Messenger.make(
            """
            CREATE TABLE events (id bigint PRIMARY KEY, expires_at timestamptz);
            CREATE TABLE events_live () INHERITS (events);
            INSERT INTO events VALUES (1, now() - interval '1 day');
            INSERT INTO events_live VALUES (2, now() + interval '1 day'), (3, now() - interval '1 day');
            """)
        await #expect(throws: CertsError(.configurationInvalid, "")) {
            try await messenger.delete(RowDeletion(TableName("events"), column: "expires_at"))
        }
        #expect(try await messenger.count("events") == 3)
        #expect(try await messenger.delete(RowDeletion(TableName("events_live"), column: "expires_at")).rows == 1)
        #expect(try await messenger.sql("SELECT string_agg(id::text, ',' ORDER BY id) FROM events") == "1,2")
    }

    /// The same instant, whatever zone the server or the role has.
    @Test(arguments: ["Europe/Berlin", "America/New_York"])
    func aColumnWithoutAZoneHoldsUTC(_ zone: String) async throws {
        let messenger = try await Messenger.make(
            """
            CREATE TABLE visits (id bigint PRIMARY KEY, at timestamp);
            INSERT INTO visits VALUES (1, (now() AT TIME ZONE 'UTC') - interval '30 minutes'),
                (2, (now() AT TIME ZONE 'UTC') - interval '90 minutes');
            """)
        try await messenger.sql("ALTER DATABASE \(messenger.database) SET timezone = '\(zone)'")
        #expect(try await messenger.delete(RowDeletion(TableName("visits"), column: "at", age: 3600)).rows == 1)
        #expect(try await messenger.sql("SELECT string_agg(id::text, ',') FROM visits") == "1")
    }

    /// Each row takes long: of two hundred and fifty-six none is reached in the time of one transaction.
    @Test func rowsThatTakeLongAndAreHeldDoNotKeepTheOthersForEver() async throws {
        let messenger = try await Messenger.make(
            """
            INSERT INTO messages SELECT n, NULL, '', now() - interval '1 hour' FROM generate_series(1, 200) n;
            INSERT INTO messages VALUES (5000, NULL, 'live', NULL, NULL, 150);
            CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS
                $$ BEGIN PERFORM pg_sleep(0.01); RETURN OLD; END $$;
            CREATE TRIGGER slow BEFORE DELETE ON messages FOR EACH ROW EXECUTE FUNCTION slow();
            """)
        let outcome = try await messenger.delete(Messenger.expired, control: Messenger.control(.seconds(60)))
        #expect(outcome.rows == 199)
        #expect(outcome.quarantine.map(\.key) == ["150"])
    }

    @Test func aWindowOfARateLimitCountsFromItsOwnLength() async throws {
        let messenger = try await Messenger.make(
            """
            INSERT INTO rate_limits VALUES
                ('over', 'login', now() - interval '2 hours', 3600, 1),
                ('runs', 'login', now() - interval '2 hours', 86400, 1),
                ('new', 'login', now(), 60, 1);
            """)
        let work = RowDeletion(
            TableName("rate_limits"), column: "window_start", lengthColumn: "window_seconds")
        #expect(try await messenger.preview(work).keys == [#"["over", "login"]"#])
        #expect(try await messenger.delete(work).rows == 1)
        #expect(
            try await messenger.sql("SELECT string_agg(subject, ',' ORDER BY subject) FROM rate_limits") == "new,runs")
    }

    @Test func aPlanListsWhatTheRunThenDeletes() async throws {
        // Held: 100 by a live reply, and 50 by 100, to which it refers.
        let messenger = try await Messenger.make(
            Self.many + """
                UPDATE messages SET reply_to = 50 WHERE message_id = 100;
                INSERT INTO messages VALUES (40000, NULL, 'reply', NULL, NULL, 100);
                UPDATE messages SET reply_to = 60 WHERE message_id = 61;
                """)
        let plan = try await messenger.preview(Messenger.expired)
        #expect(plan.rows == 19_998)
        #expect(plan.held == 2)
        #expect(plan.warnings.contains { $0.contains("message_inbox") })
        let before = Set(try await messenger.sql("SELECT message_id FROM messages").split(separator: "\n"))
        let outcome = try await messenger.delete(Messenger.expired)
        let after = Set(try await messenger.sql("SELECT message_id FROM messages").split(separator: "\n"))
        #expect(outcome.rows == plan.rows)
        #expect(Set(plan.keys.map { Substring($0) }) == before.subtracting(after))
        #expect(Set(outcome.quarantine.map(\.key)) == ["50", "100"])
    }

    @Test func aPlanChangesNothing() async throws {
        let messenger = try await Messenger.make(Self.many)
        _ = try await messenger.preview(Messenger.expired)
        #expect(try await messenger.count("messages") == 30_000)
    }
}
