/// The files that `certs scan` looks at: found, stamped and read, never written; implemented in CertsStore.
package protocol WatchedFiles: Sendable {
    /// The regular files at or below `root`, by path. Symbolic links below the root are not followed, so no walk leaves
    /// it or goes round in circles; the root itself may be a link.
    /// - Parameter suffixes: endings of the file names that count, such as `.pem`; empty: every file.
    /// - Throws: only when the root cannot be read: a directory below it that cannot is one of the problems.
    func walk(_ root: String, suffixes: [String], limits: WalkLimits) async throws -> WatchedTree

    /// The contents with the stamp of exactly these contents; `nil` when there is no file.
    /// - Throws: `file.tooLarge` above `limit` bytes, `file.unreadable` otherwise (also if it is no regular file).
    func read(_ path: String, limit: Int) async throws -> WatchedFile?
}

/// How far a walk goes.
package struct WalkLimits: Sendable, Hashable {
    /// Entries looked at, of whatever kind.
    package var entries: Int
    /// Directories below the root.
    package var depth: Int

    package init(entries: Int = 1_000_000, depth: Int = 32) {
        self.entries = entries
        self.depth = depth
    }
}

/// What a walk found.
package struct WatchedTree: Sendable, Hashable {
    /// Sorted by path.
    package var files: [Entry]
    /// What could not be looked at; what is below it is unknown, not gone.
    package var problems: [Problem]

    package init(files: [Entry] = [], problems: [Problem] = []) {
        self.files = files
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
        /// A sentence with the next step.
        package let message: String

        package init(path: String, message: String) {
            self.path = path
            self.message = message
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
