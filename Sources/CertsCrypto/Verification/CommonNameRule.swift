import CertsCore

/// Whether the common name contradicts the alternative names (BR 7.1.4.3).
///
/// Nobody may take a host name from a common name any more (RFC 9525), so this is not a matter of matching. What is
/// refused is a common name that could be mistaken for one of the names: another spelling of it, or another host of the
/// same domain, which old clients would accept. A text that has nothing to do with the names does no harm.
enum CommonNameRule {
    /// - Returns: the common name that contradicts `names`, or `nil`.
    static func stray(in subject: CanonicalName, names: [GeneralName]) -> String? {
        var hosts: [[UInt8]] = []
        var addresses: Set<String> = []
        for name in names {
            switch name {
            case .dns(let bytes): hosts.append(bytes)
            case .ip(let bytes): if let address = IPAddress(bytes: bytes) { addresses.insert(address.description) }
            default: break
            }
        }
        if hosts.isEmpty && addresses.isEmpty { return nil }
        // One is usual; comparing thousands with thousands is work that an attacker must not be able to order.
        if subject.commonNames.count > 8 { return subject.commonNames[8] }
        return subject.commonNames.first { common in
            if addresses.contains(common) { return false }
            let bytes = Array(common.utf8)
            return isOddAddress(common, bytes) || contradicts(bytes, hosts)
        }
    }

    /// An address in another notation than that of RFC 3986 and RFC 5952.
    private static func isOddAddress(_ text: String, _ bytes: [UInt8]) -> Bool {
        if let address = IPAddress(text) { return address.description != text }
        let isHexadecimal =
            bytes.count > 2 && bytes.starts(with: "0x".utf8) && bytes.dropFirst(2).allSatisfy(isHexDigit)
        let isDotted =
            bytes.contains(UInt8(ascii: ".")) && bytes.allSatisfy { NameSyntax.isDigit($0) || $0 == UInt8(ascii: ".") }
        let isColoned =
            bytes.contains(UInt8(ascii: ":")) && bytes.allSatisfy { isHexDigit($0) || $0 == UInt8(ascii: ":") }
        return isHexadecimal || isDotted || isColoned
    }

    private static func isHexDigit(_ byte: UInt8) -> Bool {
        let lower = byte | 0x20
        return NameSyntax.isDigit(byte) || (lower >= UInt8(ascii: "a") && lower <= UInt8(ascii: "f"))
    }

    private static func contradicts(_ common: [UInt8], _ hosts: [[UInt8]]) -> Bool {
        if hosts.isEmpty || hosts.contains(common) { return false }
        // A U-label where the names have A-labels.
        if common.contains(where: { $0 >= 0x80 }) {
            return common.contains(UInt8(ascii: ".")) && !common.contains(UInt8(ascii: " "))
        }
        guard NameSyntax.problem(inDNSName: common, allowsWildcard: true) == nil else { return false }
        let lower = NameSyntax.lowercased(common)
        let canonical = String(decoding: lower, as: UTF8.self)
        let domain = parent(lower[...])
        var isSibling = false
        for host in hosts {
            let name = NameSyntax.lowercased(host)
            if name == lower { return true }
            if DNSName.covers(String(decoding: name, as: UTF8.self), host: canonical) { return false }
            if let domain, let other = parent(name[...]), domain.elementsEqual(other) { isSibling = true }
        }
        return isSibling
    }

    private static func parent(_ name: ArraySlice<UInt8>) -> ArraySlice<UInt8>? {
        name.firstIndex(of: UInt8(ascii: ".")).map { name[($0 + 1)...] }
    }
}
