import Foundation

/// The rules for DNS names in certificates (RFC 5280 §4.2.1.6, RFC 5890, RFC 9525 §6.3; CA/Browser Forum BR 7.1.4).
package enum DNSName {
    /// The canonical form: IDNA A-labels, lower case, no trailing dot; `*` only as the whole left-most label.
    ///
    /// - Throws: ``CertsError/Code/nameInvalid`` with what is wrong and what to write instead.
    package static func canonical(_ text: String) throws(CertsError) -> String {
        func refuse(_ why: String) -> CertsError {
            CertsError(
                .nameInvalid, "'\(text)' is not a DNS name: \(why)",
                hint: "write it like www.example.com or *.example.com")
        }
        guard !text.isEmpty, text.utf8.count <= 1024 else { throw refuse("it is empty or longer than 253 characters") }
        guard !text.hasSuffix(".") else { throw refuse("it ends with a dot") }
        let ascii = try toASCII(text, refuse)
        guard ascii.utf8.count <= 253 else { throw refuse("it is longer than 253 characters") }
        let labels = ascii.split(separator: ".", omittingEmptySubsequences: false)
        for (index, label) in labels.enumerated() {
            if label == "*" {
                guard index == 0, labels.count > 1 else { throw refuse("a wildcard must be the whole left-most label") }
                continue
            }
            if let why = problem(ofLabel: label) { throw refuse(why) }
        }
        // With colons it was refused above, so it could only be dotted decimal.
        let endsWithDigit = ascii.utf8.last.map { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) } ?? false
        if endsWithDigit, IPAddress(ascii) != nil { throw refuse("it is an IP address; list it under ipAddresses") }
        return ascii
    }

    /// Whether `pattern` (a dNSName of a certificate) covers `host`: equal, or a wildcard for exactly one left-most
    /// label (RFC 9525 §6.3). Both must be canonical.
    package static func covers(_ pattern: String, host: String) -> Bool {
        if pattern == host { return true }
        guard pattern.hasPrefix("*."), let dot = host.firstIndex(of: "."), dot != host.startIndex else { return false }
        return host[dot...] == pattern.dropFirst(1)
    }

    private static func problem(ofLabel label: Substring) -> String? {
        let bytes = label.utf8
        if bytes.isEmpty { return "it has an empty label" }
        if bytes.count > 63 { return "the label '\(label)' is longer than 63 characters" }
        if bytes.contains(UInt8(ascii: "*")) { return "a wildcard must be the whole left-most label" }
        if bytes.first == UInt8(ascii: "-") || bytes.last == UInt8(ascii: "-") {
            return "the label '\(label)' begins or ends with '-'"
        }
        let isLDH = bytes.allSatisfy {
            ($0 >= UInt8(ascii: "a") && $0 <= UInt8(ascii: "z")) || ($0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9"))
                || $0 == UInt8(ascii: "-")
        }
        if !isLDH { return "the label '\(label)' has characters other than letters, digits and '-'" }
        // RFC 5891 §4.2.3.1: "--" in positions 3 and 4 is reserved for A-labels.
        if label.dropFirst(2).hasPrefix("--"), !label.hasPrefix("xn--") {
            return "the label '\(label)' has '--' where only IDNA may"
        }
        return nil
    }

    private static func toASCII(_ text: String, _ refuse: (String) -> CertsError) throws(CertsError) -> String {
        if text.utf8.allSatisfy({ $0 < 0x80 }) { return text.lowercased() }
        // UTS #46 processing as Foundation does it for hosts; the wildcard label is kept out of it.
        let isWildcard = text.hasPrefix("*.")
        let host = isWildcard ? String(text.dropFirst(2)) : text
        guard !host.contains(where: { "/?#@:[]%\\ ".contains($0) }),
            let encoded = URLComponents(string: "https://\(host)")?.encodedHost,
            encoded.utf8.allSatisfy({ $0 < 0x80 }), !encoded.contains("%")
        else { throw refuse("it cannot be converted by IDNA") }
        return (isWildcard ? "*." : "") + encoded.lowercased()
    }
}
