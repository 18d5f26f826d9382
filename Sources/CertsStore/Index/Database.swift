import CertsCore
import Foundation
import GRDB
import SystemPackage

/// `certs.sqlite`: the journal of rotations, the inventory, the timer's memory. Everything in it but the history of
/// failures can be made again from the files (``rebuild(in:now:)``).
///
/// SQLite in WAL mode with `synchronous=FULL`: what a call wrote is durable when the call returns. Calls run on a pool
/// of their own and are not cancellable: a journal entry must not be lost because its task was cancelled.
package final class Database: Sendable {
    static let fileName = "certs.sqlite"

    /// The path of the file.
    package let path: String
    private let queue: DatabaseQueue
    private let root: Folder
    private let opened: stat
    private let pool = BlockingPool(name: "certs.database", width: 2)

    private init(queue: DatabaseQueue, path: String, root: Folder, opened: stat) {
        self.queue = queue
        self.path = path
        self.root = root
        self.opened = opened
    }

    /// Opens the database, making it (0600) or bringing its schema up to date if needed.
    ///
    /// - Parameter patience: how long to wait for another process that writes.
    /// - Throws: `state.corrupt`, `state.busy`, `state.newer`, `state.insecure`, `file.unwritable`.
    package static func open(in directory: StateDirectory, patience: Duration = .seconds(5)) async throws -> Database {
        try await BlockingPool.store.run { try openNow(in: directory, patience: patience) }
    }

    static func openNow(in directory: StateDirectory, patience: Duration) throws -> Database {
        let path = directory.root.path(of: fileName)
        let status = try prepareFile(in: directory.root)
        do {
            var configuration = Configuration()
            configuration.label = "certs.database"
            configuration.journalMode = .wal
            configuration.busyMode = .timeout(patience / .seconds(1))
            let queue = try DatabaseQueue(path: path, configuration: configuration)
            let migrator = Schema.migrator
            try queue.inDatabase { database in
                // GRDB sets NORMAL for WAL, which may lose the last transactions at a power cut.
                try database.execute(sql: "PRAGMA synchronous = FULL")
            }
            // In one transaction: another process may be making the tables at this moment.
            try queue.read { try check($0, migrator: migrator, path: path) }
            let isNew = try queue.read { try !$0.tableExists("certificate") }
            try migrate(queue, by: migrator)
            if isNew { try fill(queue, from: directory) }
            return Database(queue: queue, path: path, root: directory.root, opened: status)
        } catch {
            throw DatabaseFailure.error(error, path: path)
        }
    }

    /// A database that was lost or emptied begins with what the files know, instead of issuing everything anew.
    private static func fill(_ queue: DatabaseQueue, from directory: StateDirectory) throws {
        let harvest = try Harvest(of: directory)
        try queue.write { connection in
            // Another process may have been first.
            guard try Int.fetchOne(connection, sql: "SELECT count(*) FROM certificate") == 0 else { return }
            for state in harvest.states { try store(state, in: connection) }
            for rotation in harvest.rotations { try store(rotation, in: connection) }
        }
    }

    /// Brings the schema up to date. Two processes that start together would both find it missing: the one that comes
    /// second fails at a table that is there by then, and looks again.
    private static func migrate(_ queue: DatabaseQueue, by migrator: DatabaseMigrator) throws {
        for attempt in 1... {
            if try queue.read({ try migrator.hasCompletedMigrations($0) }) { return }
            do {
                return try migrator.migrate(queue)
            } catch  where attempt < migrationAttempts {
                usleep(20_000)
            }
        }
    }

    private static let migrationAttempts = 50

    /// The file and its companions must be regular files; a new one is made 0600 before SQLite (0644) would make it.
    private static func prepareFile(in root: Folder) throws -> stat {
        for suffix in ["", "-wal", "-shm", "-journal"] {
            let name = fileName + suffix
            do {
                guard let status = try System.status(of: name, in: root.descriptor.raw) else { continue }
                if status.isSymbolicLink { throw FileFailure.link(root.path(of: name)) }
                guard status.isRegularFile else {
                    throw CertsError(
                        .stateInsecure, "\(root.path(of: name)) is not a regular file", subject: root.path(of: name),
                        hint: "move it away")
                }
            } catch {
                throw FileFailure.unreadable(root.path(of: name), error)
            }
        }
        do {
            do {
                _ = try System.open(
                    fileName, in: root.descriptor.raw, flags: O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, mode: 0o600)
                try System.sync(root.descriptor)
            } catch Errno.fileExists {}
            guard let status = try System.status(of: fileName, in: root.descriptor.raw) else {
                throw Errno.noSuchFileOrDirectory
            }
            return status
        } catch {
            throw FileFailure.unwritable(root.path(of: fileName), error)
        }
    }

    private static func check(_ database: GRDB.Database, migrator: DatabaseMigrator, path: String) throws {
        let applicationID = try Int32.fetchOne(database, sql: "PRAGMA application_id") ?? 0
        // GRDB makes its own table first, by itself: a process that died or works right after that left a new database.
        let tables =
            try Int.fetchOne(
                database,
                sql: "SELECT count(*) FROM sqlite_master WHERE tbl_name <> 'grdb_migrations'") ?? 0
        guard applicationID == Schema.applicationID || (applicationID == 0 && tables == 0) else {
            throw DatabaseFailure.corrupt(path, "it is another program's database")
        }
        if try migrator.hasBeenSuperseded(database) {
            throw CertsError(
                .stateNewer, "the database \(path) was written by a newer version of certs", subject: path,
                hint: "use that version, or make the database again with `certs status --rebuild`")
        }
    }

    /// Looks at every page (SQLite's `quick_check`).
    /// - Throws: `state.corrupt`.
    package func checkIntegrity() async throws {
        try await read { [path] database in
            let answer = try String.fetchOne(database, sql: "PRAGMA integrity_check(1)")
            if answer != "ok" { throw DatabaseFailure.corrupt(path, answer ?? "no answer") }
        }
    }

    func read<Value: Sendable>(_ body: @escaping @Sendable (GRDB.Database) throws -> Value) async throws -> Value {
        try await pool.run { [self] in
            do { return try queue.read(body) } catch { throw DatabaseFailure.error(error, path: path) }
        }
    }

    /// One transaction; durable when it returns.
    func write<Value: Sendable>(_ body: @escaping @Sendable (GRDB.Database) throws -> Value) async throws -> Value {
        try await pool.run { [self] in
            do {
                let value = try queue.write { database in
                    try checkStillInPlace()
                    return try body(database)
                }
                return value
            } catch {
                throw DatabaseFailure.error(error, path: path)
            }
        }
    }

    /// What is written to a file that was deleted or replaced would be lost without an error.
    private func checkStillInPlace() throws {
        if let now = try System.status(of: Self.fileName, in: root.descriptor.raw), now.isSameFile(as: opened) {
            return
        }
        throw CertsError(
            .stateBusy, "the database \(path) was moved or replaced while it was open", subject: path,
            hint: "start again; if it is gone, make it again with `certs status --rebuild`", retry: .later)
    }

    /// Closes the file, so that it can be moved; later calls fail.
    func close() throws { try queue.close() }
}

extension Date {
    /// The form of all time columns.
    var column: Double { timeIntervalSince1970 }
}
