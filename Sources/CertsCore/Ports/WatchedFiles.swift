package import Foundation

/// Files that are looked at and never written: what `certs scan` walks through. Implemented in CertsStore.
package protocol WatchedFiles: Sendable {
    /// The regular files below `root`, by path; bounded in number and depth, links are not followed.
    /// - Throws: when `root` itself cannot be read; what cannot be read below it is left out.
    func walk(_ root: String) async throws -> [WatchedFile]

    /// The contents of one file. Blocking, since it is called many times from a thread made for it.
    /// - Throws: `file.tooLarge` above `limit` bytes, `file.missing`, `file.unreadable`.
    func read(_ path: String, limit: Int) throws -> Data
}

package struct WatchedFile: Sendable, Hashable {
    package let path: String
    package let stamp: FileStamp

    package init(path: String, stamp: FileStamp) {
        self.path = path
        self.stamp = stamp
    }
}
