package import CertsCore

/// The digest that identifies the bytes of a file.
package enum ContentDigest {
    /// SHA-256, hexadecimal; empty only where OpenSSL cannot hash at all.
    package static func sha256(of contents: Secret) -> String {
        contents.withBytes { Digest.sha256.hexadecimal(of: $0) }
    }
}
