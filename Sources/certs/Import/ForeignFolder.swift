import CertsCore
import Foundation

/// The directory of another client, opened for reading only. Links are followed as long as they stay inside of it.
///
/// All methods block on the disk; what they read is bounded.
struct ForeignFolder: Sendable {
    /// Absolute, with every link resolved.
    let root: String

    private static let fileLimit = 1 << 20
    private static let entryLimit = 20_000

    /// - Throws: `file.missing`, `file.unreadable`.
    init(_ path: String) throws(CertsError) {
        guard let resolved = Self.resolved(path) else {
            let reason = errno
            throw CertsError(
                reason == ENOENT ? .fileMissing : .fileUnreadable, "\(path): \(String(cString: strerror(reason)))",
                subject: path, hint: "name the directory of the other client")
        }
        guard Self.isFolder(resolved) else {
            throw CertsError(
                .fileUnreadable, "\(path) is not a directory", subject: path,
                hint: "name the directory of the other client")
        }
        root = resolved
    }

    /// For messages.
    func path(_ relative: String) -> String { relative.isEmpty ? root : "\(root)/\(relative)" }

    /// The names in a directory, sorted; none where there is no such directory, or where it is outside.
    func names(_ relative: String = "") -> [String] {
        guard let place = Self.resolved(path(relative)), isInside(place), let stream = opendir(place) else { return [] }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream), names.count < Self.entryLimit {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: Int(NAME_MAX) + 1) { String(cString: $0) }
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names.sorted()
    }

    /// The directories in a directory, sorted.
    func folders(_ relative: String = "") -> [String] {
        names(relative).filter { isFolder(relative.isEmpty ? $0 : "\(relative)/\($0)") }
    }

    func isFolder(_ relative: String) -> Bool {
        guard let place = Self.resolved(path(relative)), isInside(place) else { return false }
        return Self.isFolder(place)
    }

    /// The contents of a regular file of at most 1 MiB; `nil`: there is none.
    /// - Throws: `file.unreadable`, also for a link that leads outside; `file.tooLarge`.
    func read(_ relative: String) throws(CertsError) -> Secret? {
        let place = path(relative)
        // O_NONBLOCK: a FIFO in place of the file must not hang the program.
        let descriptor = open(place, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)
        guard descriptor >= 0 else {
            if errno == ENOENT || errno == ENOTDIR { return nil }
            throw Self.unreadable(place, String(cString: strerror(errno)), "run as a user that may read it")
        }
        defer { close(descriptor) }
        // Only what has a size can be sought: no FIFO, no terminal; a directory's end is out of reach.
        let size = lseek(descriptor, 0, SEEK_END)
        guard size >= 0, size < off_t.max, lseek(descriptor, 0, SEEK_SET) == 0 else {
            throw Self.unreadable(place, "it is not a regular file", "look at it with `stat`")
        }
        // What was opened, not what the name leads to a moment later.
        guard let real = Self.resolved("/proc/self/fd/\(descriptor)"), isInside(real) else {
            throw Self.unreadable(
                place, "it is a link that leads out of \(root)", "copy the directory with `cp -aL`, and name the copy")
        }
        guard size <= Self.fileLimit else {
            throw CertsError(
                .fileTooLarge, "\(place) has \(size) bytes; \(Self.fileLimit) are allowed", subject: place,
                hint: "check that it is what its name says")
        }
        return Secret(capacity: Self.fileLimit) { space in
            var used = 0
            while used < space.count {
                let count = Foundation.read(descriptor, space.baseAddress?.advanced(by: used), space.count - used)
                if count < 0, errno == EINTR { continue }
                if count <= 0 { break }
                used += count
            }
            return used
        }
    }

    /// The contents as text; `nil` where there is no file, or no text in it.
    func text(_ relative: String) throws(CertsError) -> String? {
        try read(relative).flatMap { $0.withBytes { String(validating: $0, as: UTF8.self) } }
    }

    private static func isFolder(_ resolved: String) -> Bool {
        guard let stream = opendir(resolved) else { return false }
        closedir(stream)
        return true
    }

    private func isInside(_ resolved: String) -> Bool { resolved == root || resolved.hasPrefix("\(root)/") }

    private static func resolved(_ path: String) -> String? {
        guard !path.utf8.contains(0), let result = realpath(path, nil) else { return nil }
        defer { free(result) }
        return String(cString: result)
    }

    private static func unreadable(_ path: String, _ why: String, _ hint: String) -> CertsError {
        CertsError(.fileUnreadable, "\(path) cannot be read: \(why)", subject: path, hint: hint)
    }
}
