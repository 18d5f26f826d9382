internal import COpenSSL
package import CertsCore
package import Foundation

/// A parsed X.509 certificate: immutable, shared, freed with its last reference.
package final class Certificate: @unchecked Sendable {
    // @unchecked: OpenSSL's X509 is not changed after `init`, and its lazily cached extension values are guarded by a
    // lock inside OpenSSL (x509_v3 `x509v3_cache_extensions`).
    private let x509: OpaquePointer

    /// Exactly the bytes that were parsed.
    package let der: Data
    /// Every field, read once in `init`.
    package let record: CertificateRecord
    /// The SubjectPublicKeyInfo in DER.
    package let publicKeyDER: Data
    /// The SHA-256 of the DER.
    package let fingerprint: Fingerprint

    /// - Throws: `certificate.malformed`, also for bytes after the end of the certificate and for a validity that
    ///   is no date.
    package convenience init(der: Data) throws(CertsError) {
        OpenSSLErrors.clear()
        let parsed: OpaquePointer? = der.withUnsafeBytes { bytes in
            guard let start = bytes.bindMemory(to: UInt8.self).baseAddress else { return nil }
            var end: UnsafePointer<UInt8>? = start
            guard let result = d2i_X509(nil, &end, bytes.count) else { return nil }
            guard let end, end - start == bytes.count else {
                X509_free(result)
                return nil
            }
            return result
        }
        guard let parsed else {
            throw .openSSL(
                .certificateMalformed, "these bytes are not one X.509 certificate",
                hint: "give a certificate in PEM or DER")
        }
        try self.init(owning: parsed, der: der)
    }

    /// One that OpenSSL has parsed already, in the default library context: decoding it again would cost as much as half
    /// a handshake.
    convenience init(sharing x509: OpaquePointer) throws(CertsError) {
        let der = try encodeDER("a certificate") { i2d_X509(x509, $0) }
        try CertsError.check(X509_up_ref(x509), "cannot keep a certificate")
        try self.init(owning: x509, der: der)
    }

    /// Takes ownership of `parsed`, also when it throws.
    private init(owning parsed: OpaquePointer, der: Data) throws(CertsError) {
        let decoded: Result<RecordDecoder, CertsError> = der.withUnsafeBytes { bytes in
            do throws(CertsError) {
                return .success(try RecordDecoder(bytes, keepsPublicKey: true))
            } catch {
                return .failure(error)
            }
        }
        guard case .success(let decoder) = decoded, let fingerprint = decoder.record.fingerprint,
            let key = decoder.publicKey
        else {
            X509_free(parsed)
            if case .failure(let error) = decoded { throw error }
            throw .openSSL(.openSSL, "cannot hash a certificate with SHA-256")
        }
        x509 = parsed
        self.der = der
        self.fingerprint = fingerprint
        record = decoder.record
        publicKeyDER = key
    }

    deinit { X509_free(x509) }

    /// Lends the `X509 *`. It must not be changed, and must not be used after the call.
    func withX509<Result>(_ body: (OpaquePointer) throws -> Result) rethrows -> Result {
        try withExtendedLifetime(self) { try body(x509) }
    }

    /// One canonical `CERTIFICATE` block, re-encoded from the DER: no text around it, no blank line in it.
    package var pem: String { PEM.block("CERTIFICATE", der) }
}

extension Certificate: Hashable {
    package static func == (left: Certificate, right: Certificate) -> Bool { left.der == right.der }
    package func hash(into hasher: inout Hasher) { hasher.combine(der) }
}

extension Certificate {
    /// The octets of `keyIdentifier` in the authority key identifier (RFC 5280 §4.2.1.1); `nil`: there is none.
    package var authorityKeyIdentifier: Data? {
        guard let decoded = try? decoded(), let octets = X509_get0_authority_key_id(decoded.pointer),
            let start = ASN1_STRING_get0_data(octets)
        else { return nil }
        return Data(bytes: start, count: Int(ASN1_STRING_length(octets)))
    }

    /// The contents octets of the serial number as they stand in the DER, with a leading zero where it has one.
    package var serialNumberBytes: Data? {
        guard let decoded = try? decoded(), let serial = X509_get0_serialNumber(decoded.pointer),
            let der = try? encodeDER("a serial number", { i2d_ASN1_INTEGER(serial, $0) }), der.count > 2,
            // RFC 5280 §4.1.2.2 allows 20 octets, so the length is always of one octet.
            der[1] == UInt8(der.count - 2)
        else { return nil }
        return Data(der.dropFirst(2))
    }
}
