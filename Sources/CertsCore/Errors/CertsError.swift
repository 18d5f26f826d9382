package import Foundation

/// The one error of the product: what failed, where, on what, and what to do next.
///
/// Two errors are equal when their codes are: tests and callers match on the code, people read the rest. The code is
/// a bounded set (it is a metric label and a documented string); everything that came from outside is kept in
/// `message` and `cause` as text and never interpreted again.
package struct CertsError: Error, Sendable {
    /// What kind of failure this is; stable across releases.
    package let code: Code
    /// One sentence for a person at 3 a.m.; names the file, line or item.
    package let message: String
    /// The certificate, target, issuer, file or address that the failure is about.
    package var subject: String?
    /// The stage of a rotation in which it happened (DESIGN: "One rotation").
    package var stage: Rotation.Step?
    /// The next step to take, as an instruction.
    package let hint: String?
    /// The single problems, one per element, where there is more than one to tell (a configuration file).
    package let details: [String]
    /// The text of the error underneath, if there was one.
    package let cause: String?
    /// Whether trying the same thing again can help.
    package let retry: Retry
    /// The place in the source that raised it, for bug reports.
    package let origin: String

    package init(
        _ code: Code,
        _ message: String,
        subject: String? = nil,
        stage: Rotation.Step? = nil,
        hint: String? = nil,
        details: [String] = [],
        cause: (any Error)? = nil,
        retry: Retry = .never,
        fileID: String = #fileID,
        line: Int = #line
    ) {
        self.code = code
        self.message = message
        self.subject = subject
        self.stage = stage
        self.hint = hint
        self.details = details
        self.cause = cause.map { String(describing: $0) }
        self.retry = retry
        self.origin = "\(fileID):\(line)"
    }

    /// Whether and when the same step may be tried again.
    package enum Retry: Sendable, Hashable, Codable {
        /// The same input fails again: a person or another configuration is needed.
        case never
        /// The other side may recover; the backoff decides when.
        case later
        /// The other side named a time (`Retry-After`).
        case after(Date)
    }

    /// Any error as a `CertsError`; foreign ones become ``Code/internal`` with their text as the cause.
    package static func wrapping(_ error: any Error, stage: Rotation.Step? = nil, subject: String? = nil) -> CertsError
    {
        var result: CertsError
        if let known = error as? CertsError {
            result = known
        } else if error is CancellationError {
            result = CertsError(.cancelled, "the work was cancelled", retry: .later)
        } else {
            result = CertsError(.internal, "unexpected failure: \(error)", cause: error)
        }
        if result.stage == nil { result.stage = stage }
        if result.subject == nil { result.subject = subject }
        return result
    }
}

extension CertsError: Equatable, CustomStringConvertible {
    package static func == (left: CertsError, right: CertsError) -> Bool { left.code == right.code }

    /// `message (cause): details; next step`, on one line, with nothing a terminal could interpret.
    package var description: String { TerminalText.sanitized(problem + (hint.map { "; \($0)" } ?? "")) }

    /// `message (cause): details`, as it is.
    package var problem: String { headline + (details.isEmpty ? "" : ": " + details.joined(separator: "; ")) }

    /// The same for a terminal: the message, each detail on a line of its own, the next step last.
    package var report: String {
        guard !details.isEmpty else { return description }
        return ([headline] + details + (hint.map { [$0] } ?? [])).map { TerminalText.sanitized($0) }.joined(
            separator: "\n")
    }

    private var headline: String {
        var text = message
        if let subject, !message.contains(subject) { text = "\(subject): \(text)" }
        if let cause, !message.contains(cause) { text += " (\(cause))" }
        return text
    }
}
