package import Foundation

/// A configured way to get a signature; implemented in CertsIssuers, checked by `IssuerConformance`.
package protocol Issuer: Sendable {
    var name: Name { get }

    /// Asks for a certificate, or goes on with an earlier request.
    ///
    /// Called again with the same request after a crash: an implementation must not leave a second certificate behind.
    /// - Throws: `CertsError` of the family `issuer`; its `retry` says whether and when to ask again.
    func issue(_ request: IssuanceRequest) async throws -> IssuanceOutcome

    /// The roots that what this issuer signs must chain to, as DER; empty: not known, so not checked.
    func trustAnchors() async throws -> [Data]
}

/// A request for a signature.
package struct IssuanceRequest: Sendable {
    package let declaration: CertificateDeclaration
    /// The rotation that asks: with each, another certificate is asked for.
    package let rotation: String
    /// PKCS#10, DER.
    package let csr: Data
    /// The private key of the CSR: a self-signed certificate is signed with it, and an ACME CA gets a request without
    /// the subject. It goes nowhere else.
    package let key: Secret
    /// From an earlier call that ended in ``IssuanceOutcome/pending(_:retryAt:)``, or that crashed after `save`.
    package let resuming: ResumeHandle?
    /// The leaf that the new certificate takes the place of, DER, if this issuer signed it.
    package let replacing: Data?
    /// What the limits of the issuer take it for.
    package let kind: OrderKind
    package let now: Date
    /// Records a handle durably while the call goes on: to be called before each effect that must not be repeated.
    package let save: @Sendable (ResumeHandle) async throws -> Void

    package init(
        declaration: CertificateDeclaration, rotation: String, csr: Data, key: Secret, resuming: ResumeHandle?,
        replacing: Data? = nil, kind: OrderKind = .new, now: Date,
        save: @escaping @Sendable (ResumeHandle) async throws -> Void
    ) {
        self.declaration = declaration
        self.rotation = rotation
        self.csr = csr
        self.key = key
        self.resuming = resuming
        self.replacing = replacing
        self.kind = kind
        self.now = now
        self.save = save
    }
}

package enum IssuanceOutcome: Sendable {
    /// DER, leaf first, then the intermediates in the order in which they sign, without the root.
    case issued(chain: [Data])
    /// Not answered yet; ask again, not before `retryAt`.
    case pending(ResumeHandle, retryAt: Date?)
}

/// An issuer that says when its certificates should be renewed (RFC 9773).
package protocol RenewalAdvisor: Issuer {
    /// Asks for the window of one leaf (DER). `nil`: the issuer has no opinion.
    /// - Throws: `CertsError`; its `retry` says when to ask again.
    func suggestedWindow(for leaf: Data, now: Date) async throws -> SuggestedWindow?
}

/// An issuer that can be looked at without asking for a certificate, for `certs check --live`.
package protocol InspectableIssuer: Issuer {
    /// Looks at the way to a certificate for `certificates` (those that name this issuer): each trouble a finding with a
    /// remedy. Changes nothing, neither here nor at the CA.
    func inspect(_ certificates: [CertificateDeclaration], now: Date) async -> [Finding]
}
