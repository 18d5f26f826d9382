package import Foundation

/// An issuer that can take a certificate back.
package protocol RevokingIssuer: Issuer {
    /// Revokes; a certificate that is already revoked is left as it is, and is no error.
    func revoke(_ target: RevocationTarget, reason: RevocationReason, now: Date) async throws
}

/// A certificate that is to be revoked.
package struct RevocationTarget: Sendable {
    package let record: CertificateRecord
    package let der: Data
    /// The private key of the certificate (PEM): given, it proves the right to revoke in the place of an account
    /// (RFC 8555 §7.6).
    package let key: Secret?

    package init(record: CertificateRecord, der: Data, key: Secret? = nil) {
        self.record = record
        self.der = der
        self.key = key
    }
}

/// RFC 5280 §5.3.1, the reasons that an operator gives.
package enum RevocationReason: Int, Sendable, Codable, CaseIterable {
    case unspecified = 0
    case keyCompromise = 1
    case affiliationChanged = 3
    case superseded = 4
    case cessationOfOperation = 5

    /// `keyCompromise`, as the RFC spells it.
    package var word: String { "\(self)" }
    package init?(word: String) {
        guard let found = Self.allCases.first(where: { $0.word == word }) else { return nil }
        self = found
    }
}

/// That a revision was revoked, as its manifest remembers it.
package struct Revocation: Sendable, Hashable, Codable {
    package var at: Date
    package var reason: RevocationReason

    package init(at: Date, reason: RevocationReason) {
        self.at = at
        self.reason = reason
    }
}
