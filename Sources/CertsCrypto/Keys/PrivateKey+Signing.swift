internal import COpenSSL
package import CertsCore
package import Foundation

extension PrivateKey {
    /// A signature over `message` with SHA-256, in the form of JSON Web Signatures (RFC 7518 §3): for RSA that of
    /// PKCS #1 v1.5, for ECDSA P-256 the two integers of 32 bytes, one after the other.
    ///
    /// - Throws: `key.unsupported` for any other key.
    package func webSignature(over message: Data) throws(CertsError) -> Data {
        guard let algorithm, algorithm.isRSA || algorithm == .ecdsaP256 else {
            throw CertsError(
                .keyUnsupported, "a key of type \(algorithmName) signs no web signature here",
                hint: "use ecdsa-p256 or an RSA key")
        }
        let signature = try digestSignature(over: message)
        return algorithm.isRSA ? signature : try Self.plainSignature(signature, coordinate: 32)
    }

    private func digestSignature(over message: Data) throws(CertsError) -> Data {
        OpenSSLErrors.clear()
        let context = try OpenSSLObject(EVP_MD_CTX_new(), EVP_MD_CTX_free, "cannot prepare a signature")
        return try withKey { (pkey) throws(CertsError) in
            try CertsError.check(
                EVP_DigestSignInit(context.pointer, nil, EVP_sha256(), nil, pkey), "cannot prepare a signature")
            var count = Int(EVP_PKEY_get_size(pkey))
            var signature = Data(count: count)
            let result = signature.withUnsafeMutableBytes { out in
                message.withUnsafeBytes { input in
                    EVP_DigestSign(
                        context.pointer, out.bindMemory(to: UInt8.self).baseAddress, &count,
                        input.bindMemory(to: UInt8.self).baseAddress, input.count)
                }
            }
            try CertsError.check(result, "cannot sign")
            return signature.prefix(count)
        }
    }

    /// ECDSA-Sig-Value (RFC 3279 §2.2.3) as the two integers alone, each padded to the size of a coordinate.
    private static func plainSignature(_ der: Data, coordinate: Int) throws(CertsError) -> Data {
        let signature = try OpenSSLObject(
            decodeDER(der, release: ECDSA_SIG_free) { d2i_ECDSA_SIG(nil, $0, $1) }, ECDSA_SIG_free,
            "cannot read a signature")
        var plain = Data(count: 2 * coordinate)
        let isWritten = plain.withUnsafeMutableBytes { (bytes: UnsafeMutableRawBufferPointer) -> Bool in
            let start = bytes.bindMemory(to: UInt8.self).baseAddress
            let size = Int32(coordinate)
            return BN_bn2binpad(ECDSA_SIG_get0_r(signature.pointer), start, size) == size
                && BN_bn2binpad(ECDSA_SIG_get0_s(signature.pointer), start.map { $0 + coordinate }, size) == size
        }
        guard isWritten else { throw .openSSL(.openSSL, "cannot encode a signature") }
        return plain
    }

    /// The numbers of the public key as RFC 7518 §6 names them, big-endian: `n` and `e`, or `x` and `y`.
    ///
    /// - Throws: `key.unsupported` for keys that are neither RSA nor ECDSA.
    package func webKeyNumbers() throws(CertsError) -> [String: Data] {
        guard let algorithm, algorithm.isRSA || algorithm.coordinateSize != nil else {
            throw CertsError(
                .keyUnsupported, "a key of type \(algorithmName) has no web key here",
                hint: "use ecdsa-p256 or an RSA key")
        }
        guard let size = algorithm.coordinateSize else {
            return ["n": try number("n"), "e": try number("e")]
        }
        return ["x": try number("qx", size: size), "y": try number("qy", size: size)]
    }

    /// - Parameter size: in bytes, padded with zeros; `nil`: as many as needed.
    private func number(_ parameter: String, size: Int? = nil) throws(CertsError) -> Data {
        OpenSSLErrors.clear()
        return try withKey { (pkey) throws(CertsError) in
            var owned: OpaquePointer?
            try CertsError.check(EVP_PKEY_get_bn_param(pkey, parameter, &owned), "cannot read a number of the key")
            let number = try OpenSSLObject(owned, BN_free, "cannot read a number of the key")
            var bytes = Data(count: size ?? Int(BN_num_bits(number.pointer) + 7) / 8)
            let count = Int32(bytes.count)
            let written = bytes.withUnsafeMutableBytes {
                BN_bn2binpad(number.pointer, $0.bindMemory(to: UInt8.self).baseAddress, count)
            }
            guard written == count else { throw .openSSL(.openSSL, "cannot encode a number of the key") }
            return bytes
        }
    }
}

extension KeyAlgorithm {
    /// Of an elliptic curve of NIST, in bytes.
    fileprivate var coordinateSize: Int? {
        switch self {
        case .ecdsaP256: 32
        case .ecdsaP384: 48
        case .ecdsaP521: 66
        default: nil
        }
    }
}

/// HMAC (RFC 2104).
package enum MessageAuthentication: Sendable {
    case sha256, sha384, sha512

    /// - Throws: `openssl` only where OpenSSL cannot hash at all.
    package func code(of message: Data, key: Secret) throws(CertsError) -> Data {
        let algorithm =
            switch self {
            case .sha256: EVP_sha256()
            case .sha384: EVP_sha384()
            case .sha512: EVP_sha512()
            }
        var code = Data(count: 64)
        var count: UInt32 = 0
        let isDone = code.withUnsafeMutableBytes { out in
            key.withBytes { key in
                message.withUnsafeBytes { input in
                    HMAC(
                        algorithm, key.baseAddress, Int32(key.count), input.bindMemory(to: UInt8.self).baseAddress,
                        input.count, out.bindMemory(to: UInt8.self).baseAddress, &count) != nil
                }
            }
        }
        guard isDone else { throw .openSSL(.openSSL, "cannot compute a message authentication code") }
        return code.prefix(Int(count))
    }
}
