import CertsCore
import Foundation

extension ACMESession {
    private struct Revocation: Encodable, Sendable {
        var certificate: String
        var reason: Int?
    }

    /// Revokes (RFC 8555 §7.6), signed by the account or by the certificate's own key. One that is already revoked is
    /// left as it is.
    ///
    /// - Parameter certificate: DER.
    func revoke(_ certificate: Data, reason: RevocationReason, as signer: Signer) async throws {
        guard let url = try await directory().revokeCert else {
            throw CertsError(
                .issuerRefused, "the CA offers no revocation", subject: issuer.rawValue,
                hint: "ask the CA how to revoke")
        }
        let request = Revocation(
            certificate: Base64URL.encode(certificate), reason: reason == .unspecified ? nil : reason.rawValue)
        do {
            _ = try await post(url, request, as: signer, isRepeatable: true)
        } catch let failure as ACMEFailure where failure.kind == .alreadyRevoked {
            return
        }
    }
}
