package import CertsCore
import Foundation
import SystemPackage

/// Finds and reads the files of `certs scan`.
package struct FileWalker: WatchedFiles {
    package init() {}

    package func walk(_ root: String, suffixes: [String], limits: WalkLimits) async throws -> WatchedTree {
        try await BlockingPool.store.run {
            var walk = Walk(suffixes: suffixes.map { Array($0.utf8) }, limits: limits)
            try walk.start(at: root)
            return walk.result
        }
    }

    package func read(_ path: String, limit: Int) async throws -> WatchedFile? {
        try await BlockingPool.store.run {
            try DiskFiles.check(path)
            let parent = try Folder.open((path as NSString).deletingLastPathComponent)
            guard let found = try parent.read((path as NSString).lastPathComponent, limit: limit) else { return nil }
            return WatchedFile(contents: found.contents, stamp: found.status.stamp)
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

    mutating func start(at root: String) throws {
        guard root.hasPrefix("/"), !root.utf8.contains(0) else {
            throw CertsError(
                .configurationInvalid, "'\(root)' is not an absolute path", hint: "write it beginning with '/'")
        }
        var status = stat()
        guard stat(root, &status) == 0 else {
            let failure = Errno(rawValue: errno)
            if failure == .noSuchFileOrDirectory {
                throw CertsError(
                    .fileMissing, "there is no file or directory \(root)", subject: root, hint: "correct the path")
            }
            throw FileFailure.unreadable(root, failure)
        }
        if status.isRegularFile {
            tree.files.append(.init(path: root, stamp: status.stamp))
            return
        }
        let folder = try Folder.open(root)
        enter(folder, names: try folder.names(), depth: 0)
    }

    private mutating func enter(_ folder: Folder, names: [String], depth: Int) {
        for name in names {
            guard seen < limits.entries else {
                // Said once: every directory above ends here as well.
                if seen == limits.entries {
                    note(folder.path, "the walk ended after \(limits.entries) entries; scan a smaller directory")
                }
                seen = limits.entries + 1
                return
            }
            seen += 1
            visit(name, in: folder, depth: depth)
        }
    }

    private mutating func visit(_ name: String, in folder: Folder, depth: Int) {
        let path = folder.path(of: name)
        do {
            guard let status = try System.status(of: name, in: folder.descriptor.raw) else { return }
            if status.isRegularFile {
                if accepts(name) { tree.files.append(.init(path: path, stamp: status.stamp)) }
            } else if status.isDirectory {
                guard depth < limits.depth else {
                    note(path, "it is more than \(limits.depth) directories deep; scan it by itself")
                    return
                }
                guard let below = try folder.folder(name) else { return }
                enter(below, names: try below.names(), depth: depth + 1)
            }
        } catch {
            note(path, CertsError.wrapping(error is Errno ? FileFailure.unreadable(path, error) : error).description)
        }
    }

    private func accepts(_ name: String) -> Bool {
        if suffixes.isEmpty { return true }
        let bytes = name.utf8
        return suffixes.contains { bytes.count > $0.count && bytes.suffix($0.count).elementsEqual($0) }
    }

    private mutating func note(_ path: String, _ message: String) {
        tree.problems.append(.init(path: path, message: message))
    }
}
