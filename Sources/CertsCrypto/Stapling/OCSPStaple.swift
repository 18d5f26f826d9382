package import CertsCore
package import Foundation

/// What a responder says about one certificate, verified: signed for its issuer, about this certificate, and in force.
///
/// The bytes can be stapled to a handshake (RFC 6066 §8). That a value exists does not mean that the certificate is good:
/// ``status`` says it.
package struct OCSPStaple: Sendable, Hashable {
    package enum Status: Sendable, Hashable {
        case good
        /// `reason` as RFC 5280 §5.3.1 names it, `keyCompromise`; `nil` if none is given.
        case revoked(at: Date, reason: String?)
        /// The responder does not know the certificate; right after an issuance it may not know it yet.
        case unknown
    }

    /// Exactly the bytes that were verified.
    package let der: Data
    package let status: Status
    package let thisUpdate: Date
    /// From when on clients refuse it; `nil`: the responder always has something newer (RFC 6960 §4.2.2.1).
    package let nextUpdate: Date?
    /// When to ask again: halfway to ``nextUpdate``, so that a responder may be away for the other half.
    package let refreshAt: Date
    /// Whether it has the form of RFC 5019 §2.2: one answer, by SHA-1 identifier, with a next update.
    ///
    /// HAProxy 2.6 looks staples up by identifier and takes no other form: it says so to `set ssl ocsp-response`, and
    /// drops it without a word in a transaction.
    package let isLightweight: Bool

    /// More bytes than this are refused unread; answers have 300 to 4,000.
    package static let sizeLimit = 64 << 10
    /// How far the clock of a responder may be ahead of ours, in seconds.
    package static let skew: TimeInterval = 300
    /// How long an answer without next update is taken to be recent, in seconds.
    static let lifetimeWithoutNextUpdate: TimeInterval = 86400

    /// Verifies an answer about `leaf`. Blocks for a signature check, well under a millisecond.
    ///
    /// The signature must be that of `issuer`, or of a responder with the extended key usage OCSPSigning whose certificate
    /// `issuer` signed (RFC 6960 §4.2.2.2); no other trust anchor is looked at.
    /// - Throws: `staple.refused` with what is wrong, `certificate.rejected` if `issuer` did not issue `leaf`.
    package init(der: Data, leaf: Certificate, issuer: Certificate, now: Date) throws(CertsError) {
        guard der.count <= Self.sizeLimit else {
            throw .refusedStaple(
                "it has \(der.count) bytes (limit \(Self.sizeLimit))", hint: "check the address of the responder")
        }
        let response = try OCSPResponse(der: der)
        let answer = try response.answer(about: leaf, issuer: issuer)
        try response.verify(issuer: issuer, now: now)
        let thisUpdate = answer.thisUpdate
        let end = answer.nextUpdate ?? thisUpdate.addingTimeInterval(Self.lifetimeWithoutNextUpdate)
        guard thisUpdate <= now.addingTimeInterval(Self.skew) else {
            throw .refusedStaple(
                "it is from the future: \(thisUpdate.formatted(.iso8601))",
                hint: "compare the clock of this host with that of the responder")
        }
        guard end > now else {
            throw .refusedStaple(
                "it is out of date since \(end.formatted(.iso8601))",
                hint: "compare the clock of this host with that of the responder, then ask again")
        }
        self.der = der
        self.thisUpdate = thisUpdate
        status = answer.status
        nextUpdate = answer.nextUpdate
        isLightweight = answer.isOnlyOne && answer.isSHA1 && answer.nextUpdate != nil
        refreshAt = Self.refresh(from: thisUpdate, until: end, now: now)
    }

    /// Halfway between the two; for an answer that is older than that already (from a cache), halfway of what is left,
    /// and not before a minute from now: the cache would give the same again.
    static func refresh(from thisUpdate: Date, until end: Date, now: Date) -> Date {
        let middle = thisUpdate.addingTimeInterval(end.timeIntervalSince(thisUpdate) / 2)
        return middle > now ? middle : now.addingTimeInterval(max(60, end.timeIntervalSince(now) / 2))
    }
}

extension CertsError {
    static func refusedStaple(_ why: String, hint: String, retry: Retry = .later) -> CertsError {
        CertsError(.stapleRefused, "the OCSP response cannot be used: \(why)", hint: hint, retry: retry)
    }
}

extension ProbeResult {
    /// What was stapled to the handshake, verified; `nil`: nothing was stapled.
    ///
    /// - Parameter issuer: of the leaf; `nil`: the certificate that was sent after it.
    /// - Throws: `staple.refused` if it is not valid for this leaf at `now`, `certificate.rejected` if `issuer` did not
    ///   issue the leaf, `certificate.missing` if no issuer is known.
    package func staple(issuer: Certificate? = nil, now: Date) throws(CertsError) -> OCSPStaple? {
        guard let ocspStaple else { return nil }
        guard let issuer = issuer ?? chain.dropFirst().first else {
            throw CertsError(
                .certificateMissing, "\(address) sent no issuer to verify its OCSP staple with", subject: address,
                hint: "put the intermediate certificates into the bundle")
        }
        return try OCSPStaple(der: ocspStaple, leaf: leaf, issuer: issuer, now: now)
    }
}
