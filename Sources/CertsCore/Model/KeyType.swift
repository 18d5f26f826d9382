/// The family of a key: what a TLS client can verify, and so which member of a bundle the certificate is.
package enum KeyType: String, Sendable, Hashable, Codable, CaseIterable {
    case rsa
    case ecdsa
    case ed25519

    /// The suffix of the file that HAProxy takes the member of this type from (`ssl-load-extra-files bundle`).
    ///
    /// `nil` for Ed25519: HAProxy knows `.rsa`, `.ecdsa` and `.dsa`, so such a certificate cannot be in a bundle with others.
    package var bundleSuffix: String? {
        switch self {
        case .rsa: ".rsa"
        case .ecdsa: ".ecdsa"
        case .ed25519: nil
        }
    }

    /// The type of the key that a certificate was issued for; `nil` for one that no declaration can ask for.
    package static func of(record: CertificateRecord) -> KeyType? { KeyType(algorithm: record.keyAlgorithm) }

    /// Reads the name of a key algorithm as `CertificateRecord.keyAlgorithm` and OpenSSL write it.
    ///
    /// `nil` for DSA, Ed448 and SM2, and for RSASSA-PSS: clients that know only plain RSA keys refuse it, so that it must
    /// not pass for the RSA member of a bundle.
    package init?(algorithm name: String) {
        let name = name.lowercased()
        switch name {
        case "rsa", "rsaencryption": self = .rsa
        case "ed25519": self = .ed25519
        case "ec", "ecdsa", "id-ecpublickey": self = .ecdsa
        case _ where name.hasPrefix("rsa-"):
            // "rsa-pss-2048" has the same start as "rsa-2048".
            guard Int(name.dropFirst(4)) != nil else { return nil }
            self = .rsa
        case _ where Self.curvePrefixes.contains(where: name.hasPrefix): self = .ecdsa
        default: return nil
        }
    }

    /// How the short names of OpenSSL's ECDSA curves start; SM2 is not one, because it signs otherwise.
    private static let curvePrefixes = [
        "ecdsa-", "ec-", "prime", "secp", "sect", "brainpool", "c2pnb", "c2tnb", "wap-wsg-", "oakley-ec2n-",
    ]
}

extension KeyAlgorithm {
    package var keyType: KeyType {
        switch self {
        case .rsa2048, .rsa3072, .rsa4096: .rsa
        case .ecdsaP256, .ecdsaP384, .ecdsaP521: .ecdsa
        case .ed25519: .ed25519
        }
    }
}
