/// The name of a certificate, an issuer or a target: `[a-z0-9][a-z0-9._-]{0,62}`.
///
/// Names become directory names and metric labels, so the grammar is narrow by construction: a `Name` that exists
/// never contains `/`, never is `.` or `..`, and never begins with a dot or a dash.
package struct Name: Hashable, Sendable, Comparable, CustomStringConvertible {
    package let rawValue: String

    /// - Throws: ``CertsError/Code/nameInvalid``, which quotes the name and states the grammar.
    package init(_ rawValue: String) throws(CertsError) {
        guard Self.isValid(rawValue) else {
            throw CertsError(
                .nameInvalid,
                "'\(rawValue)' is not a name",
                hint: "use 1 to 63 of a-z, 0-9, '.', '_', '-', beginning with a letter or digit")
        }
        self.rawValue = rawValue
    }

    package static func isValid(_ text: some StringProtocol) -> Bool {
        let bytes = text.utf8
        guard let first = bytes.first, bytes.count <= 63, isAlphanumeric(first) else { return false }
        return bytes.allSatisfy {
            isAlphanumeric($0) || $0 == UInt8(ascii: ".") || $0 == UInt8(ascii: "_") || $0 == UInt8(ascii: "-")
        }
    }

    private static func isAlphanumeric(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte) || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
    }

    package static func < (left: Name, right: Name) -> Bool { left.rawValue < right.rawValue }
    package var description: String { rawValue }
}

extension Name: Codable {
    package init(from decoder: any Decoder) throws {
        try self.init(decoder.singleValueContainer().decode(String.self))
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(rawValue)
    }
}
