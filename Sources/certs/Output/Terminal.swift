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

    /// A line for people on stderr; with `--log-format json` an object, as all that stands there.
    static func note(_ text: String) {
        line(LogFormat.asked == .json ? LogLine.make("notice", text, [:], at: Date()) : text)
    }

    /// A line on stderr as it is.
    static func line(_ text: String) {
        write(Array((text + "\n").utf8), to: STDERR_FILENO)
    }

    /// The error that ends a command: what failed, the details a line each, and the next step; or one object of the log.
    static func complain(_ error: CertsError, isJSON: Bool) {
        guard isJSON else { return line("certs: \(error.report)") }
        var fields: [String: JSONField] = ["code": .text(error.code.rawValue)]
        if let subject = error.subject { fields["subject"] = .text(TerminalText.sanitized(subject)) }
        if let hint = error.hint { fields["hint"] = .text(TerminalText.sanitized(hint)) }
        line(LogLine.make("error", error.problem, fields, at: Date()))
    }

    /// What stderr can do; its size is not asked for again.
    static let errorStyle = TerminalStyle.now(STDERR_FILENO)
}
