internal import COpenSSL
import CertsCore

/// What kind of key a SubjectPublicKeyInfo holds, read without decoding the key itself: decoding through the providers
/// is most of the cost of parsing a certificate.
struct PublicKeyShape: Hashable, Sendable {
    enum Family: Hashable, Sendable {
        case rsa, rsaPSS, dsa
        /// The curve by its NID; `nil` where the curve is spelt out instead of named.
        case ec(curve: Int32?)
        case edwards
        case other
    }

    var family = Family.other
    /// As in `CertificateRecord.keyAlgorithm`.
    var name = ""
    var bits = 0

    init() {}

    /// - Parameter key: a SubjectPublicKeyInfo in DER.
    init(_ key: UnsafeBufferPointer<UInt8>) {
        _ = ASN1.decoded(key, certs_d2i_PUBLIC_KEY, certs_PUBLIC_KEY_free) { read($0.pointee, key) }
    }

    private mutating func read(_ key: CERTS_PUBLIC_KEY, _ der: UnsafeBufferPointer<UInt8>) {
        guard let algorithm = key.algorithm, let object = algorithm.pointee.algorithm else { return }
        let nid = OBJ_obj2nid(object)
        switch nid {
        case NID_rsaEncryption, NID_rsassaPss:
            family = nid == NID_rsassaPss ? .rsaPSS : .rsa
            bits = Self.modulusBits(ASN1.bytes(key.key))
            name = nid == NID_rsassaPss ? ASN1.shortName(nid) : "rsa-\(bits)"
        case NID_X9_62_id_ecPublicKey:
            readCurve(algorithm)
        case NID_ED25519:
            (family, name, bits) = (.edwards, "ed25519", 256)
        case NID_ED448:
            (family, name, bits) = (.edwards, ASN1.shortName(nid), 456)
        default:
            family = nid == NID_dsa ? .dsa : .other
            name = nid == NID_undef ? ASN1.dotted(object) : ASN1.shortName(nid)
            bits = ASN1.decoded(der, d2i_PUBKEY, EVP_PKEY_free) { max(0, Int(EVP_PKEY_get_bits($0))) } ?? 0
        }
    }

    private mutating func readCurve(_ algorithm: UnsafeMutablePointer<X509_ALGOR>?) {
        var type: Int32 = 0
        var parameter: UnsafeRawPointer?
        X509_ALGOR_get0(nil, &type, &parameter, algorithm)
        guard type == V_ASN1_OBJECT, let parameter else {
            (family, name) = (.ec(curve: nil), "id-ecPublicKey")
            return
        }
        let curve = OBJ_obj2nid(OpaquePointer(parameter))
        family = .ec(curve: curve)
        switch curve {
        case NID_X9_62_prime256v1: (name, bits) = ("ecdsa-p256", 256)
        case NID_secp384r1: (name, bits) = ("ecdsa-p384", 384)
        case NID_secp521r1: (name, bits) = ("ecdsa-p521", 521)
        default:
            name = curve == NID_undef ? ASN1.dotted(OpaquePointer(parameter)) : ASN1.shortName(curve)
            if let group = EC_GROUP_new_by_curve_name(curve) {
                bits = max(0, Int(EC_GROUP_get_degree(group)))
                EC_GROUP_free(group)
            }
            OpenSSLErrors.clear()
        }
    }

    /// The length of the first INTEGER of an RSAPublicKey (RFC 8017 §A.1.1).
    private static func modulusBits(_ material: UnsafeBufferPointer<UInt8>) -> Int {
        var start = material.baseAddress
        guard start != nil, let sequence = d2i_ASN1_SEQUENCE_ANY(nil, &start, material.count) else {
            OpenSSLErrors.clear()
            return 0
        }
        defer { ASN1.freeSequence(sequence) }
        guard let first = OPENSSL_sk_value(sequence, 0)?.assumingMemoryBound(to: ASN1_TYPE.self),
            first.pointee.type == V_ASN1_INTEGER, let modulus = first.pointee.value.integer
        else { return 0 }
        let bytes = ASN1.bytes(modulus)
        guard let top = bytes.first, top != 0 else { return 0 }
        return bytes.count * 8 - top.leadingZeroBitCount
    }
}
