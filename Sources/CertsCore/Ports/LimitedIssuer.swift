package import Foundation

/// An issuer that takes only so many requests in a time. It is asked before rotations are begun, so that ten thousand
/// due certificates do not become ten thousand keys that wait for an order.
package protocol LimitedIssuer: Issuer {
    /// Which of these requests can be made now, the most urgent first. Nothing is reserved by asking.
    /// - Returns: one answer for each, in the same order.
    func admit(_ demands: [IssuanceDemand], now: Date) async throws -> [Admission]
}

/// A request that is about to be made.
package struct IssuanceDemand: Sendable, Hashable {
    package var names: [AlternativeName]
    package var kind: OrderKind

    package init(names: [AlternativeName], kind: OrderKind) {
        self.names = names
        self.kind = kind
    }
}

package enum Admission: Sendable, Hashable {
    case now
    /// Not before this time, and which limit says so.
    case wait(until: Date, because: String)
}

/// What an order is to the limits of a CA (https://letsencrypt.org/docs/rate-limits/).
package enum OrderKind: String, Sendable, Hashable, Codable {
    /// Names that this issuer has not certified together before.
    case new
    /// Exactly the names of the certificate that it takes the place of, from the same issuer.
    case renewal
    /// Takes the place of a certificate within the window that the issuer itself suggested (RFC 9773).
    case renewalByHint
}
