import CertsCore
import Foundation
import Yams

/// The kinds of jobs: the six of the messenger's scheduler, and the general ones.
enum JobKind: String, CaseIterable {
    case expiredMessages = "expired-messages"
    case expiredMedia = "expired-media"
    case keyRotation = "key-rotation"
    case prekeys
    case rateLimits = "rate-limits"
    case verificationCodes = "verification-codes"
    case expiredRows = "expired-rows"
    case orphans
    case tempSessions = "temp-sessions"
    case auditLogs = "audit-logs"
    case redisKeys = "redis-keys"
    case command
    case certificates
    case vacuum
    case vacuumFull = "vacuum-full"
    case reindex
    case databaseReport = "database-report"
    case backup
    case restoreTest = "restore-test"
    case pgbackrest
    case dockerPrune = "docker-prune"
    case logRotation = "log-rotation"
    case oldFiles = "old-files"
    case updateReport = "update-report"
    case deploymentJournal = "deployment-journal"
    case fileVersions = "file-versions"

    private static let rows = ["schema", "table", "column", "after", "maximumRows", "maximumShare"]
    private static let users = ["schema", "users", "key", "channel", "coolDown"]

    /// Beside those that all jobs have.
    var keys: [String] {
        switch self {
        case .expiredMessages, .verificationCodes, .tempSessions: Self.rows
        case .expiredRows: Self.rows + ["unless"]
        case .expiredMedia: Self.rows + ["unless", "paths", "directory"]
        case .rateLimits: Self.rows + ["length"]
        case .orphans: Self.rows + ["parent", "parentSchema", "parentColumn", "created"]
        case .auditLogs: Self.rows.filter { $0 != "after" } + ["category", "retention", "hold", "directory"]
        case .keyRotation: Self.users + ["column", "after", "seen", "seenWithin"]
        case .prekeys: Self.users + ["prekeys", "user", "used", "minimum"]
        case .redisKeys: ["pattern", "except", "expire"]
        case .command: ["arguments"]
        case .certificates: []
        case .vacuum: ["schema", "tables", "deadRows", "deadShare", "changedShare", "costDelay"]
        case .vacuumFull: ["schema", "tables", "freeSpaceChecked"]
        case .reindex: ["schema", "tables", "indexes", "bloat"]
        case .databaseReport: ["top"]
        case .backup: ["directory", "format", "jobs", "clientDirectory", "compare", "keep", "offsite"]
        case .restoreTest: ["of"]
        case .pgbackrest: ["stanza", "type", "program"]
        case .dockerPrune, .logRotation, .oldFiles, .updateReport, .deploymentJournal, .fileVersions: hostKeys
        }
    }

    /// When it runs if nothing else is written: the intervals of the procedure.
    var rule: JobSchedule.Rule {
        switch self {
        case .expiredMessages: .every(60)
        case .expiredMedia, .verificationCodes: .every(300)
        case .keyRotation: .every(3600)
        case .prekeys: .every(1800)
        case .rateLimits: .every(600)
        case .expiredRows: .every(3600)
        case .orphans, .tempSessions, .auditLogs, .command, .certificates, .databaseReport: .daily([120])
        case .redisKeys: .every(600)
        case .vacuum, .vacuumFull, .reindex: .weekly([0], 180)
        case .backup: .daily([120])
        case .restoreTest: .weekly([0], 240)
        case .pgbackrest: .every(3600)
        case .dockerPrune, .logRotation, .oldFiles, .updateReport, .deploymentJournal, .fileVersions: hostRule
        }
    }

    /// How long a run may take if nothing else is written, in seconds; `nil`: what is usual for jobs.
    var deadline: TimeInterval? {
        switch self {
        case .backup, .restoreTest, .pgbackrest: 6 * 3600
        default: nil
        }
    }

