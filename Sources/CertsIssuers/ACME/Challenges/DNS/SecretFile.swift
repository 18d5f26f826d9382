import CertsCore
import Foundation

/// Short secrets in files of the user: keys of TSIG, tokens.
enum SecretFile {
    private static let limit = 16 << 10

    /// The file's content without white space around it. Blocking.
    ///
    /// - Parameter what: begins the message of an error.
    /// - Throws: `file.missing`, `file.unreadable` (also if empty), `file.tooLarge`, with the path as subject.
    static func read(_ path: String, what: String) throws(CertsError) -> Secret {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else {
            let isMissing = errno == ENOENT
            throw CertsError(
                isMissing ? .fileMissing : .fileUnreadable,
                "\(what) cannot be read from \(path): \(String(cString: strerror(errno)))", subject: path,
                hint: isMissing ? "write it there, readable by certs only" : "let certs read the file")
        }
        defer { close(descriptor) }
        let secret: Secret
        do {
            secret = try Secret(capacity: limit + 1) { space in
                var used = 0
                while used < space.count, let base = space.baseAddress {
                    let count = Foundation.read(descriptor, base + used, space.count - used)
                    if count < 0, errno == EINTR { continue }
                    guard count >= 0 else { throw POSIXError(.init(rawValue: errno) ?? .EIO) }
                    if count == 0 { break }
                    used += count
                }
                return used
            }
        } catch {
            throw CertsError(
                .fileUnreadable, "\(what) cannot be read from \(path)", subject: path, hint: "look at the file",
                cause: error)
        }
        guard secret.count <= limit else {
            throw CertsError(
                .fileTooLarge, "\(path) is larger than \(limit) bytes", subject: path, hint: "name the right file")
        }
        let trimmed = secret.trimmed
        guard trimmed.count > 0 else {
            throw CertsError(.fileUnreadable, "\(path) is empty", subject: path, hint: "write \(what) into it")
        }
        return trimmed
    }
}

extension Secret {
    fileprivate var trimmed: Secret {
        withBytes { bytes in
            let isSpace: (UInt8) -> Bool = { $0 <= 0x20 }
            guard let first = bytes.firstIndex(where: { !isSpace($0) }),
                let last = bytes.lastIndex(where: { !isSpace($0) })
            else { return Secret(copying: []) }
            return Secret(copying: bytes[first...last])
        }
    }
}
