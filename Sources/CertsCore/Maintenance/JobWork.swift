package import Foundation

/// What a job does. Names of tables and columns come from the configuration and are looked up in the catalog of the
/// database before anything is done.
package enum JobWork: Sendable, Hashable {
    case deleteRows(RowDeletion)
    case deleteMedia(MediaDeletion)
    case deleteOrphans(OrphanDeletion)
    case archiveRows(RowArchival)
    case checkKeyRotation(KeyRotationCheck)
    case checkPrekeys(PrekeyCheck)
    case checkRedisKeys(RedisKeyCheck)
    case command(CommandWork)
    /// What `certs rotate` does.
    case renewCertificates
    case database(DatabaseWork)
    case backUp(DatabaseBackup)
    case testRestore(RestoreTest)
    case restore(DatabaseRestore)
    case backUpServer(PhysicalBackup)
    case host(HostJob)

    /// What it is about, for tables and errors: the table that rows are taken from; of a check the one of its users.
    package var subject: String {
        switch self {
        case .checkRedisKeys(let check): check.pattern
        case .command(let work): work.arguments.first ?? ""
        case .renewCertificates: "certificates"
        case .database(let work): work.subject
        case .backUp(let work): work.directory
        case .testRestore(let work): work.job?.rawValue ?? ""
        case .restore(let work): work.backup
        case .backUpServer(let work): work.stanza
        case .host(let job): job.subject
        default: table?.description ?? ""
        }
    }

    /// The table that rows are taken from; of a check the one of its users; `nil`: it is about no table.
    package var table: TableName? {
        switch self {
        case .deleteRows(let work): work.table
        case .deleteMedia(let work): work.rows.table
        case .deleteOrphans(let work): work.table
        case .archiveRows(let work): work.rows.table
        case .checkKeyRotation(let work): work.users
        case .checkPrekeys(let work): work.users
        default: nil
        }
    }

    /// Whether it works on the declared database, and so runs on one host at a time.
    package var usesDatabase: Bool {
        switch self {
        case .checkRedisKeys, .command, .renewCertificates, .backUpServer, .host: false
        default: true
        }
    }

    /// Whether it works on the declared Redis.
    package var usesRedis: Bool {
        switch self {
        case .checkKeyRotation, .checkPrekeys, .checkRedisKeys: true
        default: false
        }
    }

    /// Whether it shuts others out while it runs, and so waits for a time that is meant for that.
    package var isDisruptive: Bool {
        switch self {
        case .database(let work): work.isDisruptive
        default: false
        }
    }

    /// The word for it in tables and JSON.
    package var word: String {
        switch self {
        case .deleteRows: "delete rows"
        case .deleteMedia: "delete media"
        case .deleteOrphans: "delete orphans"
        case .archiveRows: "archive and delete rows"
        case .checkKeyRotation: "tell whose keys are old"
        case .checkPrekeys: "tell who is short of pre-keys"
        case .checkRedisKeys: "find keys that never expire"
        case .command: "run a program"
        case .renewCertificates: "rotate what is due"
        case .database(let work): work.word
        case .backUp: "back the database up"
        case .testRestore: "test a restore"
        case .restore: "restore the database"
        case .backUpServer: "back the server up"
        case .host(let job): job.word
        }
    }
}

/// A table, as the catalog spells it.
package struct TableName: Sendable, Hashable, CustomStringConvertible {
    package var schema: String
    package var name: String

    package init(_ name: String, schema: String = "public") {
        self.schema = schema
        self.name = name
    }

    package var description: String { schema == "public" ? name : "\(schema).\(name)" }
}

/// Rows whose column lies in the past.
package struct RowDeletion: Sendable, Hashable {
    package var table: TableName
    /// A point in time; rows without one stay.
    package var column: String
    /// How far in the past, in seconds.
    package var age: TimeInterval
    /// Seconds that a row adds to `column` by itself (the length of the window of a rate limit).
    package var lengthColumn: String?
    /// The column of another table that names the key of a row that has to stay.
    package var unless: Reference?
    package var limits: DeletionLimits
    /// A counter of the users' own that moves with each row.
    package var counter: WorkCounter?

    package init(
        _ table: TableName, column: String, age: TimeInterval = 0, lengthColumn: String? = nil,
        unless: Reference? = nil, limits: DeletionLimits = .init(), counter: WorkCounter? = nil
    ) {
        self.table = table
        self.column = column
        self.age = age
        self.lengthColumn = lengthColumn
        self.unless = unless
        self.limits = limits
        self.counter = counter
    }

    /// Rows of `table` whose `column` has the value of `key` of the row in question.
    package struct Reference: Sendable, Hashable {
        package var table: TableName
        package var column: String
        package var key: String

        package init(_ table: TableName, column: String, key: String) {
            self.table = table
            self.column = column
            self.key = key
        }
    }
}

/// What one run may take at most.
package struct DeletionLimits: Sendable, Hashable {
    package var rows: Int
    /// Of the table, from 0 to 1; `nil`: no matter how large a part.
    package var share: Double?

    package init(rows: Int = 10_000_000, share: Double? = nil) {
        self.rows = rows
        self.share = share
    }
}

