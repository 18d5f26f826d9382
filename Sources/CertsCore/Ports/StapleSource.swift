package import Foundation

/// Where the OCSP responses come from that are stapled to handshakes; implemented in CertsIssuers.
package protocol StapleSource: Sendable {
    /// Asks the responders, in this order, until one gives an answer that says that `leaf` is good.
    ///
    /// - Parameters:
    ///   - leaf: DER.
    ///   - issuer: DER; the certificate that signed `leaf`.
    ///   - responders: URLs; usually those in `leaf` (``CertificateRecord/ocspURLs``).
    /// - Returns: a response that was verified at `now`.
    /// - Throws: `CertsError`: `staple.revoked`: signed by the issuer, and final; `staple.refused`: what came cannot be
    ///   stapled; `staple.unavailable`: nothing came.
    func staple(for leaf: Data, issuer: Data, responders: [String], now: Date) async throws -> Staple
}

/// A verified OCSP response with the status good.
package struct Staple: Sendable, Hashable {
    package let der: Data
    package let thisUpdate: Date
    /// From when on clients refuse it; HAProxy serves it until 300 seconds before. `nil`: the response does not say.
    package let nextUpdate: Date?
    /// When to ask for the next one.
    package let refreshAt: Date

    package init(der: Data, thisUpdate: Date, nextUpdate: Date?, refreshAt: Date) {
        self.der = der
        self.thisUpdate = thisUpdate
        self.nextUpdate = nextUpdate
        self.refreshAt = refreshAt
    }
}
