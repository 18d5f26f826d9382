import CertsCore
import Foundation
import SystemPackage

/// An open directory: everything below it is reached relative to its descriptor, so that nothing that is renamed or
/// linked above it meanwhile can lead elsewhere.
///
/// All methods block; call them on a ``BlockingPool``.
struct Folder: Sendable {
    let path: String
    let descriptor: Descriptor

    /// Opens any directory; links on the way to it, and in its last part, are followed.
    static func open(_ path: String) throws -> Folder {
        do {
            let flags = O_RDONLY | O_DIRECTORY
            return Folder(path: path, descriptor: try System.open(path, in: AT_FDCWD, flags: flags))
        } catch Errno.noSuchFileOrDirectory {
            throw CertsError(
                .fileMissing, "there is no directory \(path)", subject: path,
                hint: "make it with `mkdir -p \(path)`, or correct the path")
        } catch {
            throw FileFailure.unreadable(path, error)
        }
    }

    func path(of name: String) -> String { path.hasSuffix("/") ? path + name : "\(path)/\(name)" }

    /// The directory `name`, which must not be a link; `nil`: there is none.
    func folder(_ name: String) throws -> Folder? {
        do {
            let flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW
            return Folder(path: path(of: name), descriptor: try System.open(name, in: descriptor.raw, flags: flags))
        } catch Errno.noSuchFileOrDirectory {
            return nil
        } catch {
            throw refusal(of: name, error, writing: false)
        }
    }

    /// The directory `name`, made (0700, durably) if there is none.
    func makeFolder(_ name: String) throws -> Folder {
        if let existing = try folder(name) { return existing }
        do {
            try System.retrying { mkdirat(descriptor.raw, name, 0o700) }
        } catch Errno.fileExists {
            // Another process was faster.
        } catch {
            throw FileFailure.unwritable(path(of: name), error)
        }
        try sync()
        guard let made = try folder(name) else {
            throw FileFailure.unwritable(path(of: name), Errno.noSuchFileOrDirectory)
        }
        return made
    }

    /// The names in the directory but `.` and `..`, sorted.
    func names() throws -> [String] { try rawNames().map { String(decoding: $0, as: UTF8.self) }.sorted() }

    /// The same as bytes: a name of the kernel need not be UTF-8.
    func rawNames() throws -> [[UInt8]] {
        do {
            // A descriptor of its own: `closedir` closes it, and the shared one keeps its position.
            let flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC
            let copy = try System.retrying { openat(descriptor.raw, ".", flags) }
            guard let stream = fdopendir(copy) else {
                let failure = Errno(rawValue: errno)
                close(copy)
                throw failure
            }
            defer { closedir(stream) }
            var names: [[UInt8]] = []
            while true {
                errno = 0
                guard let entry = readdir(stream) else { break }
                let name = entry.entryName
                if name.count > 2 || !name.allSatisfy({ $0 == UInt8(ascii: ".") }) { names.append(name) }
            }
            if errno != 0 { throw Errno(rawValue: errno) }
            return names
        } catch {
            throw FileFailure.unreadable(path, error)
        }
    }

    /// The contents of the regular file `name`, not following a link; `nil`: there is none.
    ///
    /// `O_NONBLOCK`: opening a FIFO that was put in the file's place must not wait for a writer.
    func read(_ name: String, limit: Int) throws -> (contents: Secret, status: stat)? {
        let file: Descriptor
        do {
            file = try System.open(name, in: descriptor.raw, flags: O_RDONLY | O_NOFOLLOW | O_NONBLOCK)
        } catch Errno.noSuchFileOrDirectory {
            return nil
        } catch {
            throw refusal(of: name, error, writing: false)
        }
        do {
            let status = try file.status()
            return (try Self.contents(of: file, status: status, path: path(of: name), limit: limit), status)
        } catch {
            throw FileFailure.unreadable(path(of: name), error)
        }
    }

    static func contents(of file: Descriptor, status: stat, path: String, limit: Int) throws -> Secret {
        guard status.isRegularFile else {
            throw CertsError(
                .fileUnreadable, "\(path) is not a regular file", subject: path,
                hint: "put the real file in its place; `stat \(path)` shows what it is")
        }
        let tooLarge = CertsError(
            .fileTooLarge, "\(path) is larger than \(limit) bytes", subject: path,
            hint: "check that the path names the right file")
        guard status.st_size >= 0, status.st_size <= limit else { throw tooLarge }
        // One byte more than the size: reading it shows that the file grew meanwhile.
        return try Secret(capacity: Int(status.st_size) + 1) { space in
            var used = 0
            while used < space.count {
                let count = Glibc.read(file.raw, space.baseAddress?.advanced(by: used), space.count - used)
                if count == 0 { return used }
                if count > 0 { used += count } else if errno != EINTR { throw Errno(rawValue: errno) }
            }
            throw CertsError(
                .fileUnreadable, "\(path) grew while it was read", subject: path,
                hint: "try again when its writer is done", retry: .later)
        }
    }

    /// Removes the entry itself (a link is not followed), durably; does nothing if there is none.
    func remove(_ name: String) throws {
        do {
            try System.retrying { unlinkat(descriptor.raw, name, 0) }
        } catch Errno.noSuchFileOrDirectory {
            return
        } catch {
            throw FileFailure.unwritable(path(of: name), error)
        }
        try sync()
    }

    func sync() throws {
        do { try System.sync(descriptor) } catch { throw FileFailure.unwritable(path, error) }
    }

    /// What to say of an entry that could not be opened: a link gets its own sentence.
    func refusal(of name: String, _ error: any Error, writing: Bool) -> CertsError {
        // With O_NOFOLLOW a link gives ELOOP, with O_DIRECTORY besides ENOTDIR: only `lstat` tells it apart.
        if let status = try? System.status(of: name, in: descriptor.raw), status.isSymbolicLink {
            return FileFailure.link(path(of: name))
        }
        return writing ? FileFailure.unwritable(path(of: name), error) : FileFailure.unreadable(path(of: name), error)
    }
}

extension UnsafeMutablePointer<dirent> {
    /// Through the pointer, not a copy of the structure: the kernel's record is shorter than the declared array.
    var entryName: [UInt8] {
        let offset = MemoryLayout<dirent>.offset(of: \.d_name) ?? 0
        let start = UnsafeRawPointer(self).advanced(by: offset)
        return Array(UnsafeRawBufferPointer(start: start, count: strlen(start.assumingMemoryBound(to: CChar.self))))
    }
}