/// Rows whose parent is gone.
package struct OrphanDeletion: Sendable, Hashable {
    package var table: TableName
    package var column: String
    package var parent: TableName
    package var parentColumn: String
    /// When a row was made: one that is younger than `age` may belong to a parent that is not committed yet.
    package var ageColumn: String
    package var age: TimeInterval
    package var limits: DeletionLimits

    package init(
        _ table: TableName, column: String, parent: TableName, parentColumn: String, ageColumn: String,
        age: TimeInterval = 86400, limits: DeletionLimits = .init(share: 0.05)
    ) {
        self.table = table
        self.column = column
        self.parent = parent
        self.parentColumn = parentColumn
        self.ageColumn = ageColumn
        self.age = age
        self.limits = limits
    }
}

/// Rows with a file: a run that is cut short leaves a row, never a file that nobody knows.
package struct MediaDeletion: Sendable, Hashable {
    package var rows: RowDeletion
    /// The columns that hold paths below `directory`; NULL: no file.
    package var pathColumns: [String]
    package var directory: String

    package init(rows: RowDeletion, pathColumns: [String], directory: String) {
        self.rows = rows
        self.pathColumns = pathColumns
        self.directory = directory
    }
}

/// Rows that are written to a file, read back and compared before they are deleted.
package struct RowArchival: Sendable, Hashable {
    package var rows: RowDeletion
    package var directory: String
    /// How long rows are kept, by the value of `categoryColumn`, in seconds; a category without one keeps its rows.
    package var retention: [String: TimeInterval]
    package var categoryColumn: String
    /// A boolean: rows in which it is true stay.
    package var holdColumn: String?

    package init(
        rows: RowDeletion, directory: String, retention: [String: TimeInterval], categoryColumn: String,
        holdColumn: String? = nil
    ) {
        self.rows = rows
        self.directory = directory
        self.retention = retention
        self.categoryColumn = categoryColumn
        self.holdColumn = holdColumn
    }
}

/// Who is told through Redis, and how often.
package struct NoticePolicy: Sendable, Hashable {
    package var channel: String
    /// Nobody is told again within this time, in seconds.
    package var coolDown: TimeInterval

    package init(channel: String, coolDown: TimeInterval) {
        self.channel = channel
        self.coolDown = coolDown
    }
}

/// Users whose signed pre-key is old.
package struct KeyRotationCheck: Sendable, Hashable {
    package var users: TableName
    package var key: String
    /// When the key was made.
    package var column: String
    package var age: TimeInterval
    /// When the user was last seen, and within which time a user counts as active; `nil`: everybody does.
    package var seenColumn: String?
    package var seenWithin: TimeInterval
    package var notice: NoticePolicy

    package init(
        users: TableName, key: String, column: String, age: TimeInterval, seenColumn: String? = nil,
        seenWithin: TimeInterval = 30 * 86400, notice: NoticePolicy
    ) {
        self.users = users
        self.key = key
        self.column = column
        self.age = age
        self.seenColumn = seenColumn
        self.seenWithin = seenWithin
        self.notice = notice
    }
}

/// Users with few unused one-time pre-keys left, those without any included.
package struct PrekeyCheck: Sendable, Hashable {
    package var users: TableName
    package var key: String
    package var prekeys: TableName
    package var userColumn: String
    /// A boolean, or a time: a pre-key is unused while it is false or NULL. `nil`: used ones are deleted.
    package var usedColumn: String?
    package var minimum: Int
    package var notice: NoticePolicy

    package init(
        users: TableName, key: String, prekeys: TableName, userColumn: String, usedColumn: String? = nil,
        minimum: Int = 20, notice: NoticePolicy
    ) {
        self.users = users
        self.key = key
        self.prekeys = prekeys
        self.userColumn = userColumn
        self.usedColumn = usedColumn
        self.minimum = minimum
        self.notice = notice
    }
}

/// Keys of Redis that should expire.
package struct RedisKeyCheck: Sendable, Hashable {
    /// As SCAN understands it: `ratelimit:*`.
    package var pattern: String
    /// Patterns of keys that live for ever on purpose, as a shell has them.
    package var except: [String]
    /// What a key without an expiry gets, in seconds; `nil`: it is counted only.
    package var expiry: TimeInterval?

    package init(pattern: String, except: [String] = [], expiry: TimeInterval? = nil) {
        self.pattern = pattern
        self.except = except
        self.expiry = expiry
    }
}

/// A program of the users' own: an argument vector, no shell; what it changes is its own affair.
package struct CommandWork: Sendable, Hashable {
    /// The program, by its absolute path, and its arguments.
    package var arguments: [String]

    package init(_ arguments: [String]) { self.arguments = arguments }
}

/// Counters whose names the users' dashboards know.
package enum WorkCounter: String, Sendable, Hashable, CaseIterable {
    case expiredMessages = "messenger_expired_messages_cleaned_up_total"
    case prekeyNotices = "messenger_prekeys_replenished_total"

    package var help: String {
        switch self {
        case .expiredMessages: "Expired messages whose deletion is committed."
        case .prekeyNotices: "Users who were told to upload one-time pre-keys."
        }
    }
}
