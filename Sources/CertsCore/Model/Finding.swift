/// One result of a check: what was found, how bad it is, and what to do.
package struct Finding: Sendable, Hashable, Codable {
    /// Stable, in kebab case, documented: `expired`, `key-mismatch`, `root-in-bundle`.
    package let id: String
    package let severity: Severity
    package let message: String
    /// The next step, as an instruction.
    package let remedy: String

    package init(id: String, severity: Severity, message: String, remedy: String) {
        self.id = id
        self.severity = severity
        self.message = message
        self.remedy = remedy
    }

    package enum Severity: String, Sendable, Codable, Comparable, CaseIterable {
        case info, warning, error

        package static func < (left: Severity, right: Severity) -> Bool { left.rank < right.rank }
        private var rank: Int {
            switch self {
            case .info: 0
            case .warning: 1
            case .error: 2
            }
        }
    }

    /// An error stops a rotation before anything is staged; warnings and notes are only reported.
    package var isBlocking: Bool { severity == .error }
}

extension Finding {
    /// An error, seen as the result of a check.
    package init(error: CertsError, id: String) {
        let named = error.subject.flatMap { error.message.contains($0) ? nil : "\($0): \(error.message)" }
        self.init(id: id, severity: .error, message: named ?? error.message, remedy: error.hint ?? "see the message")
    }
}
