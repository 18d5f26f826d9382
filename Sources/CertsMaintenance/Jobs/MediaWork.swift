import CertsCore
import Foundation

/// Deletes rows together with their files. Blocking.
///
/// In one transaction for each batch: the rows are deleted, then their files that no other row has, and only then is
/// committed. A process that dies in between leaves the rows, and the next run finds their files gone and finishes; no file
/// is left without a row.
struct MediaWork {
    let session: PostgresSession
    let work: MediaDeletion
    let deletion: Deletion
    let control: JobControl
    private var quarantine: Quarantine
    private(set) var outcome = BatchDeletion.Outcome()

    private static let batch = 100

    init(
        _ work: MediaDeletion, in session: PostgresSession, quarantine known: [QuarantinedRow], control: JobControl
    ) throws {
        self.session = session
        self.work = work
        self.control = control
        var deletion = try Deletion.make(work.rows, in: session)
        deletion.unfit = FileTree.unfit(work.pathColumns.map { "t.\(name: $0)" })
        self.deletion = deletion
        for column in work.pathColumns { try deletion.facts.column(column, of: ["text", "varchar"]) }
        quarantine = Quarantine(known, isKept: deletion.hasStableKey, now: control.now())
    }

    /// What a run would delete now.
    func preview(sample: Int) throws -> DeletionPreview {
        let root = try FileTree(work.directory)
        var preview = try DeletionPreview.make(deletion, in: session, sample: sample, within: control.left)
        preview.refusal = try preview.refusal ?? DeletionPreview.refusal { try refuseEmptyDirectory(root) }
        return preview
    }

    mutating func run() throws {
        let root = try FileTree(work.directory)
        try deletion.refuseTooLargeShare(in: session, within: control.left)
        try refuseEmptyDirectory(root)
        while outcome.reason == nil {
            if control.isOver { outcome.reason = control.ending } else if try !deleteBatch(root) { break }
            control.pause(0.05)
        }
        outcome.backlog = try session.run(deletion.count(limit: 100_000)).integer ?? 0
        outcome.quarantined = quarantine.count
        outcome.quarantine = quarantine.rows(now: control.now())
        if outcome.reason == nil, let held = quarantine.found.min(by: { $0.key < $1.key }) {
            outcome.reason = "\(quarantine.count) rows cannot be deleted, one of them because: \(held.value)"
        }
    }

    /// A file system that is not mounted: each file would count as removed already, and stay for ever.
    private func refuseEmptyDirectory(_ root: FileTree) throws {
        guard try root.isEmpty(), try session.run(deletion.count(limit: 1)).integer != 0 else { return }
        throw CertsError(
            .jobRefused, "the directory \(work.directory) is empty, and there are rows with files in it",
            subject: work.directory, hint: "look whether its file system is mounted; nothing was deleted")
    }

    /// Whether another row has the same file, as where files are kept once for all who share them.
    private func isShared(_ path: String) throws -> Bool {
        let table = deletion.facts.table
        return try work.pathColumns.contains { column in
            let others: SQL = "SELECT 1 FROM ONLY \(table: table) AS o WHERE o.\(name: column) = \(value: path) LIMIT 1"
            return try session.run(others).value != nil
        }
    }

    /// - Returns: whether there may be more.
    private mutating func deleteBatch(_ root: FileTree) throws -> Bool {
        let limit = min(Self.batch, work.rows.limits.rows - outcome.rows)
        guard limit > 0 else {
            outcome.reason = "the cap of \(work.rows.limits.rows) rows is reached"
            return false
        }
        let paths = SQL.list(work.pathColumns.map { "t.\(name: $0)" })
        let selection = deletion.candidates(
            "t.ctid::text, \(deletion.key), \(paths)", limit: limit, excluded: quarantine.excluded)
        let (session, deletion) = (session, deletion)
        var held: [String: String] = [:]
        let result = try session.transaction { () -> (rows: Int, bytes: Int, seen: Int, locked: Int) in
            try session.run("SET CONSTRAINTS ALL IMMEDIATE")
            let rows = try session.run("\(selection) FOR UPDATE OF t SKIP LOCKED").rows
            var done = 0
            var bytes = 0
            var locked = 0
            for row in rows {
                guard let place = row[0], let key = row[1] else { continue }
                do {
                    // The row first, uncommitted: one that a constraint holds keeps its file.
                    try session.run("SAVEPOINT one")
                    guard try session.run(deletion.delete(places: [place])).affected == 1 else {
                        held[key] = "a trigger or a rule of the table keeps it"
                        try session.run("ROLLBACK TO SAVEPOINT one")
                        continue
                    }
                    for path in row.dropFirst(2).compactMap({ $0 }) where try !isShared(path) {
                        bytes += try root.remove(path)
                    }
                    try session.run("RELEASE SAVEPOINT one")
                    done += 1
                } catch let failure as PostgresFailure where failure.isAboutRows {
                    held[key] = failure.description
                    try session.run("ROLLBACK TO SAVEPOINT one")
                } catch let failure as PostgresFailure where failure.isLockTimeout {
                    // Comes with a later run; the others go on.
                    locked += 1
                    try session.run("ROLLBACK TO SAVEPOINT one")
                } catch let error as CertsError where error.code == .fileUnwritable || error.code == .nameInvalid {
                    held[key] = error.description
                    try session.run("ROLLBACK TO SAVEPOINT one")
                }
            }
            return (done, bytes, rows.count, locked)
        }
        for (key, reason) in held { quarantine.add(key, reason) }
        if quarantine.isFull { outcome.reason = "\(Quarantine.limit) rows cannot be deleted" }
        outcome.lockTimeouts += result.locked
        if result.rows == 0, result.locked > 0 { outcome.reason = "rows are locked by others" }
        outcome.rows += result.rows
        outcome.bytesFreed += result.bytes
        return result.seen > 0
    }
}

