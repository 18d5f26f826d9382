internal import COpenSSL
import CertsCore
import Foundation
import Synchronization

/// Distinguished names as text (RFC 4514).
enum DistinguishedName {
    /// What a record shows of a name.
    struct Text: Sendable {
        var string = ""
        /// The last common name.
        var commonName: String?
    }

    /// The text of an encoded name: most specific attribute first, `+` between the attributes of one RDN; types by
    /// OpenSSL's short name, others as a dotted OID with the value in hexadecimal.
    ///
    /// - Returns: `nil` if it does not decode.
    static func text(_ name: UnsafeBufferPointer<UInt8>) -> Text? {
        ASN1.decoded(name, certs_d2i_NAME, certs_NAME_free) { rdns in
            var result = Text()
            var bytes: [UInt8] = []
            bytes.reserveCapacity(name.count + 32)
            for index in stride(from: OPENSSL_sk_num(rdns) - 1, through: 0, by: -1) {
                let rdn = OPENSSL_sk_value(rdns, index).map { OpaquePointer($0) }
                for position in stride(from: OPENSSL_sk_num(rdn) - 1, through: 0, by: -1) {
                    guard let entry = OPENSSL_sk_value(rdn, position).map({ OpaquePointer($0) }),
                        let object = X509_NAME_ENTRY_get_object(entry), let value = X509_NAME_ENTRY_get_data(entry)
                    else { continue }
                    if !bytes.isEmpty {
                        bytes.append(position == OPENSSL_sk_num(rdn) - 1 ? UInt8(ascii: ",") : UInt8(ascii: "+"))
                    }
                    let nid = OBJ_obj2nid(object)
                    append(nid: nid, object: object, value: value, to: &bytes)
                    if nid == NID_commonName, result.commonName == nil { result.commonName = utf8(value) }
                }
            }
            result.string = String(decoding: bytes, as: UTF8.self)
            return result
        }
    }

    /// ``text(_:)`` for names that return again and again: the last few are remembered.
    static func sharedText(_ name: UnsafeBufferPointer<UInt8>) -> Text? {
        let known = recent.withLock { entries in
            entries.first { entry in entry.der.withUnsafeBufferPointer { ASN1.areEqual($0, name) } }?.text
        }
        if let known { return known }
        guard let text = text(name) else { return nil }
        recent.withLock { entries in
            if entries.count >= 16 { entries.removeLast() }
            entries.insert((Array(name), text), at: 0)
        }
        return text
    }

    private static let recent = Mutex<[(der: [UInt8], text: Text)]>([])

    /// The value as text, converted from its ASN.1 string type; what cannot be converted is shown in hexadecimal.
    static func utf8(_ value: UnsafeMutablePointer<asn1_string_st>) -> String {
        withUTF8(value) { String(decoding: $0, as: UTF8.self) } ?? "#" + Hex.encode(ASN1.bytes(value))
    }

    static func withUTF8<Result>(
        _ value: UnsafeMutablePointer<asn1_string_st>, _ body: (UnsafeBufferPointer<UInt8>) -> Result
    ) -> Result? {
        switch value.pointee.type {
        case V_ASN1_UTF8STRING, V_ASN1_PRINTABLESTRING, V_ASN1_IA5STRING, V_ASN1_NUMERICSTRING, V_ASN1_VISIBLESTRING:
            return body(ASN1.bytes(value))
        default:
            var converted: UnsafeMutablePointer<UInt8>?
            let count = ASN1_STRING_to_UTF8(&converted, value)
            guard count >= 0, let converted else {
                OpenSSLErrors.clear()
                return nil
            }
            defer { certs_OPENSSL_free(converted) }
            return body(UnsafeBufferPointer(start: converted, count: Int(count)))
        }
    }

    private static func append(
        nid: Int32, object: OpaquePointer, value: UnsafeMutablePointer<asn1_string_st>, to bytes: inout [UInt8]
    ) {
        if nid != NID_undef, let name = OBJ_nid2sn(nid) {
            bytes.append(contentsOf: UnsafeRawBufferPointer(start: name, count: strlen(name)))
            bytes.append(UInt8(ascii: "="))
            if withUTF8(value, { escape($0, into: &bytes) }) != nil { return }
        } else {
            bytes.append(contentsOf: ASN1.dotted(object).utf8)
            bytes.append(UInt8(ascii: "="))
        }
        // RFC 4514 §2.4: a value without a string form is `#` and its BER encoding.
        bytes.append(UInt8(ascii: "#"))
        var encoded: UnsafeMutablePointer<UInt8>?
        let count = i2d_ASN1_PRINTABLE(value, &encoded)
        if count > 0, let encoded {
            bytes.append(contentsOf: Hex.encode(UnsafeBufferPointer(start: encoded, count: Int(count))).utf8)
            certs_OPENSSL_free(encoded)
        } else {
            OpenSSLErrors.clear()
        }
    }

    private static func escape(_ text: UnsafeBufferPointer<UInt8>, into bytes: inout [UInt8]) {
        for (index, byte) in text.enumerated() {
            switch byte {
            case UInt8(ascii: ","), UInt8(ascii: "+"), UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "<"),
                UInt8(ascii: ">"), UInt8(ascii: ";"):
                bytes.append(UInt8(ascii: "\\"))
                bytes.append(byte)
            case UInt8(ascii: "#") where index == 0, UInt8(ascii: " ") where index == 0 || index == text.count - 1:
                bytes.append(UInt8(ascii: "\\"))
                bytes.append(byte)
            case 0..<0x20, 0x7f:
                bytes.append(UInt8(ascii: "\\"))
                bytes.append(contentsOf: Hex.encode(CollectionOfOne(byte)).uppercased().utf8)
            default:
                bytes.append(byte)
            }
        }
    }
}
