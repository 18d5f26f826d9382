/// The syntax of names in certificates, on octets: what a certificate says need not be UTF-8.
enum NameSyntax {
    static func lowercased(_ byte: UInt8) -> UInt8 {
        byte >= UInt8(ascii: "A") && byte <= UInt8(ascii: "Z") ? byte | 0x20 : byte
    }

    static func lowercased(_ bytes: some Sequence<UInt8>) -> [UInt8] { bytes.map { lowercased($0) } }

    /// What is wrong with a dNSName (RFC 5280 §4.2.1.6, RFC 1123 §2.1, BR 7.1.4.2.1), or `nil`.
    static func problem(inDNSName bytes: [UInt8], allowsWildcard: Bool) -> String? {
        if bytes.isEmpty { return "it is empty" }
        if bytes.count > 253 { return "it is longer than 253 octets" }
        var labels = bytes.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        if labels.first?.elementsEqual([UInt8(ascii: "*")]) == true {
            guard allowsWildcard else { return "it is a wildcard" }
            labels.removeFirst()
            if labels.count < 2 { return "its wildcard covers a whole top-level domain" }
        }
        for label in labels {
            if let problem = problem(inLabel: label) { return problem }
        }
        // A top-level domain has a letter; without one it is an IPv4 address or a part of it.
        if labels.last?.allSatisfy(isDigit) ?? true { return "it is an address, not a DNS name" }
        return nil
    }

    private static func problem(inLabel label: ArraySlice<UInt8>) -> String? {
        guard let first = label.first, let last = label.last else { return "it has an empty label" }
        if label.count > 63 { return "it has a label longer than 63 octets" }
        if label.contains(UInt8(ascii: "*")) { return "a wildcard must be the whole left-most label" }
        guard label.allSatisfy({ isDigit($0) || isLetter($0) || $0 == UInt8(ascii: "-") }) else {
            return "it has characters other than letters, digits and '-'"
        }
        if first == UInt8(ascii: "-") || last == UInt8(ascii: "-") {
            return "it has a label that begins or ends with '-'"
        }
        let reserved = label.count > 3 && label.dropFirst(2).prefix(2).elementsEqual("--".utf8)
        if reserved, !lowercased(label.prefix(2)).elementsEqual("xn".utf8) {
            return "it has a label with '--' in third place that is no A-label"
        }
        return nil
    }

    /// RFC 5280 §4.2.1.6 `rfc822Name`: one `@`, a local part, a host.
    static func isMailbox(_ bytes: [UInt8]) -> Bool {
        let parts = bytes.split(separator: UInt8(ascii: "@"), omittingEmptySubsequences: false)
        guard parts.count == 2, !parts[0].isEmpty, parts[0].count <= 64 else { return false }
        guard parts[0].allSatisfy({ $0 > 0x20 && $0 < 0x7f }) else { return false }
        return problem(inDNSName: Array(parts[1]), allowsWildcard: false) == nil
    }

    /// RFC 3986: a scheme, a colon, and only printable ASCII.
    static func isURI(_ bytes: [UInt8]) -> Bool {
        guard let colon = bytes.firstIndex(of: UInt8(ascii: ":")), let first = bytes.first, isLetter(first) else {
            return false
        }
        let scheme = bytes[..<colon].allSatisfy { isLetter($0) || isDigit($0) || "+-.".utf8.contains($0) }
        return scheme && bytes.allSatisfy { $0 > 0x20 && $0 < 0x7f }
    }

    /// The host of a URI, lower case; `nil` where it has none, or an address instead.
    static func host(ofURI bytes: [UInt8]) -> [UInt8]? {
        guard let colon = bytes.firstIndex(of: UInt8(ascii: ":")) else { return nil }
        let rest = bytes[(colon + 1)...]
        guard rest.starts(with: "//".utf8) else { return nil }
        let authority = rest.dropFirst(2).prefix { !"/?#".utf8.contains($0) }
        let afterUser = authority.lastIndex(of: UInt8(ascii: "@")).map { authority[($0 + 1)...] } ?? authority
        let host = Array(afterUser.prefix { $0 != UInt8(ascii: ":") })
        return problem(inDNSName: host, allowsWildcard: false) == nil ? lowercased(host) : nil
    }

    static func isDigit(_ byte: UInt8) -> Bool { byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9") }
    static func isLetter(_ byte: UInt8) -> Bool {
        let lower = byte | 0x20
        return lower >= UInt8(ascii: "a") && lower <= UInt8(ascii: "z")
    }
}
