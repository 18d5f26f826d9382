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
    package let revision: Int
    /// PKCS#10, DER.
    package let csr: Data
    /// The private key of the CSR: a self-signed certificate is signed with it; no other issuer reads it.
    package let key: Secret
    /// From an earlier call that ended in ``IssuanceOutcome/pending(_:retryAt:)``, or that crashed after `save`.
    package let resuming: ResumeHandle?
    package let now: Date
    /// Records a handle durably while the call goes on: to be called before each effect that must not be repeated.
    package let save: @Sendable (ResumeHandle) async throws -> Void

    package init(
        declaration: CertificateDeclaration, revision: Int, csr: Data, key: Secret, resuming: ResumeHandle?, now: Date,
        save: @escaping @Sendable (ResumeHandle) async throws -> Void
    ) {
        self.declaration = declaration
        self.revision = revision
        self.csr = csr
        self.key = key
        self.resuming = resuming
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
