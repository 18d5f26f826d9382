package import CertsCore
package import Foundation

/// Certificates that are signed with their own key.
package enum SelfSigned {
    /// A TLS server certificate for `request`, signed with the request's own `key`.
    ///
    /// - Parameter validity: notAfter − notBefore, in seconds.
    /// - Throws: `key.mismatch` if `key` is not the request's; `name.invalid`; `key.unsupported`.
    package static func issue(
        request: CertificateRequest, key: PrivateKey, subject: Subject, names: [AlternativeName],
        validity: TimeInterval,
        now: Date
    ) throws(CertsError) -> Certificate {
        guard key.publicKeyDER == request.publicKeyDER else {
            throw CertsError(
                .keyMismatch, "the request was not made with this key",
                hint: "sign it with the key that it was made with")
        }
        let template = try CertificateTemplate.server(
            subject: subject, names: names, publicKey: request.publicKeyDER, validity: validity, now: now)
        return try template.sign(publicKey: request.publicKeyDER, issuer: nil, key: key)
    }
}
