import CertsCore
import Foundation

/// The old files below a directory. Walks physically: no symbolic link is followed, no other file system is entered, and
/// each directory is reached through the descriptor of the one above it, so that a rename meanwhile leads nowhere else.
///
/// Blocking.
struct OldFiles {
    struct Found: Equatable {
        /// From the root: directories, and the name.
        let parts: [String]
        let identity: OpenFiles.Identity
        let size: Int
        /// When it was last written, in nanoseconds since 1970.
        let modified: Int64

        var path: String { parts.joined(separator: "/") }
    }

    let work: FileCleanUp
    let now: Date
    /// Asked between two directories.
    let isOver: () -> Bool
    private var files: [Found] = []
    /// What other file systems, or other places of this one, are mounted on.
    private let mounts: Set<String>
    /// All regular files below the root.
    private(set) var total = 0
    /// What could not be looked at.
    private(set) var problems: [String] = []

    private static let depthLimit = 32
    private static let entryLimit = 2_000_000

    init(_ work: FileCleanUp, now: Date, isOver: @escaping () -> Bool = { false }) {
        self.work = work
        self.now = now
        self.isOver = isOver
        mounts = Self.mountPoints()
    }

    /// Of this host (proc(5), mountinfo). A place of the same file system that is bound here has its device number.
    private static func mountPoints() -> Set<String> {
        let text = (try? String(contentsOfFile: "/proc/self/mountinfo", encoding: .utf8)) ?? ""
        return Set(
            text.split(separator: "\n").compactMap { line -> String? in
                let fields = line.split(separator: " ")
                guard fields.count > 4 else { return nil }
                return String(fields[4]).replacing("\\040", with: " ").replacing("\\011", with: "\t").replacing(
                    "\\012", with: "\n"
                ).replacing("\\134", with: "\\")
            })
    }

    /// Files that match and are old enough, the oldest first.
    ///
    /// - Throws: `job.refused` for a root that cannot be meant.
    mutating func find() throws -> [Found] {
        let root = try Self.open(work.root)
        defer { close(root) }
        var status = stat()
        guard fstat(root, &status) == 0 else { throw Self.failure(work.root, errno) }
        try walk(root, [], device: status.st_dev)
        guard total > 0 else {
            throw CertsError(
                .jobRefused, "there is no file below \(work.root)", subject: work.root,
                hint: "is its file system mounted? `findmnt -T \(work.root)`", retry: .later)
        }
        return files.sorted { ($0.modified, $0.path) < ($1.modified, $1.path) }
    }

