internal import COpenSSL
import CertsCore

/// The name constraints of one CA certificate (RFC 5280 §4.2.1.10), for every form of name.
struct NameConstraints: Sendable {
    private(set) var permitted: [GeneralName] = []
    private(set) var excluded: [GeneralName] = []
    /// What is wrong with the extension itself; such a CA cannot be relied on.
    private(set) var problem: String?

    var count: Int { permitted.count + excluded.count }

    init(_ constraints: UnsafeMutablePointer<NAME_CONSTRAINTS>) {
        permitted = read(constraints.pointee.permittedSubtrees)
        excluded = read(constraints.pointee.excludedSubtrees)
        if count == 0 { problem = "they constrain nothing" }
    }

    private mutating func read(_ subtrees: OpaquePointer?) -> [GeneralName] {
        guard let subtrees else { return [] }
        var result: [GeneralName] = []
        for element in ASN1.elements(subtrees) {
            let subtree = element.assumingMemoryBound(to: GENERAL_SUBTREE.self)
            guard let base = subtree.pointee.base else { continue }
            // RFC 5280: minimum is always 0 and maximum is absent.
            let hasMinimum = ASN1.bytes(subtree.pointee.minimum).contains { $0 != 0 }
            if hasMinimum || subtree.pointee.maximum != nil { problem = "they use a minimum or maximum distance" }
            let name = GeneralName(base)
            if let wrong = Self.problem(inBase: name) { problem = "'\(name.text)' \(wrong)" }
            result.append(name)
        }
        return result
    }

    private static func problem(inBase name: GeneralName) -> String? {
        switch name {
        case .dns(let bytes):
            // Empty stands for every name.
            if bytes.isEmpty { return nil }
            return NameSyntax.problem(inDNSName: bytes, allowsWildcard: false) == nil ? nil : "is no domain"
        case .email(let bytes):
            if bytes.isEmpty || NameSyntax.isMailbox(bytes) { return nil }
            return isDomain(bytes) ? nil : "is neither a mailbox nor a domain"
        case .uri(let bytes):
            return bytes.isEmpty || isDomain(bytes) ? nil : "is no domain"
        case .ip(let bytes):
            guard bytes.count == 8 || bytes.count == 32 else { return "is no address with a mask" }
            return isContiguous(bytes.suffix(bytes.count / 2)) ? nil : "has a mask with gaps"
        case .directory, .other:
            return nil
        }
    }

    /// A host, or with a leading dot a domain below which hosts are meant.
    private static func isDomain(_ bytes: [UInt8]) -> Bool {
        let domain = bytes.first == UInt8(ascii: ".") ? Array(bytes.dropFirst()) : bytes
        return NameSyntax.problem(inDNSName: domain, allowsWildcard: false) == nil
    }

    private static func isContiguous(_ mask: ArraySlice<UInt8>) -> Bool {
        var ended = false
        for byte in mask {
            if ended, byte != 0 { return false }
            let ones = (~byte).leadingZeroBitCount
            if ones < 8 {
                ended = true
                if byte << UInt8(ones) != 0 { return false }
            }
        }
        return true
    }

    /// - Returns: why `name` is not allowed, or `nil`.
    func violation(by name: GeneralName) -> String? {
        for base in excluded where base.isSameForm(as: name) {
            if Self.isExcluded(name, by: base) { return "'\(name.text)' is in an excluded subtree" }
        }
        var hasForm = false
        for base in permitted where base.isSameForm(as: name) {
            hasForm = true
            if Self.matches(name, base) { return nil }
        }
        return hasForm ? "'\(name.text)' is in no permitted subtree" : nil
    }

    private static func isExcluded(_ name: GeneralName, by base: GeneralName) -> Bool {
        switch (name, base) {
        case (.other, .other):
            // A form that cannot be judged: RFC 5280 §4.2.1.10 says to process it or to reject.
            return true
        case (.dns(let text), .dns(let domain)):
            if matches(name, base) { return true }
            // `*.example.com` would be accepted for `bar.example.com`, which is what `bar.example.com` excludes.
            guard text.starts(with: "*.".utf8), let dot = domain.firstIndex(of: UInt8(ascii: ".")) else { return false }
            return NameSyntax.lowercased(text.dropFirst(2)) == NameSyntax.lowercased(domain[(dot + 1)...])
        case (.uri(let uri), .uri):
            // Without a host nobody can say that it is not excluded.
            return NameSyntax.host(ofURI: uri) == nil || matches(name, base)
        default:
            return matches(name, base)
        }
    }

    private static func matches(_ name: GeneralName, _ base: GeneralName) -> Bool {
        switch (name, base) {
        case (.dns(let text), .dns(let domain)):
            return isHost(NameSyntax.lowercased(text), inOrBelow: NameSyntax.lowercased(domain))
        case (.email(let address), .email(let base)):
            return isMailbox(address, within: base)
        case (.uri(let uri), .uri(let base)):
            guard let host = NameSyntax.host(ofURI: uri) else { return false }
            return base.isEmpty || isHost(host, exactlyOrBelowDot: NameSyntax.lowercased(base))
        case (.ip(let address), .ip(let base)):
            guard base.count == address.count * 2 else { return false }
            return address.indices.allSatisfy {
                let mask = base[address.count + $0]
                return address[$0] & mask == base[$0] & mask
            }
        case (.directory(let name), .directory(let base)):
            return name.isWithin(base)
        default:
            return false
        }
    }

    private static func isHost(_ host: [UInt8], inOrBelow domain: [UInt8]) -> Bool {
        if domain.isEmpty || host == domain { return true }
        guard host.count > domain.count, host.suffix(domain.count).elementsEqual(domain) else { return false }
        return host[host.count - domain.count - 1] == UInt8(ascii: ".")
    }

    private static func isHost(_ host: [UInt8], exactlyOrBelowDot base: [UInt8]) -> Bool {
        if base.first == UInt8(ascii: ".") {
            return host.count > base.count && host.suffix(base.count).elementsEqual(base)
        }
        return host == base
    }

    private static func isMailbox(_ address: [UInt8], within base: [UInt8]) -> Bool {
        if base.isEmpty { return true }
        guard let at = address.lastIndex(of: UInt8(ascii: "@")) else { return false }
        let host = NameSyntax.lowercased(address[(at + 1)...])
        guard let baseAt = base.lastIndex(of: UInt8(ascii: "@")) else {
            return isHost(host, exactlyOrBelowDot: NameSyntax.lowercased(base))
        }
        // The local part is compared as it stands: only the host is case-insensitive.
        return address[..<at] == base[..<baseAt] && host == NameSyntax.lowercased(base[(baseAt + 1)...])
    }
}

extension GeneralName {
    func isSameForm(as name: GeneralName) -> Bool {
        switch (self, name) {
        case (.dns, .dns), (.email, .email), (.uri, .uri), (.ip, .ip), (.directory, .directory): true
        case (.other(let left), .other(let right)): left == right
        default: false
        }
    }
}
