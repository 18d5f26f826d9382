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
        var status = stat()
        guard stat(path, &status) == 0 else {
            let reason = errno
            throw CertsError(
                reason == ENOENT ? .fileMissing : .fileUnreadable, "\(path): \(String(cString: strerror(reason)))",
                hint: "check the path and its permissions")
        }
        guard status.st_mode & S_IFMT == S_IFREG else {
            throw CertsError(.fileUnreadable, "\(path) is not a regular file", hint: "name a file")
        }
        guard let handle = FileHandle(forReadingAtPath: path) else {
            throw CertsError(
                .fileUnreadable, "\(path): \(String(cString: strerror(errno)))", hint: "check its permissions")
        }
        defer { try? handle.close() }
        return try read(handle, path, allowsEmpty)
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
