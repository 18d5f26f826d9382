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

/// Which keys a certificate gets, and whether a renewal makes new ones.
package struct KeyPolicy: Sendable, Hashable, Codable {
    /// One leaf for each; more than one only of different key types.
    package var algorithms: [KeyAlgorithm]
    /// Keep the keys of the current revision at a renewal. Off by default: each revision gets fresh keys.
    package var reuse: Bool

    package init(algorithms: [KeyAlgorithm] = [.ecdsaP256], reuse: Bool = false) {
        self.algorithms = algorithms
        self.reuse = reuse
    }

    package init(algorithm: KeyAlgorithm, reuse: Bool = false) {
        self.init(algorithms: [algorithm], reuse: reuse)
    }

    /// The slots of a bundle: one without a name for one key, one for each key type for several.
    package var members: [Member] { Self.members(of: algorithms) }

    package static func members(of algorithms: [KeyAlgorithm]) -> [Member] {
        algorithms.map { Member(slot: algorithms.count == 1 ? nil : $0.keyType, algorithm: $0) }
    }

    /// One key of a certificate, and where it goes in a revision and in a bundle.
    package struct Member: Sendable, Hashable {
        package let slot: KeyType?
        package let algorithm: KeyAlgorithm
    }
}
