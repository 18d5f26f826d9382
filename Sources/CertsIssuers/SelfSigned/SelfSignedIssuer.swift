package import CertsCore
import CertsCrypto
package import Foundation

/// Signs each certificate with its own key: for tests and for a first certificate, not for clients.
package struct SelfSignedIssuer: Issuer {
    package let name: Name
    /// Seconds.
    let validity: TimeInterval

    package init(name: Name, validity: TimeInterval) {
        self.name = name
        self.validity = validity
    }

    package func issue(_ request: IssuanceRequest) async throws -> IssuanceOutcome {
        let validity = validity
        return try await BlockingPool.shared.run {
            let certificate = try SelfSigned.issue(
                request: CertificateRequest(der: request.csr), key: PrivateKey(pem: request.key),
                subject: request.declaration.subject, names: request.declaration.names, validity: validity,
                now: request.now)
            return .issued(chain: [certificate.der])
        }
    }

    /// None: a self-signed certificate is its own anchor, and nobody vouches for it.
    package func trustAnchors() async throws -> [Data] { [] }
}
