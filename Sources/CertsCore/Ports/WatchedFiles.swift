/// The files that scans look at: found, stamped and read, never written; implemented in CertsStore.
package protocol WatchedFiles: Sendable {
    /// The regular files at or below `root`, by path. A link to a file counts as that file; links to directories below
    /// the root are not followed, so no walk leaves it or goes round in circles. The root itself may be a link.
    /// - Parameter suffixes: endings of the file names that count, such as `.pem`; empty: every file.
    /// - Throws: `configuration.invalid` for a path that is not absolute; everything else is one of the problems.
    func walk(_ root: String, suffixes: [String], limits: WalkLimits) async throws -> WatchedTree

    /// The contents with the stamp of exactly these contents; never waits for a writer of a FIFO.
    /// - Throws: ``WatchFailure``.
    func read(_ path: String, limit: Int) async throws -> WatchedFile

    /// The same with many files, one after the other: what `body` makes of each, in the order of the paths.
    /// - Parameter body: runs on a thread that may block, right after its file was read; it may compute, for a short time.
    func read<Value: Sendable>(
        _ paths: [String], limit: Int, _ body: @escaping @Sendable (Int, Result<WatchedFile, any Error>) -> Value
    ) async -> [Value]
}

extension WatchedFiles {
    package func read<Value: Sendable>(
        _ paths: [String], limit: Int, _ body: @escaping @Sendable (Int, Result<WatchedFile, any Error>) -> Value
    ) async -> [Value] {
        var values: [Value] = []
        for (index, path) in paths.enumerated() {
            do {
                let file = try await read(path, limit: limit)
                values.append(body(index, .success(file)))
            } catch {
                values.append(body(index, .failure(error)))
            }
        }
        return values
    }
}

/// How far a walk goes.
package struct WalkLimits: Sendable, Hashable {
    /// Entries looked at, of whatever kind.
    package var entries: Int
    /// Directories below the root.
    package var depth: Int
    /// Whether directories below the root are entered.
    package var isRecursive: Bool

    package init(entries: Int = 1_000_000, depth: Int = 32, isRecursive: Bool = true) {
        self.entries = entries
        self.depth = depth
        self.isRecursive = isRecursive
    }
}

/// What a walk found.
package struct WatchedTree: Sendable, Hashable {
    /// Sorted by path.
    package var files: [Entry]
    /// Those that were entered, the root first.
    package var directories: [String]
    /// What could not be looked at, or is no file although it is named like one.
    package var problems: [Problem]
    /// Why the root itself could not be read: nothing is known then.
    package var rootFailure: WatchFailure?

    package init(files: [Entry] = [], directories: [String] = [], problems: [Problem] = []) {
        self.files = files
        self.directories = directories
        self.problems = problems
    }

    package struct Entry: Sendable, Hashable {
        package let path: String
        package let stamp: FileStamp

        package init(path: String, stamp: FileStamp) {
            self.path = path
            self.stamp = stamp
        }
    }

    package struct Problem: Sendable, Hashable {
        package let path: String
        package let stamp: FileStamp
        package let failure: WatchFailure
        /// Whether more would be below it: that is unknown, not gone.
        package let isDirectory: Bool

        package init(path: String, stamp: FileStamp, failure: WatchFailure, isDirectory: Bool) {
            self.path = path
            self.stamp = stamp
            self.failure = failure
            self.isDirectory = isDirectory
        }
    }
}

/// One file as it was read. It may hold a private key, so its contents are a secret.
package struct WatchedFile: Sendable {
    package let contents: Secret
    package let stamp: FileStamp

    package init(contents: Secret, stamp: FileStamp) {
        self.contents = contents
        self.stamp = stamp
    }
}
