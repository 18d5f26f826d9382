import CertsCore
import CertsPrograms
import Foundation

/// The files of a backup: durable, the owner's alone, and known by their digests. Blocking but for what is `async`.
enum BackupFiles {
    static func failure(_ path: String, _ number: Int32) -> CertsError {
        CertsError(
            .fileUnwritable, "\(path): \(String(cString: strerror(number)))", subject: path,
            hint: "look at the directory of the backups and the space on its disk", retry: .later)
    }

    /// Paths of the regular files, relative to `directory`; a dump is one folder deep at most.
    static func list(_ directory: String) throws -> [String] {
        guard let walker = FileManager.default.enumerator(atPath: directory) else { throw failure(directory, ENOENT) }
        var found: [String] = []
        while let path = walker.nextObject() as? String {
            if size("\(directory)/\(path)") != nil { found.append(path) }
        }
        return found.sorted()
    }

    static func size(_ path: String) -> Int? {
        var status = stat()
        guard lstat(path, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { return nil }
        return Int(status.st_size)
    }

    /// Space on the file system that `path` is on, for ordinary users, in bytes.
    static func free(_ path: String) -> Int? {
        var status = statvfs()
        guard statvfs(path, &status) == 0 else { return nil }
        return Int(
            clamping: UInt64(status.f_bavail).multipliedReportingOverflow(by: UInt64(status.f_frsize)).partialValue)
    }

    /// Makes a directory (0700).
    static func makeDirectory(_ path: String) throws {
        guard mkdir(path, 0o700) == 0 else { throw failure(path, errno) }
    }

    /// Replaces a file (0600) whole or not at all.
    static func write(_ bytes: Data, to path: String) throws {
        let temporary = path + ".partial"
        let file = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0o600)
        guard file >= 0 else { throw failure(temporary, errno) }
        defer { close(file) }
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Foundation.write(file, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw failure(temporary, errno) }
            rest = rest.dropFirst(count)
        }
        guard fsync(file) == 0, rename(temporary, path) == 0 else { throw failure(path, errno) }
        try sync((path as NSString).deletingLastPathComponent)
    }

    /// Makes a file or a directory durable.
    static func sync(_ path: String) throws {
        let file = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC)
        guard file >= 0 else { throw failure(path, errno) }
        defer { close(file) }
        guard fsync(file) == 0 else { throw failure(path, errno) }
    }

    /// Nobody else may read them, and they outlive a power failure.
    static func seal(_ directory: String, _ files: [String]) throws {
        var folders: Set<String> = [directory]
        for file in files {
            let path = "\(directory)/\(file)"
            guard chmod(path, 0o600) == 0 else { throw failure(path, errno) }
            try sync(path)
            folders.insert((path as NSString).deletingLastPathComponent)
        }
        for folder in folders {
            guard chmod(folder, 0o700) == 0 else { throw failure(folder, errno) }
            try sync(folder)
        }
    }

    /// The lines of `sha256sum` for `files`.
    static func sums(_ directory: String, _ files: [String], _ control: JobControl) async throws -> Data {
        var text = Data()
        // An argument vector has its limit.
        for start in stride(from: 0, to: files.count, by: 1000) {
            let part = files[start..<min(start + 1000, files.count)]
            let program = Program(
                ["env", "-C", directory, "sha256sum", "--"] + part, deadline: control.left, outputLimit: 1 << 20)
            do {
                text += try await program.run()
            } catch let failure as ProgramFailure {
                throw failure.certsError(.jobFailed, "sha256sum", subject: directory)
            }
        }
        return text
    }

    /// Reads the whole backup and compares it with its digests.
    ///
    /// - Throws: `job.failed` when it is not what was written.
    static func verify(_ entry: BackupCatalogue.Entry, _ control: JobControl) async throws {
        if let damage = entry.damage { throw damaged(entry.name, damage) }
        guard let manifest = entry.manifest,
            let sums = FileManager.default.contents(atPath: entry.path(BackupManifest.sumsName))
        else { throw damaged(entry.name, "it has no digests") }
        // `DIGEST  PATH`: each file has its line, or leaving one out would make it good.
        let listed = String(decoding: sums, as: UTF8.self).split(separator: "\n").map { $0.dropFirst(66) }
        guard Set(listed.map(String.init)) == Set(manifest.files.map(\.path) + [BackupManifest.fileName]) else {
            throw damaged(entry.name, "its digests are not those of its files")
        }
        let program = Program(
            ["env", "-C", entry.path, "sha256sum", "--check", "--strict", "--quiet", BackupManifest.sumsName],
            deadline: control.left, outputLimit: 1 << 20)
        do {
            try await program.run()
        } catch ProgramFailure.failed(_, let words) {
            throw damaged(entry.name, words)
        } catch let failure as ProgramFailure {
            throw failure.certsError(.jobFailed, "sha256sum", subject: entry.path)
        }
    }

    private static func damaged(_ name: String, _ why: String) -> CertsError {
        CertsError(
            .jobFailed, "the backup \(name) is damaged: \(why)", subject: name,
            hint: "take another one (`certs maintenance backups`), and look at the disk")
    }
}
