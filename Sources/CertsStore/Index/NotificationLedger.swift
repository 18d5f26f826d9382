import CertsCore
import Foundation
import GRDB

/// The tables of notifications within one transaction.
struct LedgerTransaction: NotificationLedger {
    let database: GRDB.Database

    func compactMapStates<Value>(_ transform: (CertificateState) throws -> Value?) throws -> [Value] {
        try Database.compactMapStates(in: database, transform)
    }

    func changeCount() throws -> Int {
        try Int.fetchOne(database, sql: "SELECT count FROM notification_change") ?? 0
    }

    func records() throws -> [ChannelRecord] {
        let sql = """
            SELECT name, failures, consecutive_failures, sent, last_success_at, last_failure_at, last_error, digest_at,
                (SELECT count(*) FROM message WHERE message.channel = channel.name)
            FROM channel ORDER BY name
            """
        return try Row.fetchAll(database, sql: sql).map(ChannelRecord.init(row:))
    }

    func told(to channel: Name) throws -> [Name: Set<Trouble>] {
        let sql = "SELECT certificate, troubles FROM told WHERE channel = ?"
        let rows = try Row.fetchAll(database, sql: sql, arguments: [channel.rawValue])
        return try Dictionary(
            rows.map { (try Name(try $0.decode(atIndex: 0)), try Self.troubles(try $0.decode(atIndex: 1))) },
            uniquingKeysWith: { first, _ in first })
    }

    func setTold(_ changes: [ToldChange], to channel: Name) throws {
        if !changes.isEmpty { try makeRecord(of: channel) }
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

    func setDigest(_ date: Date, of channel: Name) throws {
        try makeRecord(of: channel)
        try database.execute(
            sql: "UPDATE channel SET digest_at = ? WHERE name = ?", arguments: [date.column, channel.rawValue])
    }

    func enqueue(_ message: PendingMessage, isReplacing: Bool) throws -> Bool {
        try makeRecord(of: message.channel)
        try database.execute(
            sql: """
                INSERT OR \(isReplacing ? "REPLACE" : "IGNORE")
                INTO message (channel, kind, id, document, told, attempts, made_at, next_attempt_at)
                VALUES (?, ?, ?, ?, ?, ?, ?, ?)
                """,
            arguments: [
                message.channel.rawValue, message.message.kind.rawValue, message.message.id,
                try StoredJSON.encode(message.message), try StoredJSON.encode(message.told), message.attempts,
                message.message.at.column, message.nextAttemptAt.column,
            ])
        return database.changesCount > 0
    }

    func declare(_ channels: Set<Name>, at now: Date) throws {
        let rows = try Row.fetchAll(database, sql: "SELECT name, declared_at FROM channel")
        var known: [Name: Date] = [:]
        for row in rows {
            let date: Double? = try row.decode(atIndex: 1)
            // Noted by a clock that was ahead, or by a version that did not: from now on.
            known[try Name(try row.decode(atIndex: 0))] =
                date.map { Date(timeIntervalSince1970: $0) }.flatMap {
                    $0 <= now ? $0 : nil
                } ?? .distantPast
        }
        for channel in channels {
            let last = known[channel] ?? .distantPast
            guard last < now.addingTimeInterval(-Self.declaredAgain) else { continue }
            try makeRecord(of: channel)
            try setDeclared(channel, now)
            // What waits since before it was taken out, or since the machine was off, is no news: what is still true is
            // told by a new message.
            if last != .distantPast, last < now.addingTimeInterval(-2 * Self.declaredAgain) {
                try database.execute(sql: "DELETE FROM message WHERE channel = ?", arguments: [channel.rawValue])
            }
        }
        for (channel, last) in known where !channels.contains(channel) {
            if last == .distantPast {
                try setDeclared(channel, now)
            } else if last < now.addingTimeInterval(-ChannelRecord.memory) {
                try forget(channel)
            }
        }
    }

    /// A channel that stays declared is noted this often, in seconds: not with each decision.
    private static let declaredAgain: TimeInterval = 86400

    private func setDeclared(_ channel: Name, _ date: Date) throws {
        try database.execute(
            sql: "UPDATE channel SET declared_at = ? WHERE name = ?", arguments: [date.column, channel.rawValue])
    }

    private func forget(_ channel: Name) throws {
        for table in ["told WHERE channel", "message WHERE channel", "channel WHERE name"] {
            try database.execute(sql: "DELETE FROM \(table) = ?", arguments: [channel.rawValue])
        }
    }

    func makeRecord(of channel: Name) throws {
        try database.execute(
            sql: "INSERT OR IGNORE INTO channel (name) VALUES (?)", arguments: [channel.rawValue])
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
