package import CertsCore
import CertsCrypto
package import Foundation

extension ACMEIssuer: RevokingIssuer {
    /// RFC 8555 §7.6: signed by the certificate's key where it is given, by the account otherwise.
    package func revoke(_ target: RevocationTarget, reason: RevocationReason, now: Date) async throws {
        try await told {
            if let key = target.key {
                let signer = ACMESession.Signer.key(try WebKey(try PrivateKey(pem: key)))
                return try await session.revoke(target.der, reason: reason, as: signer)
            }
            try await withAccount { try await session.revoke(target.der, reason: reason, as: $0.signer) }
        }
    }
}
