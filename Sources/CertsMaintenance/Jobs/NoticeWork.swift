import CertsCore
import Foundation

/// Tells users through Redis, each once within the cool-down. Blocking.
///
/// `PUBLISH` to nobody is lost, so a notice that nobody heard waits in the list `CHANNEL:pending`.
struct NoticeWork {
    let session: PostgresSession
    let redis: RedisConnection
    let job: Name
    let control: JobControl
    private(set) var told = 0
    /// Users that the condition holds for, told or not.
    private(set) var found = 0
    private(set) var reason: String?

    private static let page = 500
    /// Of the list of notices that nobody heard.
    private static let pendingLimit = "100000"

    init(job: Name, in session: PostgresSession, redis: RedisConnection, control: JobControl) {
        self.job = job
        self.session = session
        self.redis = redis
        self.control = control
    }

    /// Users whose key is older than `age`, oldest first, all of them.
    mutating func run(_ check: KeyRotationCheck) throws {
        let facts = try TableFacts.look(check.users, in: session)
        let key = try facts.column(check.key)
        let type = try facts.column(check.column, of: TableFacts.times).type
        let cutOff = Deletion.moment(try Deletion.cutOff(check.age, in: session), as: type)
        var condition: SQL = "u.\(name: check.column) < \(cutOff)"
        if let seen = check.seenColumn {
            let type = try facts.column(seen, of: TableFacts.times).type
            let since = Deletion.moment(try Deletion.cutOff(check.seenWithin, in: session), as: type)
            condition = "\(condition) AND u.\(name: seen) >= \(since)"
        }
        try tell(check.notice, type: "key_rotation_due") { last in
            var after: SQL = ""
            if let last {
                after = """
                     AND (u.\(name: check.column), u.\(name: check.key)) > \
                    (\(value: last.order)::\(name: "pg_catalog").\(name: type), \
                    \(value: last.key)::\(name: key.typeSchema).\(name: key.type))
                    """
            }
            return """
                SELECT u.\(name: check.key)::text, u.\(name: check.column)::text FROM \(table: check.users) AS u \
                WHERE \(condition)\(after) ORDER BY u.\(name: check.column), u.\(name: check.key) \
                LIMIT \(value: Self.page)::int8
                """
        }
    }

    /// Users with fewer than `minimum` unused pre-keys; who has none at all is one of them.
    mutating func run(_ check: PrekeyCheck) throws {
        let users = try TableFacts.look(check.users, in: session)
        let prekeys = try TableFacts.look(check.prekeys, in: session)
        let key = try users.column(check.key)
        try prekeys.column(check.userColumn)
        var unused: SQL = "true"
        if let used = check.usedColumn {
            let type = try prekeys.column(used, of: TableFacts.times.union(["bool"])).type
            unused = type == "bool" ? "p.\(name: used) IS NOT TRUE" : "p.\(name: used) IS NULL"
        }
        let condition = unused
        try tell(check.notice, type: "prekeys_low") { last in
            var after: SQL = ""
            if let last {
                after = "WHERE u.\(name: check.key) > \(value: last.key)::\(name: key.typeSchema).\(name: key.type)"
            }
            return """
                SELECT u.\(name: check.key)::text, count(p.\(name: check.userColumn))::text \
                FROM \(table: check.users) AS u LEFT JOIN \(table: check.prekeys) AS p \
                ON p.\(name: check.userColumn) = u.\(name: check.key) AND \(condition) \(after) \
                GROUP BY u.\(name: check.key) HAVING count(p.\(name: check.userColumn)) < \(value: check.minimum)::int8 \
                ORDER BY u.\(name: check.key) LIMIT \(value: Self.page)::int8
                """
        }
    }

    /// Page by page, so that the users after the first page are not forgotten.
    private mutating func tell(
        _ notice: NoticePolicy, type: String, _ page: ((key: String, order: String)?) -> SQL
    ) throws {
        var last: (key: String, order: String)?
        while true {
            let rows = try session.run(page(last)).rows
            for row in rows {
                guard let key = row[0], let order = row[1] else { continue }
                if control.isOver { return reason = control.ending }
                found += 1
                if try tell(key, notice, type) { told += 1 }
                last = (key, order)
            }
            if rows.count < Self.page { return }
        }
    }

    /// - Returns: whether the user was told now, and not within the cool-down.
    private func tell(_ user: String, _ notice: NoticePolicy, _ type: String) throws -> Bool {
        let mark = "certs:notice:\(job):\(user)"
        let seconds = String(max(1, Int(notice.coolDown)))
        guard try redis.run("SET", mark, "1", "NX", "EX", seconds) != .null else { return false }
        do {
            let message = try Self.message(user, type)
            if try redis.run("PUBLISH", notice.channel, message) == .integer(0) {
                let pending = "\(notice.channel):pending"
                try redis.run("LPUSH", pending, message)
                try redis.run("LTRIM", pending, "0", Self.pendingLimit)
            }
            return true
        } catch {
            // Not told after all: the next run must not find the mark.
            _ = try? redis.run("DEL", mark)
            throw error
        }
    }

    private static func message(_ user: String, _ type: String) throws -> String {
        struct Message: Encodable {
            let type: String
            let user: String

            enum CodingKeys: String, CodingKey {
                case type
                case user = "user_id"
            }
        }
        return String(decoding: try StoredJSON.encode(Message(type: type, user: user)), as: UTF8.self)
    }
}
