import CertsDocker
import Foundation

/// Which files of this host a container sees, and where.
///
/// Blocking: asks the file system for real paths and identities.
struct ContainerMounts: Sendable {
    let mounts: [ContainerMount]

    /// How a container comes to see a file of the host.
    struct Place: Sendable, Equatable {
        let path: String
        /// The mount is of this file alone: a rename on the host does not reach it.
        let isSingleFile: Bool
    }

    /// The path of a file of this host inside of the container; `nil` where no mount has it.
    ///
    /// Symbolic links are resolved on the host's side, and a directory counts as the same where it has the same
    /// identity: a volume whose driver mounts a directory is found by that directory's path.
    func place(of hostPath: String) -> Place? {
        let host = Self.realPath(ofFile: hostPath)
        let places = mounts.compactMap { mount -> (mount: ContainerMount, place: Place)? in
            guard let source = mount.source, !source.isEmpty, let rest = Self.rest(of: host, below: source) else {
                return nil
            }
            let destination = mount.destination == "/" ? "" : mount.destination
            return (mount, Place(path: destination + rest, isSingleFile: rest.isEmpty))
        }
        return places.first { found in
            // Another mount may lie over the place.
            !mounts.contains { $0 != found.mount && Self.isDeeper($0, than: found.mount, over: found.place.path) }
        }?.place
    }

    /// What follows `source` in `host`, beginning with a slash; empty where they are one file; `nil`: not below it.
    private static func rest(of host: String, below source: String) -> String? {
        let real = realPath(source) ?? source
        // Also where the source is a link: the container was given what it led to at its start.
        if host == real || host == realPath(ofFile: source) { return "" }
        if real == "/" { return host }
        if host.hasPrefix(real + "/") { return String(host.dropFirst(real.count)) }
        guard let identity = Identity(real), identity.isDirectory else { return nil }
        var directory = host[..<(host.lastIndex(of: "/") ?? host.startIndex)]
        while !directory.isEmpty {
            if Identity(String(directory)) == identity { return String(host.dropFirst(directory.count)) }
            directory = directory[..<(directory.lastIndex(of: "/") ?? directory.startIndex)]
        }
        return nil
    }

    private static func isDeeper(_ mount: ContainerMount, than other: ContainerMount, over path: String) -> Bool {
        mount.destination.utf8.count > other.destination.utf8.count
            && (mount.destination == path || path.hasPrefix(mount.destination + "/"))
    }

    /// The real path of its directory, and its name: it is replaced by a rename, which follows no link, and may not be
    /// there yet.
    private static func realPath(ofFile path: String) -> String {
        guard let slash = path.lastIndex(of: "/") else { return path }
        let directory = slash == path.startIndex ? "/" : String(path[..<slash])
        guard let real = realPath(directory) else { return path }
        return (real == "/" ? "" : real) + path[slash...]
    }

    private static func realPath(_ path: String) -> String? {
        guard let pointer = realpath(path, nil) else { return nil }
        defer { free(pointer) }
        return String(cString: pointer)
    }

    private struct Identity: Equatable {
        let device: dev_t
        let number: ino_t
        let isDirectory: Bool

        init?(_ path: String) {
            var status = stat()
            guard stat(path, &status) == 0 else { return nil }
            (device, number) = (status.st_dev, status.st_ino)
            isDirectory = status.st_mode & S_IFMT == S_IFDIR
        }
    }
}
