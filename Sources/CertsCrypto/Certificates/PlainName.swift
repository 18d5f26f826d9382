import CertsCore

/// A distinguished name with one printable ASCII value of a well-known type in each RDN, as ``DistinguishedName`` shows it.
struct PlainName {
    let text: String
    let commonName: String?

    /// - Parameter content: of the RDNSequence.
    /// - Returns: `nil` for any other name.
    init?(_ content: UnsafeRawBufferPointer) {
        var names = DERReader(content)
        var parts: [(word: StaticString, value: UnsafeRawBufferPointer)] = []
        var length = 0
        while !names.isAtEnd {
            guard let set = names.next(DERReader.Tag.set),
                let attribute = DERReader.only(DERReader.Tag.sequence, in: set.content)
            else { return nil }
            var fields = DERReader(attribute)
            guard let type = fields.next(DERReader.Tag.object), let word = Self.word(of: type.content),
                let value = fields.next(), Self.isString(value.tag), fields.isAtEnd, value.content.isPlain
            else { return nil }
            parts.append((word, value.content))
            length += word.utf8CodeUnitCount + 2 * value.content.count + 2
        }
        text = String(unsafeUninitializedCapacity: length) { buffer in Self.write(parts.reversed(), to: buffer) }
        commonName = parts.last { $0.word.utf8CodeUnitCount == 2 && $0.word.utf8Start[0] == 0x43 && $0.word.utf8Start[1] == 0x4e }
            .map { String(decoding: $0.value, as: UTF8.self) }
    }

    private static func write(
        _ parts: some Sequence<(word: StaticString, value: UnsafeRawBufferPointer)>, to buffer: UnsafeMutableBufferPointer<UInt8>
    ) -> Int {
        var end = 0
        func put(_ byte: UInt8) {
            buffer[end] = byte
            end += 1
        }
        for part in parts {
            if end > 0 { put(UInt8(ascii: ",")) }
            for index in 0..<part.word.utf8CodeUnitCount { put(part.word.utf8Start[index]) }
            put(UInt8(ascii: "="))
            for (index, byte) in part.value.enumerated() {
                switch byte {
                case UInt8(ascii: ","), UInt8(ascii: "+"), UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "<"),
                    UInt8(ascii: ">"), UInt8(ascii: ";"):
                    put(UInt8(ascii: "\\"))
                case UInt8(ascii: "#") where index == 0, UInt8(ascii: " ") where index == 0 || index == part.value.count - 1:
                    put(UInt8(ascii: "\\"))
                default: break
                }
                put(byte)
            }
        }
        return end
    }

    /// Whether the two could be one name in different writing: `false` is certain.
    func mayEqual(_ other: PlainName) -> Bool {
        let ours = text.utf8.lazy.filter { $0 != UInt8(ascii: " ") && $0 != UInt8(ascii: "\\") }
        let theirs = other.text.utf8.lazy.filter { $0 != UInt8(ascii: " ") && $0 != UInt8(ascii: "\\") }
        return ours.elementsEqual(theirs) { $0 | 0x20 == $1 | 0x20 }
    }

    /// The attribute types of 2.5.4 by OpenSSL's short names.
    private static func word(of type: UnsafeRawBufferPointer) -> StaticString? {
        guard type.count == 3, type[0] == 0x55, type[1] == 0x04 else { return nil }
        switch type[2] {
        case 3: return "CN"
        case 6: return "C"
        case 7: return "L"
        case 8: return "ST"
        case 10: return "O"
        case 11: return "OU"
        default: return nil
        }
    }

    /// UTF8String, NumericString, PrintableString, IA5String.
    private static func isString(_ tag: UInt8) -> Bool { tag == 0x0c || tag == 0x12 || tag == 0x13 || tag == 0x16 }
}

/// Encoded object identifiers, and AlgorithmIdentifiers as certificates have them.
enum PlainObjects {
    static let p256: [UInt8] = ecPublicKey + [0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07]
    static let p384: [UInt8] = ecPublicKey + [0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22]
    static let p521: [UInt8] = ecPublicKey + [0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x23]
    private static let ecPublicKey: [UInt8] = [0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01]
    static let rsa: [UInt8] = [0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00]
    static let ed25519: [UInt8] = [0x06, 0x03, 0x2b, 0x65, 0x70]

    /// With OpenSSL's long names.
    static let signatures: [(algorithm: [UInt8], name: String)] = [
        ([0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02], "ecdsa-with-SHA256"),
        ([0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b, 0x05, 0x00], "sha256WithRSAEncryption"),
        ([0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x03], "ecdsa-with-SHA384"),
        ([0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x04], "ecdsa-with-SHA512"),
        ([0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0c, 0x05, 0x00], "sha384WithRSAEncryption"),
        ([0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0d, 0x05, 0x00], "sha512WithRSAEncryption"),
        (ed25519, "ED25519"),
    ]

    static let informationAccess: [UInt8] = [0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x01, 0x01]
    static let tlsFeature: [UInt8] = [0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x01, 0x18]
    static let ocsp: [UInt8] = [0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01]
    static let caIssuers: [UInt8] = [0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x02]
    /// id-kp, without its last number.
    static let purposes: [UInt8] = [0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03]
    static let purposeNames: [UInt8: String] = [
        1: "serverAuth", 2: "clientAuth", 3: "codeSigning", 4: "emailProtection", 8: "timeStamping", 9: "OCSPSigning",
    ]
}

extension UnsafeRawBufferPointer {
    var bytes: UnsafeBufferPointer<UInt8> { bindMemory(to: UInt8.self) }
    /// Not empty, printable ASCII only.
    var isPlain: Bool { !isEmpty && allSatisfy { $0 >= 0x20 && $0 < 0x7f } }
    var plainText: String? { isPlain ? String(decoding: self, as: UTF8.self) : nil }
}
