/// The files outside of the state directory that a target owns: read, replaced atomically, locked.
///
/// Implemented in CertsStore (`AtomicFile`), injected where targets are made: CertsHAProxy opens no file itself.
package protocol LiveFiles: Sendable {
    /// The contents and attributes; `nil` when there is no file.
    /// - Throws: `file.tooLarge` above `limit` bytes, `file.unreadable` otherwise (also for what is not a regular file).
    func read(_ path: String, limit: Int) async throws -> LiveFile?

    /// Replaces the file: temporary `.NAME.tmp` in the same directory, attributes before content, fsync, rename, fsync
    /// of the directory. With `attributes` `nil` a new file is 0600 and an existing one keeps its own.
    func install(_ contents: Secret, at path: String, attributes: FileAttributes?) async throws

    /// Removes the file, if it is there, and syncs the directory.
    func remove(_ path: String) async throws

    /// Removes the entry itself, if it is there, and syncs the directory: of a link the link, not what it leads to.
    func removeEntry(_ path: String) async throws

    /// The names of the regular files in a directory, links to such included, unsorted; bounded in number (100,000).
    func names(in directory: String) async throws -> [String]

    /// Takes a kernel lock on a directory, host-wide; waits up to `deadline`.
    /// - Throws: `lock.held` when somebody else still holds it then.
    func lockDirectory(_ path: String, deadline: Duration) async throws -> any HeldLock
}

package struct LiveFile: Sendable {
    package let contents: Secret
    package let attributes: FileAttributes

    package init(contents: Secret, attributes: FileAttributes) {
        self.contents = contents
        self.attributes = attributes
    }
}

/// A lock that is held until `release`, until this value is released, or until the process dies: the kernel frees it.
package protocol HeldLock: Sendable, AnyObject {
    func release()
}
