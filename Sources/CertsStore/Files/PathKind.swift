import Foundation

/// What stands at a path or behind a descriptor, for those who read nothing else of its status.
package enum PathKind: Sendable, Hashable {
    /// A regular file, with its size in bytes.
    case file(size: Int)
    case directory
    /// A FIFO, a socket, a device.
    case other

    /// Follows symbolic links; `nil`, with `errno` set: it cannot be looked at.
    package init?(of path: String) {
        var status = stat()
        guard stat(path, &status) == 0 else { return nil }
        self.init(status)
    }

    /// The descriptor stays open and stays the caller's; `nil`, with `errno` set: it is none.
    package init?(of descriptor: CInt) {
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { return nil }
        self.init(status)
    }

    private init(_ status: stat) {
        self = status.isRegularFile ? .file(size: Int(status.st_size)) : status.isDirectory ? .directory : .other
    }
}
