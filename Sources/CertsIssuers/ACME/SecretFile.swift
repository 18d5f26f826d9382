package import CertsCore
import Foundation

/// A file with a secret that a person put there.
package enum SecretFile {
    private static let sizeLimit = 64 << 10

    /// The contents without white space around them. Blocking, for a moment.
    ///
    /// - Parameter what: begins the message of an error.
    /// - Throws: `file.missing`, `file.unreadable` (also if empty), `file.tooLarge`, `state.insecure` (others may read it).
    package static func read(_ path: String, what: String) throws(CertsError) -> Secret {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else {
            let reason = String(cString: strerror(errno))
            throw CertsError(
                errno == ENOENT ? .fileMissing : .fileUnreadable, "\(what) cannot be read from \(path): \(reason)",
                subject: path,
                hint: "put the secret there, readable for the user of certs alone")
        }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            throw CertsError(.fileUnreadable, "\(path) is no regular file", subject: path, hint: "correct the path")
        }
        guard status.st_mode & 0o077 & ~0o040 == 0 else {
            throw CertsError(
                .stateInsecure, "\(path) can be read or changed by others", subject: path,
                hint: "run: chmod 600 \(path)")
        }
        guard status.st_size <= sizeLimit else {
            throw CertsError(
                .fileTooLarge, "\(path) has \(status.st_size) bytes; a secret has at most \(sizeLimit)", subject: path,
                hint: "correct the path")
        }
        let raw = Secret(capacity: sizeLimit) { buffer in
            max(0, Glibc.read(descriptor, buffer.baseAddress, buffer.count))
        }
        let trimmed: Secret? = raw.withBytes { bytes in
            func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || (0x09...0x0d).contains(byte) }
            guard let first = bytes.firstIndex(where: { !isSpace($0) }),
                let last = bytes.lastIndex(where: { !isSpace($0) })
            else { return nil }
            return Secret(copying: bytes[first...last])
        }
        guard let trimmed else {
            throw CertsError(.fileUnreadable, "\(path) is empty", subject: path, hint: "write \(what) into it")
        }
        return trimmed
    }
}
