package import CertsCore
import Foundation
import SystemPackage

/// Finds and reads the files of scans.
package struct FileWalker: WatchedFiles {
    package init() {}

    package func walk(_ root: String, suffixes: [String], limits: WalkLimits) async throws -> WatchedTree {
        guard root.hasPrefix("/"), !root.utf8.contains(0) else {
            throw CertsError(
                .configurationInvalid, "'\(root)' is not an absolute path", hint: "write it beginning with '/'")
        }
        return try await BlockingPool.store.run {
            var walk = Walk(suffixes: suffixes.map { Array($0.utf8) }, limits: limits)
            walk.start(at: root)
            return walk.result
        }
    }

    package func read(_ path: String, limit: Int) async throws -> WatchedFile {
        try await BlockingPool.store.run { try Self.readNow(path, limit) }
    }

    package func read<Value: Sendable>(
        _ paths: [String], limit: Int, _ body: @escaping @Sendable (Int, Result<WatchedFile, any Error>) -> Value
    ) async -> [Value] {
        let values = try? await BlockingPool.store.run {
            paths.enumerated().map { index, path in body(index, Result { try Self.readNow(path, limit) }) }
        }
        return values ?? []
    }

    private static func readNow(_ path: String, _ limit: Int) throws -> WatchedFile {
        do {
            let file = try System.open(path, in: AT_FDCWD, flags: O_RDONLY | O_NONBLOCK)
            let status = try file.status()
            guard status.isRegularFile else { throw Walk.notRegular(path) }
            guard status.st_size <= limit else {
                throw WatchFailure(.tooLarge, "\(path) is larger than \(limit) bytes; check what it is")
            }
            return WatchedFile(
                contents: try Folder.contents(of: file, status: status, path: path, limit: limit), stamp: status.stamp)
        } catch {
            throw Walk.failure(error, path)
        }
    }
}

private struct Walk {
    let suffixes: [[UInt8]]
    let limits: WalkLimits
    private var tree = WatchedTree()
    private var seen = 0

    init(suffixes: [[UInt8]], limits: WalkLimits) {
        self.suffixes = suffixes
        self.limits = limits
    }

    var result: WatchedTree {
        var sorted = tree
        sorted.files.sort { $0.path < $1.path }
        return sorted
    }

    mutating func start(at root: String) {
        do {
            var status = stat()
            guard stat(root, &status) == 0 else { throw Errno(rawValue: errno) }
            if status.isRegularFile {
                tree.files.append(.init(path: root, stamp: status.stamp))
                return
            }
            guard status.isDirectory else { throw Self.notRegular(root) }
            let descriptor = try System.open(root, in: AT_FDCWD, flags: O_RDONLY | O_DIRECTORY)
            let folder = Folder(path: root, descriptor: descriptor)
            enter(folder, names: try folder.rawNames(), depth: 0)
        } catch {
            tree.rootFailure = Self.failure(error, root)
        }
    }

    private mutating func enter(_ folder: Folder, names: [[UInt8]], depth: Int) {
        tree.directories.append(folder.path)
        for name in names {
            guard seen < limits.entries else {
                // Said once: every directory above ends here as well.
                if seen == limits.entries {
                    note(
                        folder.path, FileStamp(), .tooMany,
                        "the walk ended after \(limits.entries) entries; scan a smaller directory", isDirectory: true)
                }
                seen = limits.entries + 1
                return
            }
            seen += 1
            visit(name, in: folder, depth: depth)
        }
    }

    private mutating func visit(_ raw: [UInt8], in folder: Folder, depth: Int) {
        guard let name = readable(raw) else {
            // Named like no other: two names that are repaired to the same text are two problems.
            if accepts(raw) {
                let shown = "\(TerminalText.sanitized(String(decoding: raw, as: UTF8.self))) (\(Hex.encode(raw)))"
                note(
                    folder.path(of: shown), FileStamp(), .badName,
                    "the name of a file in \(folder.path) is not plain UTF-8; rename it")
            }
            return
        }
        let path = folder.path(of: name)
        do {
            guard let status = try System.status(of: name, in: folder.descriptor.raw) else { return }
            if status.isDirectory {
                try descend(name, status, in: folder, depth: depth)
            } else if accepts(Array(name.utf8)) {
                note(path, name, status, in: folder)
            }
        } catch {
            tree.problems.append(
                .init(path: path, stamp: FileStamp(), failure: Self.failure(error, path), isDirectory: true))
        }
    }

