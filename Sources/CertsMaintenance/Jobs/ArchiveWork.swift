import CertsCore
import Foundation

/// Writes rows to files, reads them back and compares, and only then lets them go. Blocking.
///
/// One file for each batch, `JOB-CATEGORY-TIME-NUMBER.jsonl` (0600), one row a line, with its SHA-256 beside it in the
/// format of `sha256sum`. A process that dies after the file was written and before the commit leaves rows that are archived
/// twice, never rows that are archived nowhere.
struct ArchiveWork {
    let session: PostgresSession
    let job: Name
    let work: RowArchival
    let control: JobControl
    private(set) var outcome = BatchDeletion.Outcome()

    private static let batch = 1000

    init(_ work: RowArchival, of job: Name, in session: PostgresSession, control: JobControl) {
        self.work = work
        self.job = job
        self.session = session
        self.control = control
    }

    mutating func run() throws {
        for category in work.retention.keys.sorted() where outcome.reason == nil {
            let deletion = try Deletion.make(work, category: category, in: session)
            try deletion.refuseTooLargeShare(in: session, within: control.left)
            try archive(deletion, category)
            outcome.backlog += try session.run(deletion.count(limit: 100_000)).integer ?? 0
        }
    }

    private mutating func archive(_ deletion: Deletion, _ category: String) throws {
        while outcome.reason == nil {
            if control.isOver { return outcome.reason = control.ending }
            let limit = min(Self.batch, work.rows.limits.rows - outcome.rows)
            guard limit > 0 else { return outcome.reason = "the cap of \(work.rows.limits.rows) rows is reached" }
            let count = try archiveBatch(deletion, category, limit: limit)
            guard count > 0 else { return }
            outcome.rows += count
            control.pause(0.05)
        }
    }

    private func archiveBatch(_ deletion: Deletion, _ category: String, limit: Int) throws -> Int {
        let selection = deletion.candidates("t.ctid::text, to_jsonb(t)::text", limit: limit)
        return try session.transaction {
            let rows = try session.run("\(selection) FOR UPDATE OF t SKIP LOCKED").rows
            guard !rows.isEmpty else { return 0 }
            let text = rows.map { ($0[1] ?? "") + "\n" }.joined()
            let name = "\(job)-\(Self.fileName(category))-\(Self.stamp(control.now()))-\(outcome.rows + 1).jsonl"
            let path = "\(work.directory)/\(name)"
            try Self.write(text, to: path)
            // What counts is what the disk gives back, not what was meant to be written.
            guard let read = FileManager.default.contents(atPath: path + ".partial"),
                let readText = String(data: read, encoding: .utf8), readText == text
            else {
                throw Self.failure(path, "it reads back differently from what was written")
            }
            let digest = try session.run(
                "SELECT encode(sha256(convert_to(\(value: readText), 'UTF8')), 'hex')"
            ).value
            guard let digest else { throw Self.failure(path, "it has no digest") }
            try Self.publish("\(digest)  \(name)\n", path: path)
            return try session.run(deletion.delete(places: rows.map { $0[0] ?? "" })).affected
        }
    }

    /// A category may be anything; a file name is not.
    private static func fileName(_ category: String) -> String {
        let letters = category.prefix(40).map { $0.isASCII && ($0.isLetter || $0.isNumber) ? $0 : "_" }
        return letters.isEmpty ? "none" : String(letters)
    }

    private static func stamp(_ date: Date) -> String {
        date.formatted(.iso8601.dateSeparator(.omitted).timeSeparator(.omitted))
    }

    private static func write(_ text: String, to path: String) throws {
        let partial = path + ".partial"
        unlink(partial)
        let descriptor = open(partial, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw failure(partial, String(cString: strerror(errno))) }
        defer { close(descriptor) }
        var rest = Array(text.utf8)[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Foundation.write(descriptor, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw failure(partial, String(cString: strerror(errno))) }
            rest = rest.dropFirst(count)
        }
        guard fsync(descriptor) == 0 else { throw failure(partial, String(cString: strerror(errno))) }
    }

    /// Gives the file its name, with its digest beside it, durably. One that is there already is never replaced.
    private static func publish(_ digest: String, path: String) throws {
        try write(digest, to: path + ".sha256")
        for name in [path + ".sha256", path] {
            guard link(name + ".partial", name) == 0, unlink(name + ".partial") == 0 else {
                throw failure(name, String(cString: strerror(errno)))
            }
        }
        let folder = open((path as NSString).deletingLastPathComponent, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        defer { if folder >= 0 { close(folder) } }
        guard folder >= 0, fsync(folder) == 0 else { throw failure(path, String(cString: strerror(errno))) }
    }

    private static func failure(_ path: String, _ why: String) -> CertsError {
        CertsError(
            .fileUnwritable, "the archive \(path) cannot be written: \(why)", subject: path,
            hint: "nothing of it was deleted; look at the directory and the disk", retry: .later)
    }
}
