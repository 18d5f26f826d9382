package import CertsCore
import Foundation
import SystemPackage

/// The state directory: `live/`, `authorities/`, `accounts/`, `handoff/` and the database, all 0700 and 0600.
///
/// It is opened once; everything below it is reached through its descriptor and without following links, so a link that
/// is planted inside leads nowhere. Calls that touch the disk run on a pool of their own.
package final class StateDirectory: Sendable {
    /// Absolute, without a trailing slash.
    package let path: String
    let root: Folder
    let pool: BlockingPool

    /// The files outside of the state directory.
    package let liveFiles: any LiveFiles = DiskFiles()

    private init(root: Folder) {
        self.root = root
        path = root.path
        pool = .store
    }

    /// Opens the directory, or makes it (0700) with `create`; its parent must exist.
    ///
    /// - Throws: `file.missing`; `state.insecure` for a link, a foreign owner or access by group or others;
    ///   `file.unwritable` when nothing can be written there.
    package static func open(at path: String, create: Bool) async throws -> StateDirectory {
        try await BlockingPool.store.run {
            let root = try openRoot(trimmed(path), create: create)
            try check(root)
            for name in [liveName, jobsName, windowName, notificationsName] + IssuerArea.allCases.map(\.rawValue) {
                _ = try root.folder(name)
            }
            return StateDirectory(root: root)
        }
    }

    static let liveName = "live"
    /// `jobs/JOB/`: nothing but the lock of a maintenance job.
    static let jobsName = "jobs"
    /// `window/`: nothing but the lock of who works in a maintenance window.
    static let windowName = "window"
    /// `notifications/`: nothing but the lock of who sends them.
    static let notificationsName = "notifications"

    /// A trailing slash would make the kernel follow a link in the last part.
    private static func trimmed(_ path: String) throws -> String {
        guard path.hasPrefix("/"), !path.utf8.contains(0) else {
            throw CertsError(
                .configurationInvalid, "the state directory '\(path)' is not an absolute path",
                hint: "write it beginning with '/'")
        }
        var result = path
        while result.count > 1, result.hasSuffix("/") { result.removeLast() }
        return result
    }

    private static func openRoot(_ path: String, create: Bool) throws -> Folder {
        let parent = (path as NSString).deletingLastPathComponent
        let name = (path as NSString).lastPathComponent
        guard path != "/" else {
            throw CertsError(
                .configurationInvalid, "'/' cannot be the state directory", hint: "name a directory of its own")
        }
        let above = try Folder.open(parent)
        if let status = try? System.status(of: name, in: above.descriptor.raw), !status.isDirectory {
            if status.isSymbolicLink { throw FileFailure.link(path) }
            throw CertsError(
                .stateInsecure, "the state directory \(path) is not a directory", subject: path,
                hint: "move it away, or name another path")
        }
        if create { return Folder(path: path, descriptor: try above.makeFolder(name).descriptor) }
        guard let folder = try above.folder(name) else {
            throw CertsError(
                .fileMissing, "there is no state directory \(path)", subject: path,
                hint: "make it with `certs init`, or correct `state:`")
        }
        return Folder(path: path, descriptor: folder.descriptor)
    }

    private static func check(_ folder: Folder) throws {
        let status: stat
        do { status = try folder.descriptor.status() } catch { throw FileFailure.unreadable(folder.path, error) }
        guard status.st_uid == geteuid() else {
            throw CertsError(
                .stateInsecure,
                "the state directory \(folder.path) belongs to uid \(status.st_uid), not to uid \(geteuid())",
                subject: folder.path, hint: "run as its owner, or give it away with `chown -R`")
        }
        guard status.permissions & 0o077 == 0 else {
            let mode = String(status.permissions, radix: 8)
            throw CertsError(
                .stateInsecure, "the state directory \(folder.path) is open to group or others (mode \(mode))",
                subject: folder.path,
                hint: "close it with `chmod 700 \(folder.path)`")
        }
        do {
            try System.retrying { faccessat(folder.descriptor.raw, ".", W_OK | X_OK, AT_EACCESS) }
        } catch {
            throw FileFailure.unwritable(folder.path, error)
        }
    }
}

extension BlockingPool {
    /// Work on files that ends with the disk's answer; a few threads more than cores, since they mostly wait in fsync.
    static let store = BlockingPool(name: "certs.store", width: 8)
}