/// The files below one directory, reached without following links.
struct FileTree {
    private let root: Int32
    private let path: String
    private let keeper: Keeper

    /// Closes the descriptor with the last copy of the value.
    private final class Keeper {
        let descriptor: Int32
        init(_ descriptor: Int32) { self.descriptor = descriptor }
        deinit { close(descriptor) }
    }

    /// - Throws: `file.missing`.
    init(_ path: String) throws {
        let descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0, path != "/" else {
            throw CertsError(
                .fileMissing, "the directory \(path) cannot be opened: \(String(cString: strerror(errno)))",
                subject: path, hint: "correct `directory:`; nothing was deleted")
        }
        root = descriptor
        keeper = Keeper(descriptor)
        self.path = path
    }

    /// The condition on columns with paths that ``remove(_:)`` takes for none below the directory.
    static func unfit(_ columns: [SQL]) -> SQL {
        let conditions = columns.map { column in
            """
            \(column) ~ '(^|/)[.]{0,2}(/|$)' OR octet_length(\(column)) > \(value: longestPath)::int8 \
            OR cardinality(string_to_array(\(column), '/')) > \(value: deepest)::int8
            """ as SQL
        }
        return conditions.dropFirst().reduce(conditions.first ?? "false") { "\($0) OR \($1)" }
    }

    private static let longestPath = 1024
    private static let deepest = 32

    /// Whether there is nothing in it at all.
    func isEmpty() throws -> Bool {
        try FileManager.default.contentsOfDirectory(atPath: path).isEmpty
    }

    /// Removes a file; one that is not there counts as removed.
    /// - Returns: its size in bytes.
    /// - Throws: `name.invalid` for a path that leads out, `file.unwritable`.
    func remove(_ relative: String) throws -> Int {
        let parts = relative.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
        guard !parts.isEmpty, parts.count <= Self.deepest, relative.utf8.count <= Self.longestPath,
            !relative.utf8.contains(0),
            parts.allSatisfy({ !$0.isEmpty && $0 != "." && $0 != ".." })
        else {
            throw CertsError(
                .nameInvalid, "'\(TerminalText.sanitized(relative, limit: 100))' is not a path below \(path)",
                hint: "look at the row")
        }
        var folder = Keeper(dup(root))
        for part in parts.dropLast() {
            let next = openat(folder.descriptor, part, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW)
            if next < 0, errno == ENOENT { return 0 }
            guard next >= 0 else { throw refusal(relative) }
            folder = Keeper(next)
        }
        let name = parts[parts.count - 1]
        var status = stat()
        guard fstatat(folder.descriptor, name, &status, AT_SYMLINK_NOFOLLOW) == 0 else {
            if errno == ENOENT { return 0 }
            throw refusal(relative)
        }
        guard unlinkat(folder.descriptor, name, 0) == 0 || errno == ENOENT else { throw refusal(relative) }
        return status.st_mode & S_IFMT == S_IFREG ? Int(status.st_size) : 0
    }

    private func refusal(_ relative: String) -> CertsError {
        CertsError(
            .fileUnwritable,
            "\(path)/\(TerminalText.sanitized(relative, limit: 100)) cannot be removed: \(String(cString: strerror(errno)))",
            hint: "look at its rights and at those of its directory")
    }
}
