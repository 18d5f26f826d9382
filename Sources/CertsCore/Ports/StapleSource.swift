package import Foundation

/// Fetches OCSP responses; implemented in CertsIssuers.
package protocol StapleSource: Sendable {
    /// A response of one of the responders that says "good", with its signature and dates verified.
    ///
    /// - Parameters:
    ///   - leaf: DER, the certificate that the response is about.
    ///   - issuer: DER, the certificate that signed the leaf.
    ///   - responders: URLs, asked in order until one answers.
    func staple(for leaf: Data, issuer: Data, responders: [String], now: Date) async throws -> Staple
}

/// An OCSP response that may be stapled (RFC 6960 §4.2.1).
package struct Staple: Sendable, Hashable {
    package let der: Data
    package let thisUpdate: Date
    package let nextUpdate: Date?
    /// When to ask again: well before ``nextUpdate``.
    package let refreshAt: Date

    package init(der: Data, thisUpdate: Date, nextUpdate: Date?, refreshAt: Date) {
        self.der = der
        self.thisUpdate = thisUpdate
        self.nextUpdate = nextUpdate
        self.refreshAt = refreshAt
    }
}
