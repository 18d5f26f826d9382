internal import COpenSSL
package import CertsCore
package import Foundation

/// The question for the status of one certificate (RFC 6960 §4.1), in the profile that any responder can answer from a
/// cache (RFC 5019 §2.1): no nonce, no signature.
package enum OCSPRequest {
    /// The DER of the request.
    ///
    /// The certificate is named by SHA-1, as RFC 5019 §2.1.1 has it and as HAProxy looks its staples up: the digest only
    /// finds the certificate, nothing rests on its strength.
    /// - Throws: `certificate.rejected` if `issuer` did not issue `leaf`, `openssl`.
    package static func make(leaf: Certificate, issuer: Certificate) throws(CertsError) -> Data {
        let identifier = try CertificateIdentifier(leaf: leaf, issuer: issuer, digest: EVP_sha1())
        let request = try OpenSSLObject(OCSP_REQUEST_new(), OCSP_REQUEST_free, "cannot make an OCSP request")
        guard let copy = OCSP_CERTID_dup(identifier.pointer) else {
            throw .openSSL(.openSSL, "cannot make an OCSP request")
        }
        guard OCSP_request_add0_id(request.pointer, copy) != nil else {
            OCSP_CERTID_free(copy)
            throw .openSSL(.openSSL, "cannot make an OCSP request")
        }
        return try encodeDER("an OCSP request") { i2d_OCSP_REQUEST(request.pointer, $0) }
    }
}

/// How OCSP names a certificate: its serial number, and digests of the name and the key of its issuer.
struct CertificateIdentifier: ~Copyable {
    private let object: OpenSSLObject

    var pointer: OpaquePointer { object.pointer }

    init(leaf: Certificate, issuer: Certificate, digest: OpaquePointer?) throws(CertsError) {
        let child = try leaf.decoded()
        let parent = try issuer.decoded()
        // Responders do not check it: they would answer for a certificate that nobody has.
        guard X509_check_issued(parent.pointer, child.pointer) == X509_V_OK else {
            OpenSSLErrors.clear()
            let names = [leaf.record.subject, issuer.record.subject].map { TerminalText.sanitized($0, limit: 160) }
            throw CertsError(
                .certificateRejected, "\(names[0]) was not issued by \(names[1])",
                hint: "give the certificate that comes next in the chain")
        }
        object = try OpenSSLObject(
            OCSP_cert_to_id(digest, child.pointer, parent.pointer), OCSP_CERTID_free,
            "cannot make the OCSP identifier of a certificate")
    }
}
