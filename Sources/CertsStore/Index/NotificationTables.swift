package import CertsCore
package import Foundation
import GRDB

extension Database: NotificationStore {
    package func told(to channel: Name) async throws -> [Name: Set<Trouble>] {
        try await read { database in
            let sql = "SELECT certificate, troubles FROM told WHERE channel = ?"
            let rows = try Row.fetchAll(database, sql: sql, arguments: [channel.rawValue])
            return try Dictionary(
                rows.map { (try Name(try $0.decode(atIndex: 0)), try Self.troubles(try $0.decode(atIndex: 1))) },
                uniquingKeysWith: { first, _ in first })
        }
    }

    package func setTold(_ changes: [ToldChange], to channel: Name) async throws {
        try await write { try Self.apply(changes, to: channel, in: $0) }
    }

    package func channelRecords() async throws -> [ChannelRecord] {
        try await read { database in
            let sql = """
                SELECT name, failures, consecutive_failures, sent, last_success_at, last_failure_at, last_error, digest_at,
                    (SELECT count(*) FROM message WHERE message.channel = channel.name)
                FROM channel ORDER BY name
                """
            return try Row.fetchAll(database, sql: sql).map(ChannelRecord.init(row:))
        }
    }

    package func setDigest(_ date: Date, of channel: Name) async throws {
        try await write { database in
            try Self.makeRecord(of: channel, in: database)
            try database.execute(
                sql: "UPDATE channel SET digest_at = ? WHERE name = ?", arguments: [date.column, channel.rawValue])
        }
    }

    package func enqueue(_ message: PendingMessage) async throws -> Bool {
        let document = try StoredJSON.encode(message.message)
        let told = try StoredJSON.encode(message.told)
        return try await write { database in
            try Self.makeRecord(of: message.channel, in: database)
            try database.execute(
                sql: """
                    INSERT OR IGNORE INTO message (channel, kind, document, told, attempts, made_at, next_attempt_at)
                    VALUES (?, ?, ?, ?, ?, ?, ?)
                    """,
                arguments: [
                    message.channel.rawValue, message.message.kind.rawValue, document, told, message.attempts,
                    message.message.at.column, message.nextAttemptAt.column,
                ])
            return database.changesCount > 0
        }
    }

    package func pendingMessages(by date: Date?) async throws -> [PendingMessage] {
        try await read { database in
            let sql = """
                SELECT channel, document, told, attempts, next_attempt_at FROM message
                WHERE next_attempt_at <= ? ORDER BY made_at, channel, kind
                """
            let latest = date?.column ?? .greatestFiniteMagnitude
            return try Row.fetchAll(database, sql: sql, arguments: [latest]).map { row in
                PendingMessage(
                    channel: try Name(try row.decode(atIndex: 0)),
                    message: try StoredJSON.decode(NotificationMessage.self, from: try row.decode(atIndex: 1)),
                    told: try StoredJSON.decode([ToldChange].self, from: try row.decode(atIndex: 2)),
                    attempts: try row.decode(atIndex: 3),
                    nextAttemptAt: Date(timeIntervalSince1970: try row.decode(atIndex: 4)))
            }
        }
    }

    package func confirm(_ message: PendingMessage, at date: Date) async throws {
        try await write { database in
            try Self.remove(message, in: database)
            try Self.apply(message.told, to: message.channel, in: database)
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
                        UPDATE message SET attempts = attempts + 1, next_attempt_at = ? WHERE channel = ? AND kind = ?
                        """,
                    arguments: [next.column, message.channel.rawValue, message.message.kind.rawValue])
            } else {
                try Self.remove(message, in: database)
            }
            try database.execute(
                sql: """
                    UPDATE channel SET failures = failures + 1, consecutive_failures = consecutive_failures + 1,
                        last_failure_at = ?, last_error = ?
                    WHERE name = ?
                    """, arguments: [date.column, reason, message.channel.rawValue])
        }
    }

    package func forgetChannels(except names: Set<Name>) async throws {
        let known = try await channelRecords().map(\.channel)
        let gone = known.filter { !names.contains($0) }
        guard !gone.isEmpty else { return }
        try await write { database in
            for name in gone {
                for table in ["told WHERE channel", "message WHERE channel", "channel WHERE name"] {
                    try database.execute(sql: "DELETE FROM \(table) = ?", arguments: [name.rawValue])
                }
            }
        }
    }

    // MARK: Parts

    private static func makeRecord(of channel: Name, in database: GRDB.Database) throws {
        try database.execute(
            sql: "INSERT OR IGNORE INTO channel (name) VALUES (?)", arguments: [channel.rawValue])
    }

    private static func remove(_ message: PendingMessage, in database: GRDB.Database) throws {
        try database.execute(
            sql: "DELETE FROM message WHERE channel = ? AND kind = ?",
            arguments: [message.channel.rawValue, message.message.kind.rawValue])
    }

    private static func apply(_ changes: [ToldChange], to channel: Name, in database: GRDB.Database) throws {
        if !changes.isEmpty { try makeRecord(of: channel, in: database) }
        for change in changes {
            if change.troubles.isEmpty {
                try database.execute(
                    sql: "DELETE FROM told WHERE channel = ? AND certificate = ?",
                    arguments: [channel.rawValue, change.certificate.rawValue])
            } else {
                let words = change.troubles.map(\.rawValue).sorted().joined(separator: ",")
                try database.execute(
                    sql: "INSERT OR REPLACE INTO told (channel, certificate, troubles) VALUES (?, ?, ?)",
                    arguments: [channel.rawValue, change.certificate.rawValue, words])
            }
        }
    }

    private static func troubles(_ words: String) throws -> Set<Trouble> {
        Set(
            try words.split(separator: ",").map { word in
                guard let trouble = Trouble(rawValue: String(word)) else { throw Unpacker.Malformed() }
                return trouble
            })
    }
}

extension ChannelRecord {
    fileprivate init(row: Row) throws {
        func date(_ index: Int) throws -> Date? {
            try row.decode(Double?.self, atIndex: index).map { Date(timeIntervalSince1970: $0) }
        }
        self.init(channel: try Name(try row.decode(atIndex: 0)))
        failures = try row.decode(atIndex: 1)
        consecutiveFailures = try row.decode(atIndex: 2)
        sent = try row.decode(atIndex: 3)
        (lastSuccessAt, lastFailureAt) = (try date(4), try date(5))
        lastError = try row.decode(atIndex: 6)
        digestAt = try date(7)
        pending = try row.decode(atIndex: 8)
    }
}

extension StateDirectory {
    /// The lock of the process that sends notifications, on `notifications/`; waits up to `deadline`.
    /// - Throws: `lock.held` when somebody else still holds it then.
    package func lockNotifications(deadline: Duration) async throws -> any HeldLock {
        try await KernelLock.take(
            "notifications", path: "\(path)/\(Self.notificationsName)", deadline: deadline, on: pool
        ) { [self] in try root.makeFolder(Self.notificationsName) }
    }
}
