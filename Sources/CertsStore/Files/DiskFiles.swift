package import CertsCore
import Foundation
import SystemPackage

/// The live files of targets: read, replaced atomically, locked by their directory.
///
/// The way to the file is the administrator's: links in it are followed. If the file itself is a link, the file that it
/// leads to is the one that is read and replaced, in its own directory, so that a linked `server.pem` stays linked.
package struct DiskFiles: LiveFiles {
    package init() {}

    package func read(_ path: String, limit: Int) async throws -> LiveFile? {
        try await BlockingPool.store.run {
            guard let place = try Self.place(of: path, forWriting: false),
                let found = try place.folder.read(place.name, limit: limit)
            else { return nil }
            return LiveFile(contents: found.contents, attributes: found.status.attributes)
        }
    }

    package func install(_ contents: Secret, at path: String, attributes: FileAttributes?) async throws {
        try await BlockingPool.store.run {
            guard let place = try Self.place(of: path, forWriting: true) else { throw Self.noDirectory(of: path) }
            try place.replace(with: contents, attributes: try attributes ?? Self.attributes(at: place))
        }
    }

    package func remove(_ path: String) async throws {
        try await BlockingPool.store.run {
            guard let place = try Self.place(of: path, forWriting: false) else { return }
            if let status = try Self.status(at: place), status.isDirectory {
                throw FileFailure.unwritable(path, Errno.isDirectory)
            }
            try place.folder.remove(place.name)
        }
    }

    package func removeEntry(_ path: String) async throws {
        try Self.check(path)
        try await BlockingPool.store.run { try Self.direct(path).map { try $0.folder.remove($0.name) } }
    }

    package func names(in directory: String) async throws -> [String] {
        try Self.check(directory)
        return try await BlockingPool.store.run {
            let folder = try Folder.open(directory)
            return try folder.names().prefix(Self.largestDirectory).filter { name in
                var status = stat()
                return fstatat(folder.descriptor.raw, name, &status, 0) == 0 && status.st_mode & S_IFMT == S_IFREG
            }
        }
    }

    /// In entries.
    private static let largestDirectory = 100_000

    package func lockDirectory(_ path: String, deadline: Duration) async throws -> any HeldLock {
        try Self.check(path)
        return try await KernelLock.take("the directory \(path)", path: path, deadline: deadline, on: .store) {
            try Folder.open(path)
        }
    }

    /// Removes the temporary file that a process left beside `path` when it died while writing it, if there is one.
    package func removeLeftover(of path: String) async throws {
        try await BlockingPool.store.run {
            guard let place = try Self.place(of: path, forWriting: false) else { return }
            do {
                guard try System.status(of: place.temporaryName, in: place.folder.descriptor.raw) != nil else { return }
                if try AtomicFile.removeIfAbandoned(place.temporaryName, in: place.folder) { try place.folder.sync() }
            } catch {
                throw FileFailure.unwritable(place.folder.path(of: place.temporaryName), error)
            }
        }
    }

    /// The directory and name of the file that `path` leads to; `nil`: there is no such directory.
    private static func place(of path: String, forWriting: Bool) throws -> AtomicFile? {
        try check(path)
        guard let place = try direct(path) else { return nil }
        guard let status = try status(at: place), status.isSymbolicLink else { return place }
        guard let resolved = realpath(path, nil) else {
            let failure = Errno(rawValue: errno)
            guard forWriting || failure != .noSuchFileOrDirectory else { return nil }
            throw CertsError(
                .fileUnwritable, "\(path) is a symbolic link that leads nowhere", subject: path,
                hint: "remove the link, or make the file that it names", cause: failure)
        }
        defer { free(resolved) }
        return try direct(String(cString: resolved))
    }

    private static func direct(_ path: String) throws -> AtomicFile? {
        let parent = (path as NSString).deletingLastPathComponent
        do {
            return AtomicFile(folder: try Folder.open(parent), name: (path as NSString).lastPathComponent)
        } catch let error as CertsError where error.code == .fileMissing {
            return nil
        }
    }

    private static func status(at place: AtomicFile) throws -> stat? {
        do {
            return try System.status(of: place.name, in: place.folder.descriptor.raw)
        } catch {
            throw FileFailure.unreadable(place.folder.path(of: place.name), error)
        }
    }

    /// What the new file gets: the attributes of the one that it replaces.
    private static func attributes(at place: AtomicFile) throws -> FileAttributes? {
        guard let status = try status(at: place) else { return nil }
        guard status.isRegularFile else {
            let path = place.folder.path(of: place.name)
            throw CertsError(
                .fileUnwritable, "\(path) is not a regular file", subject: path,
                hint: "`stat \(path)` shows what it is; name a file")
        }
        return status.attributes
    }

    static func check(_ path: String) throws {
        guard path.hasPrefix("/"), !path.hasSuffix("/"), !path.utf8.contains(0), path.utf8.count < Int(PATH_MAX) else {
            throw CertsError(
                .configurationInvalid, "'\(path)' is not an absolute path of a file",
                hint: "write it beginning with '/'")
        }
    }

    private static func noDirectory(of path: String) -> CertsError {
        let parent = (path as NSString).deletingLastPathComponent
        return CertsError(
            .fileUnwritable, "cannot write \(path): there is no directory \(parent)", subject: path,
            hint: "make it with `mkdir -p \(parent)`, or correct the path")
    }
}
