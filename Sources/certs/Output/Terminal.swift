import CertsCore
import Foundation

/// stdout for data, stderr for everything else.
enum Terminal {
    static func print(_ text: String) {
        write(Array((text + "\n").utf8), to: STDOUT_FILENO)
    }

    /// Writes as much as is taken. A reader that is gone (`| head -1`), a closed descriptor or a full disk behind it must
    /// not end the program: a rotation does not depend on who watches it.
    static func write(_ bytes: [UInt8], to descriptor: Int32) {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Foundation.write(descriptor, $0.baseAddress, $0.count) }
            if count > 0 { rest = rest.dropFirst(count) } else if count < 0, errno == EINTR { continue } else { return }
        }
    }

    static func note(_ text: String) {
        write(Array((text + "\n").utf8), to: STDERR_FILENO)
    }

    /// An error as a person reads it: what failed, the details a line each, and the next step.
    static func complain(_ error: CertsError) {
        note("certs: \(error.report)")
    }

    /// Colour only on a terminal, and never against the user's wish (no-color.org).
    static let usesColor: Bool = {
        let environment = ProcessInfo.processInfo.environment
        return isatty(STDERR_FILENO) == 1 && (environment["NO_COLOR"] ?? "").isEmpty && environment["TERM"] != "dumb"
    }()

    static func green(_ text: String) -> String { usesColor ? "\u{1b}[32m\(text)\u{1b}[0m" : text }
    static func red(_ text: String) -> String { usesColor ? "\u{1b}[31m\(text)\u{1b}[0m" : text }
}
