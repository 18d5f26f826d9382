import CertsCore
import Foundation

/// A database that is made for one restore, and known as ours: `certs_scratch_` and 16 random digits, with a comment.
/// Its maker holds an advisory lock while it lives, so that one whose maker is dead is known. Blocking.
enum ScratchDatabase {
    static let prefix = "certs_scratch_"
    private static let comment = "scratch of certs: dropped when its restore is over"
    /// `CERS` in ASCII.
    private static let lockClass: Int32 = 0x4345_5253

    static func newName() -> String {
        prefix + Hex.encode((0..<8).map { _ in UInt8.random(in: 0...255) })
    }

    /// - Parameter session: connected to another database; the scratch lives no longer than it.
    static func make(
        _ name: String, _ properties: DatabaseProperties, _ session: PostgresSession, within limit: Duration
    )
        throws
    {
        try session.run("SET statement_timeout = 0")
        guard try lock(name, session) else { throw CertsError(.internal, "the scratch database \(name) is taken") }
        let provider: SQL =
            properties.icuLocale.map { " LOCALE_PROVIDER icu ICU_LOCALE \(literal: $0)" } ?? ""
        try session.run(
            """
            CREATE DATABASE \(name: name) TEMPLATE template0 ENCODING \(literal: properties.encoding)
            LC_COLLATE \(literal: properties.collation) LC_CTYPE \(literal: properties.characterType)\(provider)
            """, within: limit)
        try session.run("COMMENT ON DATABASE \(name: name) IS \(literal: comment)")
        // What is half restored is nobody's business.
        try session.run("REVOKE ALL ON DATABASE \(name: name) FROM PUBLIC")
    }

    static func drop(_ name: String, _ session: PostgresSession) throws {
        // It waits for a checkpoint.
        try session.run("SET statement_timeout = 0")
        try session.run("DROP DATABASE IF EXISTS \(name: name) WITH (FORCE)", within: .seconds(120))
    }

    /// Drops those whose maker is dead, as far as the role may.
    ///
    /// - Returns: their names.
    @discardableResult
    static func sweep(_ session: PostgresSession) throws -> [String] {
        // Without a comment: its maker died between two statements.
        let names = try session.run(
            """
            SELECT datname FROM pg_database
            WHERE pg_has_role(datdba, 'USAGE') AND datname ~ \(value: "^\(prefix)[0-9a-f]{16}$")
              AND coalesce(shobj_description(oid, 'pg_database'), \(value: comment)) = \(value: comment)
            """
        ).values
        var dropped: [String] = []
        for name in names where try lock(name, session) {
            // Somebody else may be dropping it: that is no reason not to begin.
            let isDropped = (try? drop(name, session)) != nil
            try session.run("SELECT pg_advisory_unlock(\(value: Int(lockClass))::int4, hashtext(\(value: name)))")
            if isDropped { dropped.append(name) }
        }
        return dropped
    }

    private static func lock(_ name: String, _ session: PostgresSession) throws -> Bool {
        try session.run("SELECT pg_try_advisory_lock(\(value: Int(lockClass))::int4, hashtext(\(value: name)))").flag
    }
}
