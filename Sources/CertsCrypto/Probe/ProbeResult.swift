package import Foundation

/// What one handshake with an endpoint showed.
package struct ProbeResult: Sendable {
    /// The numeric address that answered, `127.0.0.1:443`.
    package let address: String
    package let leaf: Certificate
    /// As sent, leaf first.
    package let chain: [Certificate]
    /// `TLSv1.3`, `TLSv1.2`.
    package let protocolVersion: String
    /// OpenSSL's name: `TLS_AES_256_GCM_SHA384`.
    package let cipher: String
    /// What the server signed the handshake with: `rsa`, `ecdsa`, `ed25519`; `nil` for a key exchange without signature.
    package let signatureType: String?
    /// What was agreed on of the protocols that were offered (RFC 7301).
    package let applicationProtocol: String?
    /// DER of the OCSP response that was stapled.
    package let ocspStaple: Data?
    /// From the first connect to the end of the handshake, in seconds.
    package let elapsed: TimeInterval
}
