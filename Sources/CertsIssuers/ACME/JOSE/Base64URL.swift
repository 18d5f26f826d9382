package import Foundation

/// base64url without padding (RFC 7515 §2).
package enum Base64URL {
    package static func encode(_ bytes: some DataProtocol) -> String {
        let text = Data(bytes).base64EncodedString()
        var result = ""
        result.reserveCapacity(text.utf8.count)
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "+"): result.append("-")
            case UInt8(ascii: "/"): result.append("_")
            case UInt8(ascii: "="): break
            default: result.unicodeScalars.append(Unicode.Scalar(byte))
            }
        }
        return result
    }

    /// `nil` for anything that is not base64url; padding is tolerated, because CAs hand out keys with it.
    package static func decode(_ text: String) -> Data? {
        let bare = text.prefix { $0 != "=" }
        guard text.dropFirst(bare.count).allSatisfy({ $0 == "=" }), isAlphabet(bare) else { return nil }
        let standard = bare.replacingOccurrences(of: "-", with: "+").replacingOccurrences(of: "_", with: "/")
        return Data(base64Encoded: standard + String(repeating: "=", count: (4 - standard.utf8.count % 4) % 4))
    }

    /// Whether there are only the 64 characters, and at least one.
    static func isAlphabet(_ text: some StringProtocol) -> Bool {
        !text.isEmpty
            && text.utf8.allSatisfy {
                switch $0 {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"):
                    true
                default: false
                }
            }
    }
}
