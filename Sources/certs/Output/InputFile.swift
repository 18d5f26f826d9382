import CertsCore
import CertsCrypto
import Foundation

/// Files that the user names on the command line, read with a bound.
enum InputFile {
    static let largest = 8 << 20

    /// - Parameter path: `-` is standard input.
    /// - Throws: `file.missing`, `file.unreadable`, `file.tooLarge`, each naming the path.
    static func read(_ path: String, allowsEmpty: Bool = false) throws(CertsError) -> Data {
        if path == "-" { return try read(.standardInput, "standard input", allowsEmpty) }
        let handle = try open(path)
        defer { try? handle.close() }
        return try read(handle, path, allowsEmpty)
    }

    /// Opens a regular file. O_NONBLOCK: a FIFO in its place must not hang the program.
    private static func open(_ path: String) throws(CertsError) -> FileHandle {
        let descriptor = path.utf8.contains(0) ? -1 : Foundation.open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else {
            let reason = path.utf8.contains(0) ? ENOENT : errno
            throw CertsError(
                reason == ENOENT ? .fileMissing : .fileUnreadable, "\(path): \(String(cString: strerror(reason)))",
                hint: "check the path and its permissions")
        }
        let handle = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
        var isDirectory: ObjCBool = false
        // Only what has a size can be sought: no FIFO, no terminal.
        guard FileManager.default.fileExists(atPath: path, isDirectory: &isDirectory), !isDirectory.boolValue,
            lseek(descriptor, 0, SEEK_END) >= 0, lseek(descriptor, 0, SEEK_SET) == 0
        else {
            throw CertsError(.fileUnreadable, "\(path) is not a regular file", hint: "name a file")
        }
        return handle
    }

    /// The certificates in a file, PEM or DER; every error names the file.
    ///
    /// - Parameter limit: how many there may be.
    static func certificates(
        _ path: String, limit: Int = CertificateReader.blockLimit
    ) throws(CertsError) -> [Certificate] {
        let bytes = try read(path)
        return try naming(path) { () throws(CertsError) in
            try CertificateReader.certificates(in: bytes, limit: limit)
        }
    }

    /// Runs `body`; an error that names nothing is about the file at `path`.
    static func naming<Value>(_ path: String, _ body: () throws(CertsError) -> Value) throws(CertsError) -> Value {
        do {
            return try body()
        } catch {
            var named = error
            if named.subject == nil { named.subject = path }
            throw named
        }
    }

    private static func read(_ handle: FileHandle, _ name: String, _ allowsEmpty: Bool) throws(CertsError) -> Data {
        var contents = Data()
        do {
            while let more = try handle.read(upToCount: 1 << 20), !more.isEmpty {
                contents += more
                if contents.count > largest { break }
            }
        } catch {
            throw CertsError(.fileUnreadable, "\(name) cannot be read", hint: "check its permissions", cause: error)
        }
        guard contents.count <= largest else {
            throw CertsError(
                .fileTooLarge, "\(name) is larger than \(largest >> 20) MiB",
                hint: "name a file that holds certificates only")
        }
        guard allowsEmpty || !contents.isEmpty else {
            throw CertsError(.certificateMalformed, "\(name) is empty", hint: "name a file that holds a certificate")
        }
        return contents
    }

    /// The first line of a passphrase file, without its end of line.
    static func passphrase(_ path: String?) throws(CertsError) -> Secret? {
        guard let path else { return nil }
        let bytes = try read(path)
        return Secret(copying: bytes.prefix { $0 != UInt8(ascii: "\n") && $0 != UInt8(ascii: "\r") })
    }
}
