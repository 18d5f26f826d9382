import CertsCore
import Foundation

/// The directory of the backups while one is made or deleted in it: nobody else does so at the same time. Blocking.
final class BackupFolder: Sendable {
    let catalogue: BackupCatalogue
    private let descriptor: Int32

    private var directory: String { catalogue.directory }
    private static let partial = ".partial"
    private static let deleting = ".deleting"

    /// Takes the lock, and clears away what a run left behind that was killed.
    ///
    /// - Throws: `lock.held`; `job.refused` when others can write there.
    init(_ catalogue: BackupCatalogue) throws {
        self.catalogue = catalogue
        try Self.check(catalogue.directory)
        let path = "\(catalogue.directory)/.\(BackupName.prefix(of: catalogue.database)).lock"
        descriptor = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw BackupFiles.failure(path, errno) }
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            throw CertsError(
                .lockHeld, "another process makes a backup in \(catalogue.directory)", subject: catalogue.directory,
                hint: "wait until it is done; `fuser \(path)` names it", retry: .later)
        }
        try sweep()
    }

    deinit { close(descriptor) }

    static func check(_ directory: String) throws {
        var status = stat()
        guard stat(directory, &status) == 0, status.st_mode & S_IFMT == S_IFDIR else {
            throw CertsError(
                .jobRefused, "\(directory) is no directory", subject: directory,
                hint: "make it (mode 0700, owned by the user of certs); is its file system mounted?")
        }
        guard status.st_mode & 0o022 == 0 else {
            throw CertsError(
                .jobRefused, "others can write to \(directory)", subject: directory,
                hint: "`chmod 700 \(directory)`: what is restored from there becomes the database")
        }
    }

    private func sweep() throws {
        Passfile.sweep(directory)
        for name in try FileManager.default.contentsOfDirectory(atPath: directory) {
            let path = "\(directory)/\(name)"
            if name.hasSuffix(Self.partial), BackupName(String(name.dropLast(8)), of: catalogue.database) != nil {
                try FileManager.default.removeItem(atPath: path)
            } else if name.hasPrefix("."), name.hasSuffix(Self.deleting),
                BackupName(String(name.dropFirst().dropLast(9)), of: catalogue.database) != nil
            {
                try FileManager.default.removeItem(atPath: path)
            }
        }
    }

    /// A new directory for a backup that is not one yet.
    func begin(_ name: BackupName) throws -> String {
        let path = "\(directory)/\(name)\(Self.partial)"
        try BackupFiles.makeDirectory(path)
        return path
    }

    func abandon(_ path: String) { try? FileManager.default.removeItem(atPath: path) }

    /// Gives it its name. One that is there already is never replaced.
    func finish(_ path: String, _ name: BackupName) throws {
        // `rename` would replace an empty directory.
        let end = "\(directory)/\(name)"
        guard mkdir(end, 0o700) == 0 else { throw BackupFiles.failure(end, errno) }
        guard rename(path, end) == 0 else {
            let number = errno
            rmdir(end)
            throw BackupFiles.failure(end, number)
        }
        try BackupFiles.sync(directory)
    }

    /// Deletes a backup: what its manifest names, and what we put beside it.
    ///
    /// - Returns: the bytes; `nil`: it stays, because somebody reads it or something else is in it.
    func delete(_ entry: BackupCatalogue.Entry) throws -> Int? {
        guard let manifest = entry.manifest else { return nil }
        let ours =
            manifest.files.map(\.path) + [
                BackupManifest.fileName, BackupManifest.sumsName, RestoreTestRecord.fileName, OffsiteRecord.fileName,
            ]
        guard Set(try BackupFiles.list(entry.path)).isSubset(of: ours),
            let lock = try BackupLock(entry, exclusive: true)
        else { return nil }
        defer { withExtendedLifetime(lock) {} }
        let gone = "\(directory)/.\(entry.name)\(Self.deleting)"
        // From here on it is no backup any more, whatever happens.
        guard rename(entry.path, gone) == 0 else { throw BackupFiles.failure(entry.path, errno) }
        try BackupFiles.sync(directory)
        try FileManager.default.removeItem(atPath: gone)
        return manifest.bytes
    }
}

/// Keeps a backup from being deleted while it is read.
final class BackupLock: Sendable {
    private let descriptor: Int32

    /// - Returns: `nil`: somebody else has it.
    init?(_ entry: BackupCatalogue.Entry, exclusive: Bool = false) throws {
        descriptor = open(entry.path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
        guard descriptor >= 0 else { throw BackupFiles.failure(entry.path, errno) }
        guard flock(descriptor, (exclusive ? LOCK_EX : LOCK_SH) | LOCK_NB) == 0 else { return nil }
    }

    deinit { if descriptor >= 0 { close(descriptor) } }
}
