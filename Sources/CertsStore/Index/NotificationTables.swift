package import CertsCore
package import Foundation
import GRDB

extension Database: NotificationStore {
    package func decide<Value: Sendable>(
        _ body: @escaping @Sendable (any NotificationLedger) throws -> Value
    ) async throws -> Value {
        try await write { try body(LedgerTransaction(database: $0)) }
    }

    package func changeCount() async throws -> Int {
        try await read { try LedgerTransaction(database: $0).changeCount() }
    }

    package func channelRecords() async throws -> [ChannelRecord] {
        try await read { try LedgerTransaction(database: $0).records() }
    }

    package func pendingMessages(to channel: Name?, by date: Date?) async throws -> [PendingMessage] {
        try await read { database in
            let sql = """
                SELECT channel, document, told, attempts, next_attempt_at FROM message
                WHERE (next_attempt_at <= :now OR next_attempt_at > :now + \(Self.farthestAttempt))
                    AND (:channel IS NULL OR channel = :channel)
                ORDER BY made_at, channel, kind
                """
            let arguments: StatementArguments = [
                "now": date?.column ?? .greatestFiniteMagnitude, "channel": channel?.rawValue,
            ]
            return try Row.fetchAll(database, sql: sql, arguments: arguments).map { row in
                PendingMessage(
                    channel: try Name(try row.decode(atIndex: 0)),
                    message: try StoredJSON.decode(NotificationMessage.self, from: try row.decode(atIndex: 1)),
                    told: try StoredJSON.decode([ToldChange].self, from: try row.decode(atIndex: 2)),
                    attempts: try row.decode(atIndex: 3),
                    nextAttemptAt: Date(timeIntervalSince1970: try row.decode(atIndex: 4)))
            }
        }
    }

    /// In seconds; more than a message is ever put off.
    private static let farthestAttempt = 3600

    package func confirm(_ message: PendingMessage, at date: Date) async throws {
        try await write { database in
            // One that another has removed meanwhile is no longer what was told last.
            if try Self.remove(message, in: database) {
                try LedgerTransaction(database: database).setTold(message.told, to: message.channel)
            }
            try database.execute(
                sql: """
                    UPDATE channel SET sent = sent + 1, consecutive_failures = 0, last_success_at = ? WHERE name = ?
                    """, arguments: [date.column, message.channel.rawValue])
        }
    }

    package func postpone(
        _ message: PendingMessage, because reason: String, at date: Date, until next: Date?
    ) async throws {
        try await write { database in
            if let next {
                try database.execute(
                    sql: """
                        UPDATE message SET attempts = attempts + 1, next_attempt_at = ?
                        WHERE channel = ? AND kind = ? AND id = ?
                        """,
                    arguments: [
                        next.column, message.channel.rawValue, message.message.kind.rawValue, message.message.id,
                    ])
            } else {
                _ = try Self.remove(message, in: database)
            }
            try database.execute(
                sql: """
                    UPDATE channel SET failures = failures + 1, consecutive_failures = consecutive_failures + 1,
                        last_failure_at = ?, last_error = ?
                    WHERE name = ?
                    """, arguments: [date.column, reason, message.channel.rawValue])
        }
    }

    package func markWorking(_ channel: Name, at date: Date) async throws {
        try await write { database in
            try LedgerTransaction(database: database).makeRecord(of: channel)
            try database.execute(
                sql: """
                    UPDATE channel SET sent = sent + 1, consecutive_failures = 0, last_success_at = ? WHERE name = ?
                    """, arguments: [date.column, channel.rawValue])
            try database.execute(
                sql: "UPDATE message SET next_attempt_at = min(next_attempt_at, ?) WHERE channel = ?",
                arguments: [date.column, channel.rawValue])
        }
    }

    /// - Returns: whether it was still there, and not another one of its kind.
    private static func remove(_ message: PendingMessage, in database: GRDB.Database) throws -> Bool {
        try database.execute(
            sql: "DELETE FROM message WHERE channel = ? AND kind = ? AND id = ?",
            arguments: [message.channel.rawValue, message.message.kind.rawValue, message.message.id])
        return database.changesCount > 0
    }
}

extension StateDirectory {
    /// The lock of the process that sends to a channel, on `notifications/CHANNEL/`; waits up to `deadline`.
    /// - Throws: `lock.held` when somebody else still holds it then.
    package func lockNotifications(to channel: Name, deadline: Duration) async throws -> any HeldLock {
        try await KernelLock.take(
            "the channel \(channel)", path: "\(path)/\(Self.notificationsName)/\(channel)", deadline: deadline, on: pool
        ) { [self] in try root.makeFolder(Self.notificationsName).makeFolder(channel.rawValue) }
    }
}
