import CertsCore
import Foundation
import SystemPackage

/// Replaces a file whole or not at all, durably: temporary `.NAME.tmp` beside it, attributes before content, fsync,
/// rename, fsync of the directory.
///
/// The temporary file is locked (`flock`) by its writer until the rename. So a second writer of the same file waits,
/// and one that finds an unlocked temporary knows that its writer is dead and replaces it.
struct AtomicFile {
    let folder: Folder
    let name: String

    var temporaryName: String { ".\(name).tmp" }

    /// How long a writer waits for another one of the same file. A write takes milliseconds; this is for a stuck disk.
    private static let patience: Duration = .seconds(30)

    /// Blocks until the contents are durable.
    /// - Parameter attributes: `nil`: 0600, of this process' user and group.
    func replace(with contents: Secret, attributes: FileAttributes?) throws {
        System.survivesFileSizeLimit
        do {
            let file = try temporary()
            do {
                if let attributes { try apply(attributes, to: file) }
                try contents.withBytes { try System.write($0, to: file) }
                try System.sync(file)
                try System.retrying { renameat(folder.descriptor.raw, temporaryName, folder.descriptor.raw, name) }
            } catch {
                unlinkat(folder.descriptor.raw, temporaryName, 0)
                throw error
            }
            try System.sync(folder.descriptor)
        } catch {
            throw FileFailure.unwritable(folder.path(of: name), error)
        }
    }

    /// A new temporary file, 0600 and locked by this writer.
    private func temporary() throws -> Descriptor {
        let clock = ContinuousClock()
        let deadline = clock.now + Self.patience
        while clock.now < deadline {
            do {
                let flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW
                let file = try System.open(temporaryName, in: folder.descriptor.raw, flags: flags, mode: 0o600)
                // Another writer may have taken the file for a dead one's between the two calls, and removed it.
                try System.retrying { flock(file.raw, LOCK_EX) }
                if try file.status().st_nlink > 0 { return file }
            } catch Errno.fileExists {
                if try !Self.removeIfAbandoned(temporaryName, in: folder) { usleep(2000) }
            }
        }
        throw CertsError(
            .stateBusy, "another process has been writing \(folder.path(of: name)) for \(Self.patience)",
            subject: folder.path(of: name),
            hint: "`fuser \(folder.path(of: temporaryName))` names it; try again when it is done", retry: .later)
    }

    /// Removes a temporary file whose writer is dead.
    /// - Returns: `false` if its writer is alive.
    static func removeIfAbandoned(_ temporaryName: String, in folder: Folder) throws -> Bool {
        guard let status = try System.status(of: temporaryName, in: folder.descriptor.raw) else { return true }
        if status.isRegularFile {
            let file: Descriptor
            do {
                file = try System.open(
                    temporaryName, in: folder.descriptor.raw, flags: O_RDONLY | O_NOFOLLOW | O_NONBLOCK)
            } catch Errno.noSuchFileOrDirectory {
                return true
            }
            do {
                try System.retrying { flock(file.raw, LOCK_EX | LOCK_NB) }
            } catch Errno.wouldBlock {
                return false
            }
            // Renamed by its writer after it was opened here: the name may belong to a living writer's file by now.
            guard let now = try System.status(of: temporaryName, in: folder.descriptor.raw),
                now.isSameFile(as: try file.status())
            else { return true }
            try System.retrying { unlinkat(folder.descriptor.raw, temporaryName, 0) }
            return true
        }
        // A link or FIFO was put there by somebody else; `unlinkat` removes the entry, not what it points to.
        try System.retrying { unlinkat(folder.descriptor.raw, temporaryName, 0) }
        return true
    }

    /// Owner first: while the mode is still 0600, the new owner alone can read.
    private func apply(_ attributes: FileAttributes, to file: Descriptor) throws {
        let status = try file.status()
        if status.st_uid != attributes.owner || status.st_gid != attributes.group {
            try System.retrying { fchown(file.raw, attributes.owner, attributes.group) }
        }
        if status.permissions != attributes.mode & 0o777 {
            try System.retrying { fchmod(file.raw, attributes.mode & 0o777) }
        }
    }
}
