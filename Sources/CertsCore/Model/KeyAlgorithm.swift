/// A key algorithm with its size, by the word that the configuration uses.
package enum KeyAlgorithm: String, Sendable, Hashable, Codable, CaseIterable {
    case rsa2048 = "rsa-2048"
    case rsa3072 = "rsa-3072"
    case rsa4096 = "rsa-4096"
    case ecdsaP256 = "ecdsa-p256"
    case ecdsaP384 = "ecdsa-p384"
    case ecdsaP521 = "ecdsa-p521"
    case ed25519 = "ed25519"
}

/// Which key a certificate gets, and whether a renewal makes a new one.
package struct KeyPolicy: Sendable, Hashable, Codable {
    package var algorithm: KeyAlgorithm
    /// Keep the key of the current revision at a renewal. Off by default: each revision gets a fresh key.
    package var reuse: Bool

    package init(algorithm: KeyAlgorithm = .ecdsaP256, reuse: Bool = false) {
        self.algorithm = algorithm
        self.reuse = reuse
    }
}