    /// The table, the column and the age in seconds that it has in the procedure; `nil`: to be written.
    var usual: (table: String?, column: String?, age: TimeInterval) {
        switch self {
        case .expiredMessages: ("messages", "expires_at", 0)
        case .expiredMedia: ("media", "expires_at", 0)
        case .verificationCodes: ("verification_codes", "expires_at", 3600)
        case .rateLimits: ("rate_limits", "window_start", 0)
        case .tempSessions: ("temp_sessions", "created_at", 86400)
        case .auditLogs: ("audit_logs", "created_at", 0)
        case .keyRotation: ("users", nil, 7 * 86400)
        case .prekeys: ("users", nil, 0)
        default: (nil, nil, 0)
        }
    }
}

extension ConfigurationReader {
    func jobWork(_ kind: JobKind, _ block: ConfigurationBlock) -> JobWork? {
        switch kind {
        case .expiredMessages, .verificationCodes, .tempSessions, .expiredRows, .rateLimits:
            guard var rows = rows(kind, block) else { return nil }
            if kind == .expiredMessages { rows.counter = .expiredMessages }
            if kind == .rateLimits { rows.lengthColumn = block.text("length")?.value ?? "window_seconds" }
            return .deleteRows(rows)
        case .expiredMedia:
            guard let rows = rows(kind, block), let directory = directory(block) else { return nil }
            let paths = block.texts("paths").map(\.value)
            guard !paths.isEmpty else {
                block.missing("paths", "write the columns with the paths of the files: [blob_key, thumbnail_key]")
                return nil
            }
            return .deleteMedia(MediaDeletion(rows: rows, pathColumns: paths, directory: directory))
        case .orphans: return orphans(block)
        case .auditLogs: return archival(block)
        case .keyRotation: return keyRotation(block)
        case .prekeys: return prekeys(block)
        case .redisKeys:
            return block.requiredText("pattern", "write which keys should expire: 'ratelimit:*'").map {
                .checkRedisKeys(
                    RedisKeyCheck(
                        pattern: $0.value, except: block.texts("except").map(\.value),
                        expiry: block.duration("expire", 1...3650 * 86400)))
            }
        case .certificates: return .renewCertificates
        case .command:
            return programLine(block, "arguments", "[/usr/local/bin/copy-backups]").map { .command(CommandWork($0)) }
        case .vacuum: return vacuum(block)
        case .vacuumFull: return vacuumFull(block)
        case .reindex: return reindex(block)
        case .databaseReport: return databaseReport(block)
        case .backup: return databaseBackup(block)
        case .restoreTest: return restoreTest(block)
        case .pgbackrest: return physicalBackup(block)
        case .dockerPrune, .logRotation, .oldFiles, .updateReport, .deploymentJournal, .fileVersions:
            return hostJob(kind, block).map { .host($0) }
        }
    }

    private func directory(_ block: ConfigurationBlock) -> String? {
        block.requiredText("directory", "name the directory of the files").flatMap { path($0) }
    }

    private func table(_ block: ConfigurationBlock, _ key: String = "table", usual: String? = nil) -> TableName? {
        let schema = block.text(key == "parent" ? "parentSchema" : "schema")?.value ?? "public"
        if let usual, block.node(key) == nil { return TableName(usual, schema: schema) }
        return block.requiredText(key, "write the name of the table").map { TableName($0.value, schema: schema) }
    }

    private func column(_ block: ConfigurationBlock, _ key: String, usual: String? = nil) -> String? {
        if let usual, block.node(key) == nil { return usual }
        return block.requiredText(key, "write the name of the column")?.value
    }

    private func limits(_ block: ConfigurationBlock, share: Double? = nil) -> DeletionLimits {
        var limits = DeletionLimits(share: share)
        if let rows = block.integer("maximumRows", 1...1_000_000_000) { limits.rows = rows }
        if let percent = block.integer("maximumShare", 1...100) { limits.share = Double(percent) / 100 }
        return limits
    }

