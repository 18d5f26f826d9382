internal import COpenSSL
import CertsCore

/// Which keys and signatures are strong enough (BR 6.1.5, 6.1.6, 7.1.3), with Ed25519 allowed for private authorities.
enum KeyRules {
    /// - Returns: what is wrong, as the end of "a key that …".
    static func problem(in certificate: PathCertificate) -> String? {
        let key = certificate.key
        switch key.family {
        case .rsa:
            if key.bits < 2048 { return "has only \(key.bits) RSA bits" }
            if key.bits > 16_384 { return "has \(key.bits) RSA bits, more than OpenSSL computes with" }
            if key.bits % 8 != 0 { return "has \(key.bits) RSA bits, which is no multiple of 8" }
        case .ec(let curve):
            guard let curve else { return "spells out its curve instead of naming it" }
            guard [NID_X9_62_prime256v1, NID_secp384r1, NID_secp521r1].contains(curve) else {
                return "is on the curve \(key.name), which is not P-256, P-384 or P-521"
            }
        case .edwards:
            guard key.name == "ed25519" else { return "is of the type \(key.name)" }
        case .rsaPSS, .dsa, .other:
            return "is of the type \(key.name)"
        }
        return decodingProblem(in: certificate)
    }

    private static func decodingProblem(in certificate: PathCertificate) -> String? {
        OpenSSLErrors.clear()
        defer { OpenSSLErrors.clear() }
        return certificate.withX509Key { key in
            guard let key else { return "does not decode" }
            guard certificate.key.family == .rsa else { return nil }
            var exponent: OpaquePointer?
            guard EVP_PKEY_get_bn_param(key, "e", &exponent) == 1, let exponent else { return "has no exponent" }
            defer { BN_free(exponent) }
            // BR 6.1.6: odd, and 3 or more.
            return BN_is_odd(exponent) == 1 && BN_num_bits(exponent) >= 2 ? nil : "has an even exponent, or 1"
        }
    }

    /// - Returns: what is wrong, as the end of "signed with …".
    static func problem(inSignatureOf certificate: PathCertificate) -> String? {
        certificate.certificate.withX509 { x509 in
            var (digest, key, bits, flags): (Int32, Int32, Int32, UInt32) = (0, 0, 0, 0)
            defer { OpenSSLErrors.clear() }
            var outer: UnsafePointer<X509_ALGOR>?
            X509_get0_signature(nil, &outer, x509)
            if let inner = X509_get0_tbs_sigalg(x509), let outer, X509_ALGOR_cmp(inner, outer) != 0 {
                return "another algorithm than the one it names inside"
            }
            let name = TerminalText.sanitized(certificate.certificate.record.signatureAlgorithm, limit: 64)
            guard X509_get_signature_info(x509, &digest, &key, &bits, &flags) == 1 else {
                return "an unknown algorithm (\(name))"
            }
            if key == NID_ED25519 { return nil }
            guard [NID_sha256, NID_sha384, NID_sha512].contains(digest),
                [NID_rsaEncryption, NID_rsassaPss, NID_X9_62_id_ecPublicKey].contains(key)
            else { return name }
            return nil
        }
    }
}

extension PathCertificate {
    /// Lends the decoded public key, `nil` where it does not decode.
    func withX509Key<Result>(_ body: (OpaquePointer?) -> Result) -> Result {
        certificate.withX509 { body(X509_get0_pubkey($0)) }
    }
}
