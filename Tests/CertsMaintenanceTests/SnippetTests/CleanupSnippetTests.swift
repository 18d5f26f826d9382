import CertsCore
import CertsMaintenance
import CertsTesting
import Foundation
import Testing

/// The statements of the written procedure that clean up: what each does as it stands, and what the job does that takes its
/// place.
@Suite(.timeLimit(.minutes(10))) struct CleanupSnippetTests {
    /// Runs a statement as `psql -c` does; what the server said, if it failed.
    private func original(_ sql: String, _ shop: Workshop) async throws -> String? {
        do {
            try await shop.messenger.sql(sql)
            return nil
        } catch let failure as RealPostgres.Failed {
            return failure.description
        }
    }

    private func run(_ work: JobWork, _ shop: Workshop) async throws -> JobRun {
        try await shop.runner().run(try Workshop.job(work), occurrence: nil, source: .command)
    }

    /// One expired message with a live reply, and the whole statement fails, every minute, for ever.
    @Test func expiredMessages() async throws {
        let shop = try await Workshop.make(
            """
            INSERT INTO messages SELECT n, NULL, 'text', now() - interval '1 hour' FROM generate_series(1, 1000) n;
            INSERT INTO messages VALUES (2000, NULL, 'reply', NULL, NULL, 500);
            """)
        let failure = try await original(
            "DELETE FROM messages WHERE expires_at < NOW() AND expires_at IS NOT NULL;", shop)
        #expect(failure?.contains("violates foreign key constraint") == true)
        #expect(try await shop.messenger.count("messages") == 1001)

        let run = try await run(.deleteRows(Messenger.expired), shop)
        #expect(run.rows == 999 && run.quarantined == 1 && run.result == .incomplete)
        #expect(try await shop.messenger.sql("SELECT string_agg(message_id::text, ',') FROM messages") == "500,2000")
    }

    /// The rows go, and with them the only record of which files are to be removed.
    @Test func expiredMedia() async throws {
        let media = "INSERT INTO media VALUES (1, 'one', 'one.thumb', now() - interval '1 hour');"
        for isOurs in [false, true] {
            let shop = try await Workshop.make(media)
            try FileManager.default.createDirectory(
                atPath: shop.directory.path("blobs"), withIntermediateDirectories: false)
            for name in ["one", "one.thumb", "other"] { try shop.directory.write("12345", to: "blobs/\(name)") }
            if isOurs {
                let work = MediaDeletion(
                    rows: RowDeletion(TableName("media"), column: "expires_at"),
                    pathColumns: ["blob_key", "thumbnail_key"], directory: shop.directory.path("blobs"))
                let run = try await run(.deleteMedia(work), shop)
                #expect(run.result == .succeeded, "\(run.reason ?? "")")
            } else {
                #expect(try await original("DELETE FROM media WHERE expires_at < NOW();", shop) == nil)
            }
            #expect(try await shop.messenger.count("media") == 0)
            let left = try FileManager.default.contentsOfDirectory(atPath: shop.directory.path("blobs"))
            #expect(left.count == (isOurs ? 1 : 3))
        }
    }

    /// A parent table whose key has another name: the column in the sub-select is silently that of the outer row. With no
    /// parent at all everything goes, with one of them nothing does, and no error says so.
    @Test(arguments: [0, 1])
    func orphanedAttachments(parents: Int) async throws {
        let shop = try await Workshop.make(
            """
            CREATE TABLE mails (id bigint PRIMARY KEY);
            INSERT INTO mails SELECT generate_series(1, \(parents));
            INSERT INTO message_media (message_id, created_at) SELECT n, now() - interval '2 days'
                FROM generate_series(1, 20) n;
            """)
        let sql = "DELETE FROM message_media WHERE message_id NOT IN (SELECT message_id FROM mails);"
        #expect(try await original(sql, shop) == nil)
        #expect(try await shop.messenger.count("message_media") == (parents == 0 ? 0 : 20))

        let wrong = OrphanDeletion(
            TableName("message_media"), column: "message_id", parent: TableName("mails"), parentColumn: "message_id",
            ageColumn: "created_at", limits: DeletionLimits(share: 1))
        let refused = try await run(.deleteOrphans(wrong), shop)
        #expect(refused.result == .failed && refused.reason?.contains("no column 'message_id'") == true)
        guard parents > 0 else { return }
        var right = wrong
        right.parentColumn = "id"
        #expect(try await run(.deleteOrphans(right), shop).rows == 19)
    }

    /// A session that is written before its user is committed looks like an orphan to the statement.
    @Test func orphanedSessions() async throws {
        let content = """
            INSERT INTO users SELECT generate_series(1, 3);
            INSERT INTO user_sessions (user_id, created_at) VALUES (1, now()), (900, now()), (901, now() - interval '2 days');
            """
        let sql = "DELETE FROM user_sessions WHERE user_id NOT IN (SELECT user_id FROM users);"
        let shop = try await Workshop.make(content)
        #expect(try await original(sql, shop) == nil)
        #expect(try await shop.messenger.sql("SELECT string_agg(user_id::text, ',') FROM user_sessions") == "1")

        let ours = try await Workshop.make(content)
        let work = OrphanDeletion(
            TableName("user_sessions"), column: "user_id", parent: TableName("users"), parentColumn: "user_id",
            ageColumn: "created_at")
        #expect(try await run(.deleteOrphans(work), ours).rows == 1)
        #expect(
            try await ours.messenger.sql("SELECT string_agg(user_id::text, ',' ORDER BY 1) FROM user_sessions")
                == "1,900")
    }

    /// One transaction for all of it: a cancel near the end undoes everything.
    @Test func temporarySessions() async throws {
        let content = """
            INSERT INTO temp_sessions (created_at) SELECT now() - interval '2 days' FROM generate_series(1, 20000);
            INSERT INTO temp_sessions (created_at) SELECT now() FROM generate_series(1, 10);
            CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN IF OLD.id = (SELECT max(id::text)::uuid FROM last) THEN PERFORM pg_sleep(100); END IF; RETURN OLD; END $$;
            CREATE TABLE last AS SELECT max(id::text)::uuid AS id FROM temp_sessions WHERE created_at < now() - interval '1 day';
            """
        let shop = try await Workshop.make(
            content + "CREATE TRIGGER slow BEFORE DELETE ON temp_sessions FOR EACH ROW EXECUTE FUNCTION slow();")
        let failure = try await original(
            "SET statement_timeout = '3s'; DELETE FROM temp_sessions WHERE created_at < NOW() - INTERVAL '24 hours';",
            shop)
        #expect(failure?.contains("statement timeout") == true)
        #expect(try await shop.messenger.count("temp_sessions") == 20_010)

        let ours = try await Workshop.make(content)
        let work = RowDeletion(TableName("temp_sessions"), column: "created_at", age: 86400)
        #expect(try await run(.deleteRows(work), ours).rows == 20_000)
        #expect(try await ours.messenger.count("temp_sessions") == 10)
    }

    /// The statement deletes evidence: rows under a legal hold, and rows whose category is kept for years.
    @Test func auditLogs() async throws {
        let content = """
            INSERT INTO audit_logs (category, legal_hold, created_at) VALUES
                ('login', false, now() - interval '100 days'), ('login', true, now() - interval '100 days'),
                ('billing', false, now() - interval '100 days'), ('login', false, now());
            """
        let shop = try await Workshop.make(content)
        let sql = "DELETE FROM audit_logs WHERE created_at < NOW() - INTERVAL '90 days';"
        #expect(try await original(sql, shop) == nil)
        #expect(try await shop.messenger.count("audit_logs") == 1)

        let ours = try await Workshop.make(content)
        let archive = ours.directory.path("archive")
        try FileManager.default.createDirectory(atPath: archive, withIntermediateDirectories: false)
        let work = RowArchival(
            rows: RowDeletion(TableName("audit_logs"), column: "created_at"), directory: archive,
            retention: ["login": 90 * 86400, "billing": 7 * 365 * 86400], categoryColumn: "category",
            holdColumn: "legal_hold")
        #expect(try await run(.archiveRows(work), ours).rows == 1)
        #expect(try await ours.messenger.count("audit_logs") == 3)
        #expect(try FileManager.default.contentsOfDirectory(atPath: archive).contains { $0.hasSuffix(".jsonl") })
    }
}
