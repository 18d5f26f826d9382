internal import COpenSSL
import CertsCore
import Foundation

/// One extension of a certificate or a CRL, borrowed: valid as long as the structure it was read from.
struct ExtensionValue {
    let nid: Int32
    let object: OpaquePointer
    let critical: Bool
    let bytes: UnsafeBufferPointer<UInt8>

    init?(_ extension: OpaquePointer?) {
        guard let `extension`, let object = X509_EXTENSION_get_object(`extension`),
            let value = X509_EXTENSION_get_data(`extension`)
        else { return nil }
        self.object = object
        nid = OBJ_obj2nid(object)
        critical = X509_EXTENSION_get_critical(`extension`) != 0
        bytes = ASN1.bytes(value)
    }

    /// See ``ASN1/decoded(_:_:_:_:)``.
    func decoded<Value, Result>(
        _ d2i: ASN1.Decoder<Value>, _ free: (Value?) -> Void, _ body: (Value) throws -> Result
    ) rethrows -> Result? {
        try ASN1.decoded(bytes, d2i, free, body)
    }
}

/// Borrowed views of OpenSSL's primitive ASN.1 values.
enum ASN1 {
    /// The shape of OpenSSL's `d2i` functions.
    typealias Decoder<Value> = (UnsafeMutablePointer<Value?>?, UnsafeMutablePointer<UnsafePointer<UInt8>?>?, Int) ->
        Value?

    /// Decodes `bytes` with one of OpenSSL's `d2i` functions and lends the result; `nil` if they do not decode, or if some
    /// are left over.
    static func decoded<Value, Result>(
        _ bytes: UnsafeBufferPointer<UInt8>, _ d2i: Decoder<Value>, _ free: (Value?) -> Void,
        _ body: (Value) throws -> Result
    ) rethrows -> Result? {
        guard let start = bytes.baseAddress else { return nil }
        var end: UnsafePointer<UInt8>? = start
        guard let value = d2i(nil, &end, bytes.count) else {
            OpenSSLErrors.clear()
            return nil
        }
        defer { free(value) }
        guard let end, end - start == bytes.count else { return nil }
        return try body(value)
    }

    /// The content octets of a string, an integer's magnitude, or a time.
    static func bytes(_ string: UnsafePointer<asn1_string_st>?) -> UnsafeBufferPointer<UInt8> {
        guard let string, string.pointee.length > 0, let data = string.pointee.data else {
            return UnsafeBufferPointer(start: nil, count: 0)
        }
        return UnsafeBufferPointer(start: UnsafePointer(data), count: Int(string.pointee.length))
    }

    /// Of a string that is embedded in a structure, which must outlive the result.
    static func bytes(_ string: asn1_string_st) -> UnsafeBufferPointer<UInt8> {
        UnsafeBufferPointer(
            start: UnsafePointer(string.data), count: string.data == nil ? 0 : max(0, Int(string.length)))
    }

    static func bytes(_ string: UnsafeMutablePointer<asn1_string_st>?) -> UnsafeBufferPointer<UInt8> {
        bytes(string.map { UnsafePointer($0) })
    }

    /// The octets as text; what is not UTF-8 is replaced, a NUL stays.
    static func text(_ string: UnsafeMutablePointer<asn1_string_st>?) -> String {
        String(decoding: bytes(string), as: UTF8.self)
    }

    /// Lower-case hexadecimal of an integer, `-` before it if it is negative.
    static func hexadecimal(_ integer: UnsafePointer<asn1_string_st>?) -> String {
        let digits = hexadecimal(bytes(integer))
        if let integer, integer.pointee.type == V_ASN1_NEG_INTEGER { return "-" + digits }
        return digits
    }

    /// Lower-case hexadecimal. `Hex.encode` for one concrete type: generic code that is not specialized across modules
    /// would take a fifth of the time of a record.
    static func hexadecimal(_ bytes: UnsafeBufferPointer<UInt8>) -> String {
        String(unsafeUninitializedCapacity: bytes.count * 2) { text in
            let digits: StaticString = "0123456789abcdef"
            for index in 0..<bytes.count {
                text[index * 2] = digits.utf8Start[Int(bytes[index] >> 4)]
                text[index * 2 + 1] = digits.utf8Start[Int(bytes[index] & 15)]
            }
            return bytes.count * 2
        }
    }

    static func areEqual(_ left: UnsafeBufferPointer<UInt8>, _ right: UnsafeBufferPointer<UInt8>) -> Bool {
        guard left.count == right.count, let first = left.baseAddress, let second = right.baseAddress else {
            return left.count == right.count
        }
        return memcmp(first, second, left.count) == 0
    }

    /// Dotted decimal.
    static func dotted(_ object: OpaquePointer) -> String {
        // An OID from outside can be long; 256 characters hold every real one, and OpenSSL cuts the rest.
        withUnsafeTemporaryAllocation(of: CChar.self, capacity: 256) { buffer in
            let written = OBJ_obj2txt(buffer.baseAddress, 256, object, 1)
            let count = max(0, min(Int(written), 255))
            return String(
                decoding: UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(buffer)[..<count]), as: UTF8.self)
        }
    }

    static func shortName(_ nid: Int32) -> String { OBJ_nid2sn(nid).map { String(cString: $0) } ?? "" }
    static func longName(_ nid: Int32) -> String { OBJ_nid2ln(nid).map { String(cString: $0) } ?? "" }

    /// The elements of one of OpenSSL's stacks, whose typed accessors are macros over these functions.
    static func elements(_ stack: OpaquePointer?) -> some Sequence<UnsafeMutableRawPointer> {
        (0..<max(0, OPENSSL_sk_num(stack))).lazy.compactMap { OPENSSL_sk_value(stack, $0) }
    }
}

extension ASN1 {
    /// Frees what `d2i_ASN1_SEQUENCE_ANY` returned.
    static func freeSequence(_ sequence: OpaquePointer?) {
        OPENSSL_sk_pop_free(sequence) { ASN1_TYPE_free($0?.assumingMemoryBound(to: ASN1_TYPE.self)) }
    }
}
