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

    /// - Throws: `certificate.malformed`, also for bytes after the end of the certificate.
    package init(der: Data) throws(CertsError) {
        OpenSSLErrors.clear()
        var end: UnsafePointer<UInt8>?
        let parsed: OpaquePointer? = der.withUnsafeBytes { bytes in
            end = bytes.bindMemory(to: UInt8.self).baseAddress
            let start = end
            let result = d2i_X509(nil, &end, bytes.count)
            if let result, let start, let stop = end, stop - start != bytes.count {
                X509_free(result)
                return nil
            }
            return result
        }
        guard let parsed else {
            throw .openSSL(.certificateMalformed, "these bytes are not one X.509 certificate", hint: "give a certificate in PEM or DER")
        }
        x509 = parsed
        self.der = der
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
