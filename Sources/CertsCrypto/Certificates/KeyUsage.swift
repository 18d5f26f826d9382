internal import COpenSSL
package import CertsCore

/// The bits of a keyUsage extension (RFC 5280 §4.2.1.3), bit 0 lowest.
package struct KeyUsage: OptionSet, Hashable, Sendable {
    package let rawValue: UInt16

    package static let digitalSignature = KeyUsage(rawValue: 1 << 0)
    package static let nonRepudiation = KeyUsage(rawValue: 1 << 1)
    package static let keyEncipherment = KeyUsage(rawValue: 1 << 2)
    package static let dataEncipherment = KeyUsage(rawValue: 1 << 3)
    package static let keyAgreement = KeyUsage(rawValue: 1 << 4)
    package static let keyCertSign = KeyUsage(rawValue: 1 << 5)
    package static let cRLSign = KeyUsage(rawValue: 1 << 6)

    /// Of a TLS server (BR 7.1.2.7.11): key transport only where the algorithm has it.
    package static func server(_ algorithm: KeyAlgorithm) -> KeyUsage {
        algorithm.isRSA ? [.digitalSignature, .keyEncipherment] : .digitalSignature
    }

    private static let words = [
        "digitalSignature", "nonRepudiation", "keyEncipherment", "dataEncipherment", "keyAgreement", "keyCertSign",
        "cRLSign", "encipherOnly", "decipherOnly",
    ]

    package init(rawValue: UInt16) { self.rawValue = rawValue }

    init(_ bits: UnsafeMutablePointer<asn1_string_st>) {
        var value: UInt16 = 0
        for (index, byte) in ASN1.bytes(bits).prefix(2).enumerated() {
            for bit in 0..<8 where byte & (0x80 >> UInt8(bit)) != 0 { value |= 1 << UInt16(index * 8 + bit) }
        }
        rawValue = value & 0x1ff
    }

    /// In the words of RFC 5280 and of OpenSSL's extension syntax.
    var names: [String] {
        // The usages of nearly every certificate; the array is then shared instead of built.
        switch rawValue {
        case 0x01: Self.common.signature
        case 0x05: Self.common.signatureAndEncipherment
        case 0x60: Self.common.authority
        default: Self.words.indices.filter { rawValue & (1 << UInt16($0)) != 0 }.map { Self.words[$0] }
        }
    }

    private static let common = (
        signature: ["digitalSignature"], signatureAndEncipherment: ["digitalSignature", "keyEncipherment"],
        authority: ["keyCertSign", "cRLSign"]
    )
}

/// The names of extended key usages (RFC 5280 §4.2.1.12).
enum ExtendedKeyUsage {
    /// - Returns: `nil` for a usage without a well-known name.
    static func name(_ nid: Int32) -> String? {
        switch nid {
        case NID_server_auth: "serverAuth"
        case NID_client_auth: "clientAuth"
        case NID_code_sign: "codeSigning"
        case NID_email_protect: "emailProtection"
        case NID_time_stamp: "timeStamping"
        case NID_OCSP_sign: "OCSPSigning"
        case NID_anyExtendedKeyUsage: "anyExtendedKeyUsage"
        default: nil
        }
    }
}
