import CertsCore
import Foundation

/// stdout for data, stderr for everything else.
enum Terminal {
    static func print(_ text: String) {
        FileHandle.standardOutput.write(Data((text + "\n").utf8))
    }

    static func note(_ text: String) {
        FileHandle.standardError.write(Data((text + "\n").utf8))
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
