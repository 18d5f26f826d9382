import CertsCore
import CertsCrypto
import Foundation

/// An account's key as the protocol sees it: a signer with its public JSON Web Key (RFC 7517).
struct WebKey: Sendable {
    let key: PrivateKey
    /// `ES256` or `RS256` (RFC 7518 §3.1).
    let algorithm: String
    /// The members of the public key, sorted by name.
    let members: [String: String]
    /// Of the public key (RFC 7638), base64url.
    let thumbprint: String

    /// - Throws: `key.unsupported` for anything but ECDSA P-256 and RSA.
    init(_ key: PrivateKey) throws(CertsError) {
        guard let type = key.algorithm, type.isRSA || type == .ecdsaP256 else {
            throw CertsError(
                .keyUnsupported, "an account key of type \(key.algorithmName) is not used with ACME",
                hint: "use ecdsa-p256, rsa-2048, rsa-3072 or rsa-4096")
        }
        var members = try key.webKeyNumbers().mapValues { Base64URL.encode($0) }
        if type.isRSA {
            members["kty"] = "RSA"
        } else {
            members["kty"] = "EC"
            members["crv"] = "P-256"
        }
        self.key = key
        self.members = members
        algorithm = type.isRSA ? "RS256" : "ES256"
        // RFC 7638 §3.1: the required members only, in lexicographic order, without whitespace. All values are base64url
        // or plain words, so nothing has to be escaped.
        let canonical = members.sorted { $0.key < $1.key }.map { "\"\($0.key)\":\"\($0.value)\"" }
        thumbprint = Base64URL.encode(Digest.sha256.data(of: Data("{\(canonical.joined(separator: ","))}".utf8)))
    }

    /// RFC 8555 §8.1.
    func keyAuthorization(token: String) -> String { "\(token).\(thumbprint)" }
}
