package import CertsCore
import CertsCrypto
package import Foundation

/// One version of a file, its contents apart.
package struct FileVersion: Codable, Sendable, Hashable {
    /// Counts up from 1 for each file.
    package var number: Int
    package var seenAt: Date
    /// SHA-256 of its contents, which is the name of their copy.
    package var digest: String
    package var size: Int
    package var mode: UInt32
    package var owner: UInt32
    package var group: UInt32
}

/// The versions of configuration files: contents by their digests, so that a version that comes back costs nothing, and
/// one index. All 0600, since configuration may hold secrets; contents are never shown.
package struct FileVersions: Sendable {
    private let files: any MaintenanceFiles

    private static let indexName = "index.json"
    private static let indexLimit = 16 << 20
    /// Of one file, in bytes.
    package static let fileLimit = 4 << 20

    package init(files: any MaintenanceFiles) { self.files = files }

    /// By path, oldest first.
    package func index() async throws -> [String: [FileVersion]] {
        guard let text = try await files.read(Self.indexName, in: .versions, limit: Self.indexLimit) else { return [:] }
        do {
            return try StoredJSON.decode([String: [FileVersion]].self, from: text.withBytes { Data($0) })
        } catch {
            throw CertsError(
                .stateCorrupt, "the index of the versions of files cannot be read",
                hint:
                    "move maintenance/versions/\(Self.indexName) in the state directory away; the copies beside it are "
                    + "named by their SHA-256", cause: error)
        }
    }

    /// Whether this is another one than the last that is kept.
    static func isNew(_ file: LiveFile, _ known: [FileVersion]) -> Bool {
        guard let last = known.last else { return true }
        return last.digest != ContentDigest.sha256(of: file.contents) || last.mode != file.attributes.mode & 0o7777
            || last.owner != file.attributes.owner || last.group != file.attributes.group
    }

    /// Keeps what the file holds now, unless it is what was kept last; the copy is durable before the index names it.
    ///
    /// - Returns: whether it is new.
    @discardableResult
    func add(_ file: LiveFile, at path: String, keep: Int, now: Date) async throws -> Bool {
        var index = try await index()
        let known = index[path] ?? []
        guard Self.isNew(file, known) else { return false }
        let digest = ContentDigest.sha256(of: file.contents)
        try await files.write(file.contents, to: digest, in: .versions)
        let version = FileVersion(
            number: (known.last?.number ?? 0) + 1, seenAt: now, digest: digest, size: file.contents.count,
            mode: file.attributes.mode & 0o7777, owner: file.attributes.owner, group: file.attributes.group)
        index[path] = Array((known + [version]).suffix(max(1, keep)))
        try await files.write(Secret(copying: try StoredJSON.encode(index)), to: Self.indexName, in: .versions)
        let named = Set(index.values.flatMap { $0.map(\.digest) })
        for name in try await files.names(in: .versions) where name != Self.indexName && !named.contains(name) {
            try await files.remove(name, in: .versions)
        }
        return true
    }

    /// The contents of a version, which are what they were.
    func contents(of version: FileVersion) async throws -> Secret {
        guard let contents = try await files.read(version.digest, in: .versions, limit: Self.fileLimit),
            ContentDigest.sha256(of: contents) == version.digest
        else {
            throw CertsError(
                .stateCorrupt, "the copy \(version.digest.prefix(12)) of version \(version.number) is lost or damaged",
                hint: "name another version with --to")
        }
        return contents
    }
}

/// Keeps versions of the declared files.
struct FileVersionWork: HostWork {
    let work: FileVersioning
    let files: any MaintenanceFiles
    let live: any LiveFiles

    func preview(_ job: Name, sample: Int, control: JobControl) async throws -> [WorkPreview] {
        let index = try await FileVersions(files: files).index()
        var (changed, warnings): ([String], [String]) = ([], [])
        for file in work.files {
            guard let found = try await live.read(file.path, limit: FileVersions.fileLimit) else {
                warnings.append("there is no file \(file.path)")
                continue
            }
            if FileVersions.isNew(found, index[file.path] ?? []) { changed.append(file.path) }
        }
        return [
            WorkPreview(
                subject: "versions", count: changed.count, keys: Array(changed.prefix(sample)), warnings: warnings)
        ]
    }

    func run(_ job: Name, control: JobControl) async throws -> JobExecutor.Done {
        let versions = FileVersions(files: files)
        var (added, problems): (Int, [String]) = (0, [])
        for file in work.files where !control.isOver {
            do {
                guard let found = try await live.read(file.path, limit: FileVersions.fileLimit) else {
                    problems.append("there is no file \(file.path)")
                    continue
                }
                if try await versions.add(found, at: file.path, keep: work.kept, now: control.now()) { added += 1 }
            } catch let error as CertsError where error.code == .fileUnreadable || error.code == .fileTooLarge {
                problems.append(error.message)
            }
        }
        return JobExecutor.Done(rows: added, reason: problems.isEmpty ? nil : problems.joined(separator: "; "))
    }
}
