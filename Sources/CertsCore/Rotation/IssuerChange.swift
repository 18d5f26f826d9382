package import Foundation

/// Why one issuer did not sign, and who was asked instead.
package struct IssuerChange: Sendable, Hashable, Codable {
    package let from: Name
    package let to: Name
    package let code: CertsError.Code
    package let message: String
    /// When the issuer could be asked again, as the failure says.
    package let retry: CertsError.Retry
    package let at: Date

    package init(from: Name, to: Name, because error: CertsError, at: Date) {
        self.from = from
        self.to = to
        code = error.code
        message = Self.reason(error)
        retry = error.retry
        self.at = at
    }

    static func reason(_ error: CertsError) -> String {
        let details = error.details.isEmpty ? "" : ": " + error.details.joined(separator: "; ")
        let cause = error.cause.map { " (\($0))" } ?? ""
        return TerminalText.sanitized(error.message + cause + details)
    }
}

extension CertsError {
    /// Whether another issuer may do better: the failure is one of the issuer, or of the way to it.
    package var isOfIssuer: Bool { ["issuer", "http", "dns"].contains(code.family) }

    /// That no issuer signed, with the reason of each; to be tried again as soon as one of them allows it.
    package static func noIssuer(_ changes: [IssuerChange], last issuer: Name, _ error: CertsError) -> CertsError {
        let reasons =
            changes.map { "\($0.from): \($0.message) [\($0.code)]" }
            + ["\(issuer): \(IssuerChange.reason(error)) [\(error.code)]"]
        return CertsError(
            error.code, "none of the \(reasons.count) issuers gave a certificate", hint: error.hint, details: reasons,
            retry: earliest(changes.map(\.retry) + [error.retry]))
    }

    private static func earliest(_ retries: [Retry]) -> Retry {
        if retries.contains(.later) { return .later }
        let dates = retries.compactMap { if case .after(let date) = $0 { date } else { nil } }
        return dates.min().map(Retry.after) ?? .never
    }
}
