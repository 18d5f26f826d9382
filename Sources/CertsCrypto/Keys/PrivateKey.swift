internal import COpenSSL
package import CertsCore
package import Foundation

/// A private key: immutable, shared, freed with its last reference (OpenSSL cleanses the private part).
package final class PrivateKey: @unchecked Sendable {
    // @unchecked: the EVP_PKEY is not changed after `init`; signing and encoding with it from several threads is allowed
    // (openssl-threads(7): what is shared must not be modified, reference counts are atomic).
    private let pkey: OpaquePointer

    /// `nil`: none of ours, e.g. rsa-1024, secp256k1, a curve by explicit parameters.
    package let algorithm: KeyAlgorithm?
    /// The word of the configuration, or a name in the same style (`rsa-1024`, `secp256k1`, `rsa-pss`, `x25519`).
    package let algorithmName: String
    /// Of the modulus, or of the curve's order.
    package let bits: Int

    /// Takes ownership of `owned`, an `EVP_PKEY *` that is known to be `algorithm`.
    init(owning owned: OpaquePointer, algorithm: KeyAlgorithm) {
        pkey = owned
        self.algorithm = algorithm
        algorithmName = algorithm.rawValue
        bits = Int(EVP_PKEY_get_bits(owned))
    }

    /// Takes ownership of `owned`, an `EVP_PKEY *` from outside, and finds out what it is.
    init(owning owned: OpaquePointer) {
        pkey = owned
        bits = Int(EVP_PKEY_get_bits(owned))
        (algorithm, algorithmName) = KeyAlgorithm.recognise(owned)
    }

    deinit { EVP_PKEY_free(pkey) }

    /// Lends the `EVP_PKEY *`. It must not be changed, and must not be used after the call.
    func withKey<Result, Failure: Error>(_ body: (OpaquePointer) throws(Failure) -> Result) throws(Failure) -> Result {
        defer { withExtendedLifetime(self) {} }
        return try body(pkey)
    }

    /// A fresh key from the process's DRBG. Blocking: RSA takes from tens of milliseconds to seconds.
    package static func generate(_ algorithm: KeyAlgorithm) throws(CertsError) -> PrivateKey {
        OpenSSLErrors.clear()
        let context = try OpenSSLObject(
            EVP_PKEY_CTX_new_from_name(nil, algorithm.openSSLName, nil), EVP_PKEY_CTX_free, "cannot prepare a new key")
        try CertsError.check(EVP_PKEY_keygen_init(context.pointer), "cannot prepare a new key")
        if let bits = algorithm.rsaBits {
            try CertsError.check(
                EVP_PKEY_CTX_set_rsa_keygen_bits(context.pointer, bits), "cannot set the size of the key")
        } else if let curve = algorithm.curve {
            try CertsError.check(
                EVP_PKEY_CTX_set_ec_paramgen_curve_nid(context.pointer, curve), "cannot set the curve of the key")
        }
        var key: OpaquePointer?
        guard EVP_PKEY_generate(context.pointer, &key) == 1, let key else {
            throw .openSSL(.openSSL, "cannot generate a key of type \(algorithm.rawValue)")
        }
        return PrivateKey(owning: key, algorithm: algorithm)
    }

    /// The SubjectPublicKeyInfo, DER. Encoded at each call.
    package var publicKeyDER: Data {
        // A key that was generated or decoded can be encoded: only memory exhaustion could fail here.
        (try? encodeDER("a public key") { i2d_PUBKEY(pkey, $0) }) ?? Data()
    }

    /// base64 of the SHA-256 of the SubjectPublicKeyInfo (RFC 7469 pin).
    package var spkiSHA256: String { Digest.sha256.data(of: publicKeyDER).base64EncodedString() }

    /// Whether `certificate` is for this key: the two SubjectPublicKeyInfo are the same key.
    package func matches(_ certificate: Certificate) -> Bool {
        defer { OpenSSLErrors.clear() }
        guard let decoded = try? certificate.decoded(), let theirs = X509_get0_pubkey(decoded.pointer) else {
            return false
        }
        return EVP_PKEY_eq(pkey, theirs) == 1
    }
}

extension KeyAlgorithm {
    /// The name under which OpenSSL's providers know the type.
    var openSSLName: String {
        switch self {
        case .rsa2048, .rsa3072, .rsa4096: "RSA"
        case .ecdsaP256, .ecdsaP384, .ecdsaP521: "EC"
        case .ed25519: "ED25519"
        }
    }

    var rsaBits: Int32? {
        switch self {
        case .rsa2048: 2048
        case .rsa3072: 3072
        case .rsa4096: 4096
        default: nil
        }
    }

    var curve: Int32? {
        switch self {
        case .ecdsaP256: NID_X9_62_prime256v1
        case .ecdsaP384: NID_secp384r1
        case .ecdsaP521: NID_secp521r1
        default: nil
        }
    }

    /// Whether TLS may use the key for key transport: only RSA (RFC 5246 §7.4.2).
    package var isRSA: Bool { rsaBits != nil }

    /// The digest that fits the strength of the key (RFC 5480 §4); `nil`: Ed25519 signs the message itself (RFC 8410).
    var digest: OpaquePointer? {
        switch self {
        case .rsa2048, .rsa3072, .rsa4096, .ecdsaP256: EVP_sha256()
        case .ecdsaP384: EVP_sha384()
        case .ecdsaP521: EVP_sha512()
        case .ed25519: nil
        }
    }

    /// What `key` is: one of ours, or only a name.
    static func recognise(_ key: OpaquePointer) -> (KeyAlgorithm?, String) {
        let bits = Int(EVP_PKEY_get_bits(key))
        switch EVP_PKEY_get_base_id(key) {
        case EVP_PKEY_RSA:
            let name = "rsa-\(bits)"
            return (KeyAlgorithm(rawValue: name), name)
        case EVP_PKEY_EC:
            let group = text(of: key, "group") ?? "ec-\(bits)"
            let isNamed = text(of: key, "encoding") == "named_curve" && number(of: key, "decoded-from-explicit") != 1
            let known: KeyAlgorithm? =
                switch group {
                case "prime256v1": .ecdsaP256
                case "secp384r1": .ecdsaP384
                case "secp521r1": .ecdsaP521
                default: nil
                }
            // RFC 5480 §2.1.1 forbids explicit parameters in PKIX, and HAProxy's peers refuse them.
            return isNamed ? (known, known?.rawValue ?? group) : (nil, "\(group) with explicit parameters")
        case EVP_PKEY_ED25519:
            return (.ed25519, "ed25519")
        case EVP_PKEY_RSA_PSS:
            return (nil, "rsa-pss-\(bits)")
        default:
            guard let name = EVP_PKEY_get0_type_name(key) else { return (nil, "unknown") }
            return (nil, String(cString: name).lowercased())
        }
    }

    private static func text(of key: OpaquePointer, _ parameter: String) -> String? {
        var buffer = [CChar](repeating: 0, count: 128)
        var count = 0
        guard EVP_PKEY_get_utf8_string_param(key, parameter, &buffer, buffer.count, &count) == 1 else { return nil }
        return String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    private static func number(of key: OpaquePointer, _ parameter: String) -> Int32? {
        var value: Int32 = 0
        return EVP_PKEY_get_int_param(key, parameter, &value) == 1 ? value : nil
    }
}
