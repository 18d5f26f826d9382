internal import COpenSSL
package import CertsCore
import Foundation

extension PrivateKey {
    /// A private JSON Web Key (RFC 7517; RFC 7518 §6.2.2, §6.3.2).
    ///
    /// - Parameters:
    ///   - type: `kty`, `RSA` or `EC`.
    ///   - curve: `crv`, for `EC`.
    ///   - numbers: the other members of the key by name, decoded: `n`, `e`, `d`, `p`, `q`, `dp`, `dq`, `qi`; or `x`, `y`,
    ///     `d`.
    /// - Throws: `key.malformed` for numbers that are missing or do not belong together; `key.unsupported` for other types.
    package convenience init(
        webKeyOfType type: String, curve: String? = nil, numbers: [String: Secret]
    ) throws(CertsError) {
        switch type {
        case "RSA": try self.init(checking: Self.rsaKey(numbers))
        case "EC": try self.init(checking: Self.curveKey(curve ?? "", numbers))
        default:
            throw CertsError(
                .keyUnsupported, "a web key of the type '\(TerminalText.sanitized(type, limit: 40))' is not used here",
                hint: "use an RSA or an EC key")
        }
    }

    /// The names of a web key and those of OpenSSL (EVP_PKEY-RSA(7)).
    private static let rsaNames = [
        ("n", "n"), ("e", "e"), ("d", "d"), ("p", "rsa-factor1"), ("q", "rsa-factor2"), ("dp", "rsa-exponent1"),
        ("dq", "rsa-exponent2"), ("qi", "rsa-coefficient1"),
    ]

    private static func rsaKey(_ numbers: [String: Secret]) throws(CertsError) -> OpaquePointer {
        let parameters = try KeyParameters()
        for (name, parameter) in rsaNames { try parameters.add(try number(name, numbers), as: parameter) }
        return try parameters.key("RSA")
    }

    /// RFC 7518 §6.2.1.1, with the size of a coordinate in bytes.
    private static let curves = ["P-256": ("prime256v1", 32), "P-384": ("secp384r1", 48), "P-521": ("secp521r1", 66)]

    private static func curveKey(_ curve: String, _ numbers: [String: Secret]) throws(CertsError) -> OpaquePointer {
        guard let (group, size) = curves[curve] else {
            throw CertsError(
                .keyUnsupported, "the curve '\(TerminalText.sanitized(curve, limit: 40))' is not used here",
                hint: "use P-256, P-384 or P-521")
        }
        let x = try number("x", numbers)
        let y = try number("y", numbers)
        guard x.count == size, y.count == size else { throw malformed("x or y has not the size of the curve") }
        let parameters = try KeyParameters()
        try parameters.add(group, as: "group")
        // The uncompressed point (SEC 1 §2.3.3).
        let point = x.withBytes { x in y.withBytes { y in [UInt8(4)] + Array(x) + Array(y) } }
        try parameters.add(bytes: point, as: "pub")
        try parameters.add(try number("d", numbers), as: "priv")
        return try parameters.key("EC")
    }

    private static func number(_ name: String, _ numbers: [String: Secret]) throws(CertsError) -> Secret {
        guard let number = numbers[name], number.count > 0, number.count <= 2048 else {
            throw malformed("'\(name)' is missing or not a number")
        }
        return number
    }

    fileprivate static func malformed(_ why: String) -> CertsError {
        CertsError(
            .keyMalformed, "the web key cannot be used: \(why)",
            hint: "the file is damaged: restore it, or use another key")
    }
}

/// Parameters from which OpenSSL makes a key pair (EVP_PKEY_fromdata(3)). What they point to is kept until the end.
private final class KeyParameters {
    private let builder: OpaquePointer
    private var numbers: [OpaquePointer] = []
    /// The builder keeps pointers, not copies, of texts and octets.
    private var memory: [UnsafeMutableRawBufferPointer] = []

    init() throws(CertsError) {
        OpenSSLErrors.clear()
        guard let builder = OSSL_PARAM_BLD_new() else { throw .openSSL(.openSSL, "no memory") }
        self.builder = builder
    }

    deinit {
        OSSL_PARAM_BLD_free(builder)
        for number in numbers { BN_clear_free(number) }
        for bytes in memory { bytes.deallocate() }
    }

    func add(_ number: Secret, as name: String) throws(CertsError) {
        guard let big = number.withBytes({ BN_bin2bn($0.bindMemory(to: UInt8.self).baseAddress, Int32($0.count), nil) })
        else { throw .openSSL(.openSSL, "cannot read a number of a key") }
        numbers.append(big)
        try CertsError.check(OSSL_PARAM_BLD_push_BN(builder, try kept(name), big), "cannot prepare a key")
    }

    func add(bytes: [UInt8], as name: String) throws(CertsError) {
        let copy = keep(bytes)
        try CertsError.check(
            OSSL_PARAM_BLD_push_octet_string(builder, try kept(name), copy.baseAddress, bytes.count),
            "cannot prepare a key")
    }

    func add(_ text: String, as name: String) throws(CertsError) {
        try CertsError.check(
            OSSL_PARAM_BLD_push_utf8_string(builder, try kept(name), try kept(text), 0), "cannot prepare a key")
    }

    /// - Returns: owned by the caller.
    func key(_ type: String) throws(CertsError) -> OpaquePointer {
        let context = try OpenSSLObject(
            EVP_PKEY_CTX_new_from_name(nil, type, nil), EVP_PKEY_CTX_free, "cannot prepare a key")
        guard let parameters = OSSL_PARAM_BLD_to_param(builder) else {
            throw .openSSL(.openSSL, "cannot prepare a key")
        }
        defer { OSSL_PARAM_free(parameters) }
        var key: OpaquePointer?
        guard EVP_PKEY_fromdata_init(context.pointer) == 1,
            certs_EVP_PKEY_fromdata_keypair(context.pointer, &key, parameters) == 1, let key
        else {
            let reasons = OpenSSLErrors.drain()
            throw PrivateKey.malformed("its numbers are no key (\(reasons))")
        }
        return key
    }

    private func kept(_ text: String) throws(CertsError) -> UnsafePointer<CChar> {
        let bytes = keep(Array(text.utf8) + [0])
        guard let start = bytes.bindMemory(to: CChar.self).baseAddress else { throw .openSSL(.openSSL, "no memory") }
        return UnsafePointer(start)
    }

    private func keep(_ bytes: [UInt8]) -> UnsafeMutableRawBufferPointer {
        let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes.count, alignment: 1)
        copy.copyBytes(from: bytes)
        memory.append(copy)
        return copy
    }
}
