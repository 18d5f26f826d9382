import CertsCore
import CertsMaintenance
import CertsTesting
import Foundation
import Testing

/// A database with the tables of a messenger service, and with the traps that such tables have.
struct Messenger: Sendable {
    /// `reply_to` has no ON DELETE; `message_media.message_id` may be NULL and refers to nothing; `"odd ""table"` is a
    /// name like any other.
    static let schema = """
        CREATE TABLE users (user_id bigint PRIMARY KEY, last_seen timestamptz, signed_prekey_at timestamptz);
        CREATE TABLE messages (
            message_id bigint PRIMARY KEY, sender bigint REFERENCES users, body text, expires_at timestamptz,
            media_id bigint, reply_to bigint REFERENCES messages);
        CREATE INDEX messages_expiry ON messages (expires_at);
        CREATE INDEX messages_reply ON messages (reply_to);
        CREATE TABLE message_inbox (
            user_id bigint, message_id bigint REFERENCES messages ON DELETE CASCADE, PRIMARY KEY (user_id, message_id));
        CREATE TABLE media (media_id bigint PRIMARY KEY, blob_key text, thumbnail_key text, expires_at timestamptz);
        CREATE TABLE message_media (id bigserial PRIMARY KEY, message_id bigint, created_at timestamptz DEFAULT now());
        CREATE TABLE user_sessions (id bigserial PRIMARY KEY, user_id bigint, created_at timestamptz DEFAULT now());
        CREATE TABLE verification_codes (phone text, code text, attempts int, expires_at timestamptz);
        CREATE INDEX verification_codes_phone ON verification_codes (phone, expires_at);
        CREATE TABLE rate_limits (
            subject text, action text, window_start timestamp, window_seconds int, hits int,
            PRIMARY KEY (subject, action));
        CREATE TABLE one_time_prekeys (id bigserial PRIMARY KEY, user_id bigint, used_at timestamptz);
        CREATE TABLE temp_sessions (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), created_at timestamptz);
        CREATE TABLE audit_logs (
            id bigserial PRIMARY KEY, category text, legal_hold boolean NOT NULL DEFAULT false, entry jsonb,
            created_at timestamptz);
        CREATE TABLE "odd ""table" ("when it; ends" date, "select" text PRIMARY KEY);
        """

    let server: RealPostgres
    let database: String

    var declaration: DatabaseDeclaration { server.declaration(database) }

    static func make(_ content: String = "", on own: RealPostgres? = nil) async throws -> Messenger {
        let server = if let own { own } else { try await RealPostgres.shared() }
        let database = try await BlockingPool.network.run { try server.makeDatabase(schema + content) }
        return Messenger(server: server, database: database)
    }

    @discardableResult
    func sql(_ sql: String) async throws -> String {
        try await BlockingPool.network.run { try server.psql(sql, database: database) }
    }

    func count(_ table: String) async throws -> Int { Int(try await sql("SELECT count(*) FROM \(table)")) ?? -1 }

    func withSession<Value: Sendable>(
        application: String = "certs:test", _ body: @escaping @Sendable (PostgresSession) throws -> Value
    ) async throws -> Value {
        try await BlockingPool.network.run {
            try body(PostgresSession(declaration, password: nil, application: application))
        }
    }

    static func control(_ deadline: Duration = .seconds(120), _ interrupt: JobInterrupt = JobInterrupt()) -> JobControl
    {
        JobControl(deadline: .now + deadline, interrupt: interrupt, now: { Date() })
    }

    /// Runs a deletion of rows to its end.
    func delete(
        _ work: RowDeletion, quarantine: [QuarantinedRow] = [], control: JobControl = Messenger.control()
    ) async throws -> BatchDeletion.Outcome {
        try await withSession { session in
            var deletion = BatchDeletion(
                try Deletion.make(work, in: session), in: session, quarantine: quarantine, control: control)
            try deletion.run()
            return deletion.outcome
        }
    }

    func preview(_ work: RowDeletion, sample: Int = 100_000) async throws -> DeletionPreview {
        try await withSession { session in
            try DeletionPreview.make(try Deletion.make(work, in: session), in: session, sample: sample)
        }
    }

    static let expired = RowDeletion(TableName("messages"), column: "expires_at", counter: .expiredMessages)
}
