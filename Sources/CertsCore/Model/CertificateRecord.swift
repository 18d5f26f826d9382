package import Foundation

/// What an operator looks at in one certificate; a plain value, read once from the DER.
///
/// Text that comes from the certificate is as it stands there: sanitize before printing.
package struct CertificateRecord: Sendable, Hashable, Codable {
    /// RFC 4514 order and escaping, most specific first: `CN=messenger.example.com,O=SilentRelay,C=US`.
    package var subject = ""
    package var issuer = ""
    /// The last common name of the subject, if any.
    package var subjectCommonName: String?
    package var issuerCommonName: String?
    /// Lower-case hexadecimal, without leading zero bytes; `-` before it if the certificate has a negative serial.
    package var serial = ""
    /// 3 for every certificate of today.
    package var version = 3
    package var dnsNames: [String] = []
    package var ipAddresses: [String] = []
    package var emailAddresses: [String] = []
    package var uris: [String] = []
    package var notBefore = Date(timeIntervalSince1970: 0)
    package var notAfter = Date(timeIntervalSince1970: 0)
    /// As the configuration writes it where it can: `rsa-2048`, `ecdsa-p256`, `ed25519`; otherwise OpenSSL's name.
    package var keyAlgorithm = ""
    package var keyBits = 0
    /// OpenSSL's long name: `sha256WithRSAEncryption`, `ecdsa-with-SHA256`, `ED25519`.
    package var signatureAlgorithm = ""
    /// RFC 5280 §4.2.1.3 names: `digitalSignature`, `keyCertSign` …; empty if the extension is absent.
    package var keyUsage: [String] = []
    /// `serverAuth`, `clientAuth` …, otherwise dotted OIDs; empty if the extension is absent.
    package var extendedKeyUsage: [String] = []
    package var hasBasicConstraints = false
    package var isCA = false
    package var pathLength: Int?
    /// Hexadecimal key identifiers.
    package var subjectKeyID: String?
    package var authorityKeyID: String?
    package var caIssuersURLs: [String] = []
    package var ocspURLs: [String] = []
    package var crlURLs: [String] = []
    package var mustStaple = false
    package var sha1 = ""
    package var sha256 = ""
    /// base64 of the SHA-256 of the SubjectPublicKeyInfo (RFC 7469 pin).
    package var spkiSHA256 = ""
    /// Subject equals issuer and the key identifiers do not contradict it.
    package var selfSigned = false

    package init() {}

    /// notAfter − notBefore, in seconds.
    package var lifetime: TimeInterval { notAfter.timeIntervalSince(notBefore) }
    package var fingerprint: Fingerprint? { Fingerprint(hex: sha256) }
}
