import CertsCore
package import Foundation

/// The backups of one database in one directory.
package struct BackupCatalogue: Sendable {
    package struct Entry: Sendable {
        package let name: String
        /// The moment that its name says.
        package let time: Date
        package let path: String
        /// `nil`: it cannot be read.
        package let manifest: BackupManifest?
        package let test: RestoreTestRecord?
        package let copiedAt: Date?
        /// What is seen to be wrong without reading it whole.
        package let damage: String?

        /// Whole as far as it is seen, and not found to be something else by a restore.
        package var isGood: Bool { damage == nil && manifest != nil && test?.differences.isEmpty != false }
        /// Restored, and found to be what it should.
        package var isProven: Bool { isGood && test != nil }

        func path(_ file: String) -> String { "\(path)/\(file)" }
    }

    package let directory: String
    package let database: String

    package init(_ directory: String, database: String) {
        self.directory = directory
        self.database = database
    }

    /// Newest first. What is being made, or was cut short, is not among them. Blocking.
    package func entries() throws -> [Entry] {
        let names: [String]
        do {
            names = try FileManager.default.contentsOfDirectory(atPath: directory)
        } catch {
            throw CertsError(
                .fileUnreadable, "the directory of the backups, \(directory), cannot be read", subject: directory,
                hint: "make it (mode 0700, owned by the user of certs)", cause: error)
        }
        return names.compactMap { name in BackupName(name, of: database).flatMap { entry(name, $0.time) } }
            .sorted { $0.time > $1.time }
    }

    /// - Parameter name: `nil`: the newest that is good.
    /// - Throws: `name.unknown`.
    package func entry(_ name: String?) throws -> Entry {
        let all = try entries()
        if let found = all.first(where: { name == nil ? $0.isGood : $0.name == name }) { return found }
        throw CertsError(
            .nameUnknown,
            name.map { "there is no backup '\($0)' in \(directory)" } ?? "no backup in \(directory) is good",
            hint: all.isEmpty ? "make one: `certs maintenance run JOB`" : "`certs maintenance backups` lists them")
    }

    /// `nil`: it is of another database.
    private func entry(_ name: String, _ time: Date) -> Entry? {
        let path = "\(directory)/\(name)"
        let manifest: BackupManifest? = Self.read("\(path)/\(BackupManifest.fileName)")
        guard manifest == nil || manifest?.database == database else { return nil }
        let offsite: OffsiteRecord? = Self.read("\(path)/\(OffsiteRecord.fileName)")
        return Entry(
            name: name, time: time, path: path, manifest: manifest,
            test: Self.read("\(path)/\(RestoreTestRecord.fileName)"), copiedAt: offsite?.at,
            damage: Self.damage(path, manifest))
    }

    private static func damage(_ path: String, _ manifest: BackupManifest?) -> String? {
        guard let manifest else { return "its manifest cannot be read" }
        for file in manifest.files {
            guard let size = BackupFiles.size("\(path)/\(file.path)") else { return "\(file.path) is missing" }
            guard size == file.bytes else { return "\(file.path) has \(size) bytes instead of \(file.bytes)" }
        }
        return BackupFiles.size("\(path)/\(BackupManifest.sumsName)") == nil ? "it has no digests" : nil
    }

    private static func read<Value: Decodable>(_ path: String) -> Value? {
        FileManager.default.contents(atPath: path).flatMap { try? StoredJSON.decode(Value.self, from: $0) }
    }
}

extension BackupCatalogue {
    /// Reads the whole backup and compares it with its digests.
    ///
    /// - Throws: `job.failed` when it is not what was written.
    package func verify(_ entry: Entry, _ control: JobControl) async throws {
        try await BackupFiles.verify(entry, control)
    }
}