    /// Opens the root.
    ///
    /// - Throws: `job.refused` for a directory of the system, a link, or what is not there.
    static func open(_ root: String) throws -> CInt {
        guard let pointer = realpath(root, nil) else { throw failure(root, errno) }
        defer { free(pointer) }
        let real = String(cString: pointer)
        let plain = root.count > 1 && root.hasSuffix("/") ? String(root.dropLast()) : root
        guard real == plain else {
            throw CertsError(
                .jobRefused, "a part of \(root) is a symbolic link: it is \(TerminalText.sanitized(real, limit: 300))",
                subject: root, hint: "write the real path, if that is meant")
        }
        guard isAllowed(real) else {
            throw CertsError(
                .jobRefused, "\(root) is a directory of the system, not of a service", subject: root,
                hint: "name the directory of the service's own logs or temporary data, such as /var/log/messenger")
        }
        let descriptor = Glibc.open(real, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
        guard descriptor >= 0 else { throw failure(root, errno) }
        return descriptor
    }

    /// Nothing at the top, nothing of the system.
    static func isAllowed(_ path: String) -> Bool {
        let parts = path.split(separator: "/").map(String.init)
        guard parts.count >= 2 else { return false }
        let system: Set<String> = ["bin", "boot", "dev", "etc", "lib", "lib32", "lib64", "proc", "sbin", "sys", "usr"]
        if system.contains(parts[0]) { return false }
        // /var/lib, /var/spool, …; a home directory as a whole.
        if parts.count == 2 {
            if parts[0] == "var" { return parts[1] == "log" }
            return parts[0] != "home"
        }
        return !(parts[0] == "var" && parts[1] == "lib" && ["dpkg", "apt", "docker", "postgresql"].contains(parts[2]))
    }

    private static func failure(_ path: String, _ code: CInt) -> CertsError {
        CertsError(
            .jobRefused, "\(path) cannot be opened: \(String(cString: strerror(code)))", subject: path,
            hint: "check `root` of the job, and that its file system is mounted", retry: .later)
    }

    private mutating func walk(_ directory: CInt, _ parts: [String], device: dev_t) throws {
        guard !isOver() else {
            throw CertsError(
                .jobFailed, "the time was over before all of \(work.root) was looked at", subject: work.root,
                hint: "give the job a longer deadline, or name a directory further down", retry: .later)
        }
        let place = ([work.root] + parts).joined(separator: "/")
        guard let names = Self.names(in: directory) else {
            problems.append("\(place): \(String(cString: strerror(errno)))")
            return
        }
        var matching: [Found] = []
        for name in names {
            var status = stat()
            guard fstatat(directory, name, &status, AT_SYMLINK_NOFOLLOW) == 0 else { continue }
            switch status.st_mode & S_IFMT {
            case S_IFREG:
                total += 1
                guard total <= Self.entryLimit else {
                    throw CertsError(
                        .jobRefused, "there are more than \(Self.entryLimit) files below \(work.root)",
                        subject: work.root, hint: "name a directory further down")
                }
                guard work.patterns.contains(where: { fnmatch($0, name, FNM_PERIOD) == 0 }) else { continue }
                let modified = Int64(status.st_mtim.tv_sec) &* 1_000_000_000 &+ Int64(status.st_mtim.tv_nsec)
                matching.append(
                    Found(
                        parts: parts + [name], identity: .init(status), size: Int(status.st_size), modified: modified))
            case S_IFDIR:
                guard status.st_dev == device, !mounts.contains("\(place)/\(name)") else { continue }
                guard parts.count < Self.depthLimit else {
                    problems.append("\(place)/\(name): more than \(Self.depthLimit) directories deep")
                    continue
                }
                let below = openat(directory, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
                guard below >= 0 else {
                    problems.append("\(place)/\(name): \(String(cString: strerror(errno)))")
                    continue
                }
                defer { close(below) }
                try walk(below, parts + [name], device: device)
            default: break
            }
        }
        let old = matching.sorted { $0.modified > $1.modified }.dropFirst(work.kept).filter {
            now.timeIntervalSince1970 - Double($0.modified) / 1e9 >= work.age
        }
        files += old
    }

    /// `nil`: they cannot be read. Names that are not UTF-8 are left out: no pattern is meant for them.
    private static func names(in directory: CInt) -> [String]? {
        let copy = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard copy >= 0 else { return nil }
        guard let stream = fdopendir(copy) else {
            close(copy)
            return nil
        }
        defer { closedir(stream) }
        var result: [String] = []
        while let entry = readdir(stream) {
            let bytes = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: UInt8.self, capacity: 256) {
                    Array(
                        UnsafeBufferPointer(
                            start: $0, count: strlen(UnsafeRawPointer($0).assumingMemoryBound(to: CChar.self))))
                }
            }
            guard let name = String(validating: bytes, as: UTF8.self), name != ".", name != ".." else { continue }
            result.append(name)
        }
        return result.sorted()
    }

    enum Removal: Equatable {
        case removed
        /// Somebody else was faster.
        case gone
        case kept(String)

        fileprivate static func failure(_ code: CInt) -> Removal {
            code == ENOENT ? .gone : .kept(String(cString: strerror(code)))
        }
    }

    /// Removes one file, if it is still the one that was found.
    static func remove(_ file: Found, below root: CInt) -> Removal {
        guard let name = file.parts.last else { return .gone }
        var directory = dup(root)
        guard directory >= 0 else { return .failure(errno) }
        defer { close(directory) }
        for part in file.parts.dropLast() {
            let next = openat(directory, part, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
            guard next >= 0 else { return .failure(errno) }
            close(directory)
            directory = next
        }
        var status = stat()
        guard fstatat(directory, name, &status, AT_SYMLINK_NOFOLLOW) == 0 else { return .failure(errno) }
        let modified = Int64(status.st_mtim.tv_sec) &* 1_000_000_000 &+ Int64(status.st_mtim.tv_nsec)
        guard OpenFiles.Identity(status) == file.identity, modified == file.modified else {
            return .kept("it was changed meanwhile")
        }
        return unlinkat(directory, name, 0) == 0 ? .removed : .failure(errno)
    }
}
