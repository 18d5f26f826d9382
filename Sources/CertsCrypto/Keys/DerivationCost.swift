internal import COpenSSL
import CertsCore

/// How often the key derivations that opening a PKCS#12 file takes would repeat their function, known before the first one: a
/// hostile file could ask for days.
struct DerivationCost {
    /// The sum over all that is encrypted in the file, and its integrity check.
    private(set) var iterations: Int64

    init(iterations: Int64 = 0) { self.iterations = iterations }

    mutating func add(_ count: Int64) {
        // A count that is not positive makes OpenSSL fail at once.
        let (sum, isTooMuch) = iterations.addingReportingOverflow(max(0, count))
        iterations = isTooMuch ? .max : sum
    }

    /// Adds what an algorithm asks for: PBES1 and the schemes of PKCS#12 (RFC 8018 §A.3, RFC 7292 §C), PBES2 and PBMAC1 with
    /// PBKDF2 or scrypt (RFC 8018 §A.4, §A.5; RFC 7914 §7). OpenSSL derives no key by others.
    mutating func add(_ algorithm: UnsafePointer<X509_ALGOR>?) {
        guard let algorithm, let name = Self.name(of: algorithm), let parameter = Self.parameter(of: algorithm) else {
            return
        }
        switch name {
        case Self.pbes2, Self.pbmac1:
            // Both begin with the derivation; the second part is of another algorithm, which derives nothing.
            guard let parameters = Self.decode(parameter, d2i_PBE2PARAM) else { return }
            defer { PBE2PARAM_free(parameters) }
            add(UnsafePointer(parameters.pointee.keyfunc))
        case Self.pbkdf2:
            guard let parameters = Self.decode(parameter, d2i_PBKDF2PARAM) else { return }
            defer { PBKDF2PARAM_free(parameters) }
            add(Self.number(parameters.pointee.iter))
        case Self.scrypt:
            guard let parameters = Self.decode(parameter, d2i_SCRYPT_PARAMS) else { return }
            defer { SCRYPT_PARAMS_free(parameters) }
            add(
                [
                    parameters.pointee.costParameter, parameters.pointee.blockSize,
                    parameters.pointee.parallelizationParameter,
                ].map(Self.number).reduce(1) { product, factor in
                    let (next, isTooMuch) = product.multipliedReportingOverflow(by: factor)
                    return isTooMuch ? .max : next
                })
        default:
            guard let parameters = Self.decode(parameter, d2i_PBEPARAM) else { return }
            defer { PBEPARAM_free(parameters) }
            add(Self.number(parameters.pointee.iter))
        }
    }

    private static let pbkdf2 = "1.2.840.113549.1.5.12"
    private static let pbes2 = "1.2.840.113549.1.5.13"
    /// RFC 9579; its number is not known to each OpenSSL that we run with.
    private static let pbmac1 = "1.2.840.113549.1.5.14"
    private static let scrypt = "1.3.6.1.4.1.11591.4.11"

    private static func name(of algorithm: UnsafePointer<X509_ALGOR>) -> String? {
        guard let object = algorithm.pointee.algorithm else { return nil }
        return withUnsafeTemporaryAllocation(of: CChar.self, capacity: 128) { text in
            let length = OBJ_obj2txt(text.baseAddress, Int32(text.count), object, 1)
            return length > 0 && length < text.count ? text.baseAddress.map { String(cString: $0) } : nil
        }
    }

    /// The DER of the parameters, which are a SEQUENCE for each derivation. Borrowed from the algorithm.
    private static func parameter(of algorithm: UnsafePointer<X509_ALGOR>) -> UnsafePointer<ASN1_STRING>? {
        var (type, value): (Int32, UnsafeRawPointer?) = (0, nil)
        X509_ALGOR_get0(nil, &type, &value, algorithm)
        return type == V_ASN1_SEQUENCE ? value?.assumingMemoryBound(to: ASN1_STRING.self) : nil
    }

    private static func decode<Value>(
        _ text: UnsafePointer<ASN1_STRING>,
        _ decoder: (
            UnsafeMutablePointer<UnsafeMutablePointer<Value>?>?, UnsafeMutablePointer<UnsafePointer<UInt8>?>?, Int
        ) -> UnsafeMutablePointer<Value>?
    ) -> UnsafeMutablePointer<Value>? {
        var start = ASN1_STRING_get0_data(text)
        return decoder(nil, &start, Int(ASN1_STRING_length(text)))
    }

    /// One that does not fit is as good as endless.
    private static func number(_ integer: UnsafeMutablePointer<ASN1_INTEGER>?) -> Int64 {
        guard let integer else { return 1 }
        var value: Int64 = 0
        return ASN1_INTEGER_get_int64(&value, integer) == 1 ? value : .max
    }
}

extension DerivationCost {
    /// Adds what the parts of a file ask for that can be seen without a key: encrypted parts, and keys in open ones.
    mutating func add(openPartsOf parts: OpaquePointer) {
        for index in 0..<max(0, certs_sk_PKCS7_num(parts)) {
            guard let part = certs_sk_PKCS7_value(parts, index) else { continue }
            if let algorithm = certs_PKCS7_encryption(part) {
                add(algorithm)
            } else if let bags = PKCS12_unpack_p7data(part) {
                add(bags: bags)
                certs_sk_PKCS12_SAFEBAG_pop_free(bags)
            }
        }
    }

    /// Adds what the keys ask for that are encrypted once more within the encrypted parts, after deriving the keys of those.
    mutating func add(closedPartsOf parts: OpaquePointer, passphrase: UnsafePointer<CChar>?) {
        for index in 0..<max(0, certs_sk_PKCS7_num(parts)) {
            guard let part = certs_sk_PKCS7_value(parts, index), certs_PKCS7_encryption(part) != nil else { continue }
            guard let bags = PKCS12_unpack_p7encdata(part, passphrase, passphrase == nil ? 0 : -1) else { continue }
            add(bags: bags)
            certs_sk_PKCS12_SAFEBAG_pop_free(bags)
        }
    }

    /// The depth is bounded by that of OpenSSL's decoder.
    private mutating func add(bags: OpaquePointer) {
        for index in 0..<max(0, certs_sk_PKCS12_SAFEBAG_num(bags)) {
            guard let bag = certs_sk_PKCS12_SAFEBAG_value(bags, index) else { continue }
            switch PKCS12_SAFEBAG_get_nid(bag) {
            case NID_pkcs8ShroudedKeyBag:
                guard let key = PKCS12_SAFEBAG_get0_pkcs8(bag) else { continue }
                var algorithm: UnsafePointer<X509_ALGOR>?
                X509_SIG_get0(key, &algorithm, nil)
                add(algorithm)
            case NID_safeContentsBag:
                if let more = PKCS12_SAFEBAG_get0_safes(bag) { add(bags: more) }
            default: break
            }
        }
    }
}
