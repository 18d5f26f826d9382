internal import COpenSSL
import CertsCore
import Foundation

extension CertificateTemplate {
    /// The template of a TLS server certificate for the holder of `publicKey`, as BR 7.1.2.7 profiles it.
    ///
    /// - Throws: `key.unsupported` for a key that none of ours; `certificate.rejected` for a validity or a set of names
    ///   that no server certificate can have.
    static func server(
        subject: Subject, names: [AlternativeName], publicKey: Data, validity: TimeInterval, now: Date
    ) throws(CertsError) -> CertificateTemplate {
        guard !names.isEmpty else {
            throw CertsError(
                .certificateRejected, "a server certificate needs at least one alternative name",
                hint: "list the names under dnsNames or ipAddresses")
        }
        guard validity.isFinite, validity >= 1 else {
            throw CertsError(
                .certificateRejected, "a certificate cannot be valid for \(validity) seconds", hint: "write it like 90d"
            )
        }
        OpenSSLErrors.clear()
        let key = try OpenSSLObject(
            decodeDER(publicKey, release: EVP_PKEY_free) { d2i_PUBKEY(nil, $0, $1) }, EVP_PKEY_free,
            "this public key cannot be read", code: .keyMalformed)
        let (algorithm, name) = KeyAlgorithm.recognise(key.pointer)
        guard let algorithm else {
            throw CertsError(
                .keyUnsupported, "no certificate is issued for a key of type \(name)",
                hint: "use one of \(KeyAlgorithm.allCases.map(\.rawValue).joined(separator: ", "))")
        }
        let (notBefore, notAfter) = window(validity: validity, now: now)
        return CertificateTemplate(
            subject: subject, names: names, notBefore: notBefore, notAfter: notAfter, keyUsage: .server(algorithm))
    }
}
