import CertsCore
import CertsCrypto
import Foundation

/// Renewal information (RFC 9773 §4.2).
struct RenewalInformation: Sendable, Decodable {
    var suggestedWindow: Window
    var explanationURL: String?

    struct Window: Sendable, Decodable {
        var start: String
        var end: String
    }

    /// The bounds of RFC 9773 §4.3.2 in practice: from a minute to a day.
    static let checkBounds: ClosedRange<TimeInterval> = 60...86400
    /// Where the server does not say when to ask again.
    static let defaultInterval: TimeInterval = 6 * 3600

    /// The unique name of a certificate (RFC 9773 §4.1): key identifier of the authority key identifier and serial number
    /// as they stand in the DER, both base64url. `nil`: the certificate has no such key identifier.
    static func certificateID(_ leaf: Certificate) -> String? {
        guard let authority = leaf.authorityKeyIdentifier, let serial = leaf.serialNumberBytes else { return nil }
        return "\(Base64URL.encode(authority)).\(Base64URL.encode(serial))"
    }
}

extension ACMESession {
    /// - Returns: `nil` where the server has no such resource, does not know the certificate's issuer, or answers with a
    ///   window that ends before it starts (§4.2: to be treated as no answer).
    func suggestedWindow(for leaf: Certificate) async throws -> SuggestedWindow? {
        guard let base = try await directory().renewalInfo, let id = RenewalInformation.certificateID(leaf) else {
            return nil
        }
        let reply = try await get(base.hasSuffix("/") ? base + id : "\(base)/\(id)")
        let info = try reply.decoded(RenewalInformation.self, "renewal information")
        guard let start = ProtocolDate.parse(info.suggestedWindow.start),
            let end = ProtocolDate.parse(info.suggestedWindow.end), end > start
        else { return nil }
        let next = reply.receivedAt.addingTimeInterval(RenewalInformation.defaultInterval)
        return SuggestedWindow(
            start: start, end: end, explanationURL: info.explanationURL,
            checkAt: reply.retryAt(within: RenewalInformation.checkBounds) ?? next)
    }
}

/// The dates of the protocol (RFC 3339).
enum ProtocolDate {
    /// Fractions of a second are dropped.
    static func parse(_ text: String) -> Date? {
        guard text.utf8.count <= 64 else { return nil }
        var bare = text
        if let dot = text.firstIndex(of: ".") {
            bare = String(text[..<dot]) + text[text.index(after: dot)...].drop { $0.isNumber }
        }
        return try? Date.ISO8601FormatStyle().parse(bare)
    }

    static func text(_ date: Date) -> String { date.formatted(Date.ISO8601FormatStyle()) }
}
