import CertsCore
import CertsMaintenance
import CertsTesting
import Foundation
import Testing

/// `certs maintenance plan` lists exactly what `run` then deletes, for every kind of job that deletes rows.
@Suite(.timeLimit(.minutes(10))) struct PlanIsRunTests {
    struct Case: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let table: String
        let key: String
        let work: @Sendable (TemporaryDirectory) -> JobWork
    }

    private static let content = """
        INSERT INTO messages SELECT n, NULL, 'text', now() - interval '1 hour' FROM generate_series(1, 400) n;
        INSERT INTO messages SELECT n, NULL, 'text', NULL FROM generate_series(401, 500) n;
        UPDATE messages SET reply_to = 7 WHERE message_id = 450;
        UPDATE messages SET media_id = 3 WHERE message_id = 460;
        INSERT INTO message_inbox SELECT 1, n FROM generate_series(1, 300) n;
        INSERT INTO media SELECT n, 'f' || n, NULL, now() - interval '1 hour' FROM generate_series(1, 40) n;
        UPDATE media SET blob_key = '../f8' WHERE media_id = 8;
        UPDATE media SET thumbnail_key = '/etc/passwd' WHERE media_id = 9;
        UPDATE media SET thumbnail_key = 'a//b' WHERE media_id = 10;
        INSERT INTO message_media (message_id, created_at)
            SELECT n, now() - interval '2 days' FROM generate_series(1, 510) n;
        INSERT INTO verification_codes SELECT n::text, n::text, 0, now() - n * interval '1 minute'
            FROM generate_series(1, 200) n;
        INSERT INTO rate_limits SELECT n::text, 'a', (now() AT TIME ZONE 'UTC') - n * interval '1 minute', 3600, 1
            FROM generate_series(1, 200) n;
        INSERT INTO temp_sessions (created_at) SELECT now() - n * interval '1 hour' FROM generate_series(1, 100) n;
        INSERT INTO audit_logs (category, legal_hold, created_at) SELECT 'login', n % 10 = 0, now() - n * interval '10 days'
            FROM generate_series(1, 100) n;
        INSERT INTO "odd ""table" SELECT current_date - n, 'k' || n FROM generate_series(1, 50) n;
        """

    static let cases = [
        Case(testDescription: "expired messages", table: "messages", key: "message_id") { _ in
            .deleteRows(Messenger.expired)
        },
        Case(testDescription: "expired media", table: "media", key: "media_id") { directory in
            .deleteMedia(
                MediaDeletion(
                    rows: RowDeletion(
                        TableName("media"), column: "expires_at",
                        unless: .init(TableName("messages"), column: "media_id", key: "media_id")),
                    pathColumns: ["blob_key", "thumbnail_key"], directory: directory.path("blobs")))
        },
        Case(testDescription: "orphans", table: "message_media", key: "id") { _ in
            .deleteOrphans(
                OrphanDeletion(
                    TableName("message_media"), column: "message_id", parent: TableName("messages"),
                    parentColumn: "message_id", ageColumn: "created_at"))
        },
        Case(testDescription: "verification codes", table: "verification_codes", key: "ctid") { _ in
            .deleteRows(RowDeletion(TableName("verification_codes"), column: "expires_at", age: 3600))
        },
        Case(testDescription: "rate limits", table: "rate_limits", key: "jsonb_build_array(subject, action)") { _ in
            .deleteRows(
                RowDeletion(TableName("rate_limits"), column: "window_start", lengthColumn: "window_seconds"))
        },
        Case(testDescription: "temporary sessions", table: "temp_sessions", key: "id") { _ in
            .deleteRows(RowDeletion(TableName("temp_sessions"), column: "created_at", age: 86400))
        },
        Case(testDescription: "audit logs", table: "audit_logs", key: "id") { directory in
            .archiveRows(
                RowArchival(
                    rows: RowDeletion(TableName("audit_logs"), column: "created_at"),
                    directory: directory.path("archive"), retention: ["login": 365 * 86400], categoryColumn: "category",
                    holdColumn: "legal_hold"))
        },
        Case(testDescription: "odd names", table: "\"odd \"\"table\"", key: "\"select\"") { _ in
            .deleteRows(
                RowDeletion(TableName("odd \"table"), column: "when it; ends", limits: DeletionLimits(rows: 17)))
        },
    ]

    @Test(arguments: cases)
    func whatIsPlannedIsWhatGoes(_ item: Case) async throws {
        let shop = try await Workshop.make(Self.content)
        for folder in ["blobs", "archive"] {
            try FileManager.default.createDirectory(
                atPath: shop.directory.path(folder), withIntermediateDirectories: false)
        }
        try shop.directory.write("1", to: "blobs/f1")
        let job = try Workshop.job(item.work(shop.directory))
        let executor = shop.runner().executor
        let plan = try await executor.plan(job, sample: 1_000_000, control: Messenger.control())
        let before = try await keys(item, shop)
        let run = try await shop.runner().run(job, occurrence: nil, source: .command)
        let gone = before.subtracting(try await keys(item, shop))
        let planned = Set(plan.flatMap(\.keys).map { Substring($0) })
        #expect(!gone.isEmpty)
        #expect(planned.subtracting(gone).isEmpty && gone.subtracting(planned).isEmpty, "\(run.reason ?? "")")
        #expect(plan.map(\.count).reduce(0, +) == gone.count)
        #expect(plan.map(\.held).reduce(0, +) == run.quarantined, "\(run.reason ?? "")")
    }

    private func keys(_ item: Case, _ shop: Workshop) async throws -> Set<Substring> {
        Set(try await shop.messenger.sql("SELECT \(item.key)::text FROM \(item.table)").split(separator: "\n"))
    }

    @Test func whatARunWouldRefuseIsRefusedByThePlan() async throws {
        let shop = try await Workshop.make(Self.content)
        try FileManager.default.createDirectory(
            atPath: shop.directory.path("blobs"), withIntermediateDirectories: false)
        var capped = Messenger.expired
        capped.limits = DeletionLimits(share: 0.05)
        let media = Self.cases[1].work(shop.directory)
        for (work, words) in [(JobWork.deleteRows(capped), "the cap is 5 %"), (media, "is empty")] {
            let job = try Workshop.job(work)
            let plan = try await shop.runner().executor.plan(job, sample: 10, control: Messenger.control())
            #expect(plan.map(\.count) == [0] && plan.map(\.keys) == [[]])
            #expect(plan.first?.refusal?.contains(words) == true)
            let run = try await shop.runner().run(job, occurrence: nil, source: .command)
            #expect(run.result == .refused)
        }
    }

    @Test func rowsThatGoWithOthersAreNamed() async throws {
        let shop = try await Workshop.make(Self.content)
        let plan = try await shop.runner().executor.plan(
            try Workshop.job(), sample: 10, control: Messenger.control())
        // 7 is held by a reply that stays.
        #expect(plan.first?.warnings.contains { $0.contains("299 rows of message_inbox go with them") } == true)
        try await shop.runner().run(try Workshop.job(), occurrence: nil, source: .command)
        #expect(try await shop.messenger.count("message_inbox") == 1)
    }
}
