import CertsCore
import Foundation
import SystemPackage

/// An open file descriptor, closed when this value is released; always close-on-exec.
///
/// Shared and immutable: the calls on it are safe from several threads, as the kernel's are.
final class Descriptor: Sendable {
    let raw: CInt

    /// Takes ownership of `raw`.
    init(owning raw: CInt) { self.raw = raw }

    deinit { close(raw) }

    func status() throws -> stat {
        var status = stat()
        guard fstat(raw, &status) == 0 else { throw Errno(rawValue: errno) }
        return status
    }
}

/// The calls of the kernel that report by `errno`, as functions that throw `Errno`.
enum System {
    /// Repeats a call that a signal interrupted.
    @discardableResult
    static func retrying(_ body: () -> CInt) throws -> CInt {
        while true {
            let result = body()
            if result >= 0 { return result }
            if errno != EINTR { throw Errno(rawValue: errno) }
        }
    }

    static func open(_ name: String, in directory: CInt, flags: CInt, mode: mode_t = 0) throws -> Descriptor {
        Descriptor(owning: try retrying { openat(directory, name, flags | O_CLOEXEC | O_NOCTTY, mode) })
    }

    /// The status of a directory entry itself, a symbolic link not followed; `nil`: there is none.
    static func status(of name: String, in directory: CInt) throws -> stat? {
        var status = stat()
        if fstatat(directory, name, &status, AT_SYMLINK_NOFOLLOW) == 0 { return status }
        if errno == ENOENT { return nil }
        throw Errno(rawValue: errno)
    }

    /// Writes all bytes; short writes are continued.
    static func write(_ bytes: UnsafeRawBufferPointer, to descriptor: Descriptor) throws {
        var rest = bytes[...]
        while !rest.isEmpty {
            let slice = UnsafeRawBufferPointer(rebasing: rest)
            let count = Glibc.write(descriptor.raw, slice.baseAddress, slice.count)
            if count > 0 {
                rest = rest.dropFirst(count)
            } else if count == 0 {
                // POSIX allows 0 for a regular file only on an error that it does not name: never spin on it.
                throw Errno.ioError
            } else if errno != EINTR {
                throw Errno(rawValue: errno)
            }
        }
    }

    /// Makes the file's bytes (or the directory's entries) durable.
    ///
    /// Never called again on the same descriptor after a failure: the kernel reports a lost page once and forgets it.
    static func sync(_ descriptor: Descriptor) throws {
        try retrying { fsync(descriptor.raw) }
    }

    /// Makes writes beyond `ulimit -f` fail with `EFBIG` where the default would kill the process.
    static let survivesFileSizeLimit: Void = { signal(SIGXFSZ, SIG_IGN) }()
}

extension stat {
    var isRegularFile: Bool { st_mode & S_IFMT == S_IFREG }
    var isDirectory: Bool { st_mode & S_IFMT == S_IFDIR }
    var isSymbolicLink: Bool { st_mode & S_IFMT == S_IFLNK }
    var permissions: UInt32 { st_mode & 0o7777 }

    func isSameFile(as other: stat) -> Bool { st_dev == other.st_dev && st_ino == other.st_ino }

    var stamp: FileStamp {
        FileStamp(
            device: UInt64(st_dev), inode: UInt64(st_ino), size: Int64(st_size), modified: st_mtim.nanoseconds,
            changed: st_ctim.nanoseconds)
    }

    var attributes: FileAttributes { FileAttributes(mode: permissions, owner: st_uid, group: st_gid) }
}

extension timespec {
    /// Wraps beyond the year 2262: a stamp is compared, never read as a time.
    fileprivate var nanoseconds: Int64 { Int64(tv_sec) &* 1_000_000_000 &+ Int64(tv_nsec) }
}
