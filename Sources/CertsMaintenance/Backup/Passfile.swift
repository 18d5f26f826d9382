import CertsCore
import Foundation

/// The password for programs that run a while: a file (0600) that is gone with the last reference. Never in an argument
/// or the environment, which others can read.
final class Passfile: Sendable {
    let path: String
    private let descriptor: Int32

    private static let prefix = ".passfile-"

    /// - Parameter directory: where nobody else writes.
    init(_ password: Secret, in directory: String) throws {
        path = "\(directory)/\(Self.prefix)\(UUID().uuidString)"
        descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw BackupFiles.failure(path, errno) }
        // A lock ends with its process: so a leftover is known.
        flock(descriptor, LOCK_EX)
        let line = try Self.line(password)
        let written = line.withBytes { write(descriptor, $0.baseAddress, $0.count) }
        guard written == line.count else { throw BackupFiles.failure(path, errno) }
    }

    deinit {
        unlink(path)
        close(descriptor)
    }

    /// `*:*:*:*:PASSWORD` (PostgreSQL manual, "The Password File").
    private static func line(_ password: Secret) throws -> Secret {
        try password.withBytes { bytes in
            guard !bytes.contains(where: { $0 == 0 || $0 == 10 || $0 == 13 }) else {
                throw CertsError(
                    .jobRefused, "the password of the database has a line break or NUL in it",
                    hint: "the programs of PostgreSQL cannot take such a one; choose another")
            }
            return Secret(capacity: 9 + 2 * bytes.count) { space in
                var count = 0
                func put(_ byte: UInt8) {
                    space[count] = byte
                    count += 1
                }
                "*:*:*:*:".utf8.forEach(put)
                for byte in bytes {
                    if byte == UInt8(ascii: ":") || byte == UInt8(ascii: "\\") { put(UInt8(ascii: "\\")) }
                    put(byte)
                }
                put(10)
                return count
            }
        }
    }

    /// Removes those whose process is dead.
    static func sweep(_ directory: String) {
        for name in (try? FileManager.default.contentsOfDirectory(atPath: directory)) ?? []
        where name.hasPrefix(prefix) {
            let path = "\(directory)/\(name)"
            let file = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK)
            guard file >= 0 else { continue }
            defer { close(file) }
            var status = stat()
            // One that is being made is not locked yet.
            guard fstat(file, &status) == 0, time(nil) - status.st_mtim.tv_sec > 60,
                flock(file, LOCK_EX | LOCK_NB) == 0
            else { continue }
            unlink(path)
        }
    }
}
