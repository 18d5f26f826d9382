import CertsCore
import Foundation
import Synchronization

/// Notifications of the kernel about directories (inotify(7)): that something in one of them was written, made, renamed
/// or removed. What it was is not asked for: a look at the directory tells.
package final class DirectoryInotify: DirectoryNotifications {
    /// More directories than this are only polled: each takes kernel memory out of a share of the user's.
    package static let limit = 4096

    private let descriptor: Descriptor
    private let pool = BlockingPool(name: "certs.inotify", width: 1)
    /// By path; a directory that was replaced under its name gets a new number from the kernel.
    private let watched = Mutex<[PathKey: CInt]>([:])
    private static let mask = UInt32(
        IN_CLOSE_WRITE | IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_ATTRIB | IN_DELETE_SELF
            | IN_MOVE_SELF)

    /// - Throws: `file.unreadable` where the kernel has no instance left: polling alone does then.
    package init() throws {
        let raw = inotify_init1(CInt(IN_NONBLOCK) | CInt(IN_CLOEXEC))
        guard raw >= 0 else {
            throw CertsError(
                .fileUnreadable, "no notifications of changed directories: \(String(cString: strerror(errno)))",
                hint: "raise fs.inotify.max_user_instances; until then changes are seen at the next scan")
        }
        descriptor = Descriptor(owning: raw)
    }

    package func watch(_ directories: [String]) async {
        let wanted = directories.prefix(Self.limit)
        try? await pool.run { [self] in
            watched.withLock { watched in
                let keep = Set(wanted.map { PathKey($0) })
                for (path, number) in watched where !keep.contains(path) {
                    inotify_rm_watch(descriptor.raw, number)
                    watched[path] = nil
                }
                // Adding again what is there changes nothing, and finds a directory that was replaced.
                for path in wanted {
                    let number = inotify_add_watch(descriptor.raw, path, Self.mask | UInt32(IN_ONLYDIR))
                    if number >= 0 { watched[PathKey(path)] = number }
                }
            }
        }
    }

    package func changed(within limit: Duration) async -> Bool {
        let milliseconds = Int32(clamping: Int(limit / .milliseconds(1)))
        let result = try? await pool.run { [descriptor] in
            var state = pollfd(fd: descriptor.raw, events: Int16(POLLIN), revents: 0)
            guard poll(&state, 1, milliseconds) > 0 else { return false }
            // What has happened is read to its end: the next wait is for something new.
            return withUnsafeTemporaryAllocation(byteCount: 1 << 16, alignment: 8) { space in
                var any = false
                while read(descriptor.raw, space.baseAddress, space.count) > 0 { any = true }
                return any
            }
        }
        return result ?? false
    }
}
