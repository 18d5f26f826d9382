import CertsCore
import CertsCrypto
import Foundation

/// An account's key as the protocol sees it: a signer with its public JSON Web Key (RFC 7517).
struct WebKey: Sendable {
    let key: PrivateKey
    /// `ES256`, `ES384`, `ES512` or `RS256` (RFC 7518 §3.1).
    let algorithm: String
    /// The members of the public key, sorted by name.
    let members: [String: String]
    /// Of the public key (RFC 7638), base64url.
    let thumbprint: String

    /// - Throws: `key.unsupported` for anything but ECDSA and RSA.
    init(_ key: PrivateKey) throws(CertsError) {
        guard let (name, curve) = key.algorithm.flatMap(Self.words) else {
            throw CertsError(
                .keyUnsupported, "a key of type \(key.algorithmName) is not used with ACME",
                hint: "use an ECDSA or an RSA key")
        }
        var members = try key.webKeyNumbers().mapValues { Base64URL.encode($0) }
        members["kty"] = curve == nil ? "RSA" : "EC"
        members["crv"] = curve
        self.key = key
        self.members = members
        algorithm = name
        // RFC 7638 §3.1: the required members only, in lexicographic order, without whitespace. All values are base64url
        // or plain words, so nothing has to be escaped.
        let canonical = members.sorted { $0.key < $1.key }.map { "\"\($0.key)\":\"\($0.value)\"" }
        thumbprint = Base64URL.encode(Digest.sha256.data(of: Data("{\(canonical.joined(separator: ","))}".utf8)))
    }

    private static func words(_ type: KeyAlgorithm) -> (algorithm: String, curve: String?)? {
        switch type {
        case .rsa2048, .rsa3072, .rsa4096: ("RS256", nil)
        case .ecdsaP256: ("ES256", "P-256")
        case .ecdsaP384: ("ES384", "P-384")
        case .ecdsaP521: ("ES512", "P-521")
        case .ed25519: nil
        }
    }

    /// RFC 8555 §8.1.
    func keyAuthorization(token: String) -> String { "\(token).\(thumbprint)" }
}