    /// A file, or something that is named like one.
    private mutating func note(_ path: String, _ name: String, _ status: stat, in folder: Folder) {
        if status.isRegularFile {
            tree.files.append(.init(path: path, stamp: status.stamp))
        } else if status.isSymbolicLink {
            var target = stat()
            if fstatat(folder.descriptor.raw, name, &target, 0) == 0 {
                if target.isRegularFile {
                    tree.files.append(.init(path: path, stamp: target.stamp))
                } else if !target.isDirectory {
                    note(path, target.stamp, .notRegular, Self.notRegular(path).message)
                }
            } else {
                let code = Errno(rawValue: errno)
                let isDangling = [.noSuchFileOrDirectory, .tooManySymbolicLinkLevels, .notDirectory].contains(code)
                let reason = isDangling ? WatchReason.danglingLink : Self.failure(code, path).reason
                note(path, status.stamp, reason, "\(path) is a symbolic link that leads nowhere; correct or remove it")
            }
        } else {
            note(path, status.stamp, .notRegular, Self.notRegular(path).message)
        }
    }

    private mutating func descend(_ name: String, _ status: stat, in folder: Folder, depth: Int) throws {
        let path = folder.path(of: name)
        if !suffixes.isEmpty, accepts(Array(name.utf8)) {
            // Docker makes such a directory where the file of a bind mount is missing.
            note(path, status.stamp, .notRegular, "\(path) is a directory, although it is named like a file")
        }
        guard limits.isRecursive else { return }
        guard depth < limits.depth else {
            return note(
                path, status.stamp, .tooMany,
                "it is more than \(limits.depth) directories deep; scan it by itself", isDirectory: true)
        }
        do {
            let flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW
            let below = Folder(
                path: path, descriptor: try System.open(name, in: folder.descriptor.raw, flags: flags))
            enter(below, names: try below.rawNames(), depth: depth + 1)
        } catch {
            tree.problems.append(
                .init(path: path, stamp: status.stamp, failure: Self.failure(error, path), isDirectory: true))
        }
    }

    /// `nil` for a name that cannot be shown as it is.
    private func readable(_ raw: [UInt8]) -> String? {
        guard let name = String(validating: raw, as: UTF8.self) else { return nil }
        return name.unicodeScalars.allSatisfy { $0.value >= 0x20 && $0.value != 0x7f } ? name : nil
    }

    private func accepts(_ name: [UInt8]) -> Bool {
        if suffixes.isEmpty { return true }
        return suffixes.contains { name.count > $0.count && name.suffix($0.count).elementsEqual($0) }
    }

    private mutating func note(
        _ path: String, _ stamp: FileStamp, _ reason: WatchReason, _ message: String, isDirectory: Bool = false
    ) {
        tree.problems.append(
            .init(path: path, stamp: stamp, failure: WatchFailure(reason, message), isDirectory: isDirectory))
    }

    static func notRegular(_ path: String) -> WatchFailure {
        WatchFailure(.notRegular, "\(path) is not a regular file; `stat \(path)` shows what it is")
    }

    static func failure(_ error: any Error, _ path: String) -> WatchFailure {
        if let failure = error as? WatchFailure { return failure }
        let said = (error is Errno ? FileFailure.unreadable(path, error) : CertsError.wrapping(error))
        let message = said.hint.map { "\(said.message); \($0)" } ?? said.message
        let reason: WatchReason =
            switch error as? Errno {
            case .permissionDenied, .notPermitted: .permissionDenied
            case .noSuchFileOrDirectory, .notDirectory: .notFound
            case .tooManySymbolicLinkLevels: .danglingLink
            default: said.code == .fileTooLarge ? .tooLarge : said.code == .fileMissing ? .notFound : .readFailed
            }
        return WatchFailure(reason, message)
    }
}

extension FileStamp {
    /// Of something that has none.
    fileprivate init() { self.init(device: 0, inode: 0, size: 0, modified: 0, changed: 0) }
}
