package import CertsCore
package import CertsCrypto
import Foundation

/// The PEM that HAProxy loads: leaf, chain, key, each re-encoded from what was parsed.
///
/// No byte of a CA, a file or a person reaches HAProxy as it came: a blank line in a payload of the runtime API ends the
/// payload, and what follows is executed as commands (management manual §9.3).
package enum CanonicalBundle {
    /// The bundle as it is staged, deployed and compared: LF, no blank line, nothing between the blocks.
    ///
    /// - Parameter key: PEM of the leaf's private key, unencrypted.
    /// - Throws: `key.mismatch`, `key.malformed`, `key.passphrase`.
    package static func make(leaf: Certificate, chain: [Certificate], key: Secret) throws(CertsError) -> Secret {
        let privateKey = try PrivateKey(pem: key)
        guard privateKey.matches(leaf) else {
            throw CertsError(
                .keyMismatch, "the key does not belong to the certificate \(leaf.fingerprint.short)",
                hint: "take the key that the request of this certificate was made with")
        }
        return try join([leaf] + chain, key: try privateKey.pem())
    }

    /// The canonical form of a bundle that somebody else may have written, for the runtime API.
    ///
    /// - Throws: `certificate.malformed`, `key.malformed` and others when no leaf with its key can be found in it.
    static func canonical(_ bundle: Secret) throws(CertsError) -> Secret {
        let certificates = try certificates(in: bundle)
        guard let leaf = certificates.first else { throw Self.withoutCertificate }
        return try make(leaf: leaf, chain: Array(certificates.dropFirst()), key: bundle)
    }

    /// The certificates of a bundle, in the order of the file; HAProxy takes the first one as the leaf.
    static func certificates(in bundle: Secret) throws(CertsError) -> [Certificate] {
        do {
            return try bundle.withBytes { bytes in
                guard let start = bytes.baseAddress, bytes.count > 0 else { throw Self.withoutCertificate }
                // Lent, not copied: there is a private key in these bytes.
                let lent = Data(
                    bytesNoCopy: UnsafeMutableRawPointer(mutating: start), count: bytes.count, deallocator: .none)
                return try CertificateReader.certificates(in: lent)
            }
        } catch {
            throw CertsError.wrapping(error)
        }
    }

    /// The leaf that a bundle file contains, if it can be read.
    static func leaf(of bundle: Secret) -> Certificate? { try? certificates(in: bundle).first }

    private static var withoutCertificate: CertsError {
        CertsError(.certificateMalformed, "there is no certificate in the bundle")
    }

    private static func join(_ certificates: [Certificate], key: Secret) throws(CertsError) -> Secret {
        let chain = Array(certificates.map(\.pem).joined().utf8)
        let bundle = Secret(capacity: chain.count + key.count) { space in
            space.copyBytes(from: chain)
            key.withBytes { UnsafeMutableRawBufferPointer(rebasing: space[chain.count...]).copyMemory(from: $0) }
            return space.count
        }
        guard isPayload(bundle) else {
            throw CertsError(.internal, "the bundle has a blank line, a carriage return or no final newline")
        }
        return bundle
    }

    /// Whether the bytes can be a payload of the runtime API: not empty, LF only, no blank line, a newline at the end.
    static func isPayload(_ bundle: Secret) -> Bool {
        let newline = UInt8(ascii: "\n")
        return bundle.withBytes { bytes in
            guard bytes.first != nil, bytes.first != newline, bytes.last == newline else { return false }
            return !bytes.contains(UInt8(ascii: "\r"))
                && !zip(bytes, bytes.dropFirst()).contains { $0 == newline && $1 == newline }
        }
    }
}