    private func rows(_ kind: JobKind, _ block: ConfigurationBlock) -> RowDeletion? {
        let usual = kind.usual
        let table = table(block, usual: usual.table)
        guard let column = column(block, "column", usual: usual.column), let table else { return nil }
        let age = kind.keys.contains("after") ? block.duration("after", 0...3650 * 86400) : nil
        return RowDeletion(
            table, column: column, age: age ?? usual.age, unless: kind.keys.contains("unless") ? reference(block) : nil,
            limits: limits(block))
    }

    private func reference(_ block: ConfigurationBlock) -> RowDeletion.Reference? {
        guard let block = block.block("unless", keys: ["schema", "table", "column", "key"]),
            let table = table(block), let column = column(block, "column"),
            let key = self.column(block, "key")
        else { return nil }
        return .init(table, column: column, key: key)
    }

    private func orphans(_ block: ConfigurationBlock) -> JobWork? {
        let (child, parent) = (table(block), table(block, "parent"))
        let column = column(block, "column")
        guard let created = self.column(block, "created"), let child, let parent, let column else { return nil }
        var work = OrphanDeletion(
            child, column: column, parent: parent,
            parentColumn: self.column(block, "parentColumn", usual: column) ?? column,
            ageColumn: created, limits: limits(block, share: 0.05))
        // A parent that is written in the same moment is not committed yet.
        if let age = block.duration("after", 3600...3650 * 86400) { work.age = age }
        return .deleteOrphans(work)
    }

    private func archival(_ block: ConfigurationBlock) -> JobWork? {
        let rows = rows(.auditLogs, block)
        let directory = directory(block)
        let category = column(block, "category")
        var retention: [String: TimeInterval] = [:]
        for node in block.list("retention", "'[ { category: login, keep: 365d } ]'") {
            guard let entry = ConfigurationBlock(node, "an entry of retention", keys: ["category", "keep"], problems),
                let name = entry.requiredText("category", "write the value of the category"),
                entry.node("keep") != nil, let keep = entry.duration("keep", 86400...36500 * 86400)
            else { continue }
            retention[name.value] = keep
        }
        guard !retention.isEmpty else {
            block.missing(
                "retention",
                "say for each category how long its rows are kept: '[ { category: login, keep: 365d } ]'; nothing is "
                    + "deleted without it")
            return nil
        }
        guard let rows, let directory, let category else { return nil }
        return .archiveRows(
            RowArchival(
                rows: rows, directory: directory, retention: retention, categoryColumn: category,
                holdColumn: block.text("hold")?.value))
    }

    private func notice(_ block: ConfigurationBlock, coolDown: TimeInterval) -> NoticePolicy? {
        block.requiredText("channel", "write the channel of Redis that the service listens on").map {
            NoticePolicy(channel: $0.value, coolDown: block.duration("coolDown", 60...366 * 86400) ?? coolDown)
        }
    }

    private func keyRotation(_ block: ConfigurationBlock) -> JobWork? {
        let notice = notice(block, coolDown: 86400)
        guard let users = table(block, "users", usual: "users"), let key = column(block, "key", usual: "user_id"),
            let column = column(block, "column"), let notice
        else { return nil }
        return .checkKeyRotation(
            KeyRotationCheck(
                users: users, key: key, column: column, age: block.duration("after", 3600...3650 * 86400) ?? 7 * 86400,
                seenColumn: block.text("seen")?.value,
                seenWithin: block.duration("seenWithin", 3600...3650 * 86400) ?? 30 * 86400, notice: notice))
    }

    private func prekeys(_ block: ConfigurationBlock) -> JobWork? {
        let notice = notice(block, coolDown: 43200)
        guard let users = table(block, "users", usual: "users"), let key = column(block, "key", usual: "user_id"),
            let prekeys = table(block, "prekeys"), let user = column(block, "user", usual: "user_id"), let notice
        else { return nil }
        return .checkPrekeys(
            PrekeyCheck(
                users: users, key: key, prekeys: prekeys, userColumn: user, usedColumn: block.text("used")?.value,
                minimum: block.integer("minimum", 1...10_000) ?? 20, notice: notice))
    }
}
