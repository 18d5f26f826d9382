internal import COpenSSL
package import CertsCore
import Foundation

/// Name constraints to be written into a CA certificate (RFC 5280 §4.2.1.10): DNS subtrees and address blocks.
package struct NameConstraintsTemplate: Sendable, Hashable {
    package var permittedDomains: [String] = []
    package var permittedBlocks: [AddressBlock] = []
    /// `""` stands for all.
    package var excludedDomains: [String] = []
    package var excludedBlocks: [AddressBlock] = []

    package init() {}

    var isEmpty: Bool { self == NameConstraintsTemplate() }

    /// The constraints that let a CA issue for `permitted` (DNS subtrees and CIDR blocks) and for no other host.
    ///
    /// A permitted subtree limits names of its own kind only: a CA for `example.com` could still sign for every IP
    /// address. So the kinds that are not listed are excluded as a whole, as BR 7.1.2.10.8 has it.
    /// - Throws: `name.invalid` for an item that is neither.
    package init(permitted: [String]) throws(CertsError) {
        if permitted.isEmpty { return }
        for item in permitted {
            if let block = AddressBlock(item) {
                permittedBlocks.append(block)
            } else if item.contains("/") {
                throw CertsError(
                    .nameInvalid, "'\(item)' is not an address block",
                    hint: "write it like 10.0.0.0/8 or fd00::/8, with zeros after the prefix")
            } else {
                permittedDomains.append(try DNSName.canonical(item.hasPrefix(".") ? String(item.dropFirst()) : item))
            }
        }
        if permittedDomains.contains(where: { $0.hasPrefix("*") }) {
            throw CertsError(
                .nameInvalid, "a permitted domain has a wildcard",
                hint: "write example.com: it covers all names under it")
        }
        if permittedDomains.isEmpty { excludedDomains = [""] }
        if !permittedBlocks.contains(where: { !$0.isIPv6 }) { excludedBlocks.append(.allIPv4) }
        if !permittedBlocks.contains(where: \.isIPv6) { excludedBlocks.append(.allIPv6) }
    }

    /// An IPv4 or IPv6 network.
    package struct AddressBlock: Sendable, Hashable {
        let address: [UInt8]
        let mask: [UInt8]
        var isIPv6: Bool { address.count == 16 }

        static let allIPv4 = AddressBlock(address: .init(repeating: 0, count: 4), mask: .init(repeating: 0, count: 4))
        static let allIPv6 = AddressBlock(address: .init(repeating: 0, count: 16), mask: .init(repeating: 0, count: 16))

        private init(address: [UInt8], mask: [UInt8]) {
            self.address = address
            self.mask = mask
        }

        /// Parses CIDR notation; `nil` also if a bit after the prefix is set.
        package init?(_ text: String) {
            let parts = text.split(separator: "/", omittingEmptySubsequences: false)
            guard parts.count == 2, let address = IPAddress(String(parts[0])), parts[1].utf8.count <= 3,
                parts[1].utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }),
                let length = Int(parts[1]), length <= address.bytes.count * 8
            else { return nil }
            let mask = address.bytes.indices.map { index in
                UInt8(truncatingIfNeeded: 0xff00 >> min(8, max(0, length - index * 8)))
            }
            guard zip(address.bytes, mask).allSatisfy({ $0 & ~$1 == 0 }) else { return nil }
            self.init(address: address.bytes, mask: mask)
        }
    }

    /// Adds the extension, critical as RFC 5280 requires.
    func add(to list: borrowing ExtensionList) throws(CertsError) {
        guard let constraints = NAME_CONSTRAINTS_new() else { throw .openSSL(.openSSL, "no memory") }
        defer { NAME_CONSTRAINTS_free(constraints) }
        if !permittedDomains.isEmpty || !permittedBlocks.isEmpty {
            constraints.pointee.permittedSubtrees = try Self.subtrees(permittedDomains, permittedBlocks)
        }
        if !excludedDomains.isEmpty || !excludedBlocks.isEmpty {
            constraints.pointee.excludedSubtrees = try Self.subtrees(excludedDomains, excludedBlocks)
        }
        try list.add(NID_name_constraints, critical: true, constraints)
    }

    /// A `STACK_OF(GENERAL_SUBTREE) *`, to be owned by a `NAME_CONSTRAINTS`.
    private static func subtrees(_ domains: [String], _ blocks: [AddressBlock]) throws(CertsError) -> OpaquePointer {
        guard let stack = certs_sk_GENERAL_SUBTREE_new_null() else { throw .openSSL(.openSSL, "no memory") }
        let bases = domains.map { (GEN_DNS, Array($0.utf8)) } + blocks.map { (GEN_IPADD, $0.address + $0.mask) }
        for (tag, bytes) in bases {
            let name = try GeneralNames.make(tag, bytes)
            guard let subtree = GENERAL_SUBTREE_new() else { throw .openSSL(.openSSL, "no memory") }
            GENERAL_NAME_free(subtree.pointee.base)
            subtree.pointee.base = name
            guard certs_sk_GENERAL_SUBTREE_push(stack, subtree) > 0 else { throw .openSSL(.openSSL, "no memory") }
        }
        return stack
    }

    /// Whether the name constraints in `authority` allow every name of `leaf`; OpenSSL's words if not.
    static func refusal(of leaf: Certificate, by authority: Certificate) throws(CertsError) -> String? {
        let issuer = try authority.decoded()
        guard let found = X509_get_ext_d2i(issuer.pointer, NID_name_constraints, nil, nil) else { return nil }
        let constraints = found.assumingMemoryBound(to: NAME_CONSTRAINTS.self)
        defer { NAME_CONSTRAINTS_free(constraints) }
        let decoded = try leaf.decoded()
        // Fills the cached alternative names, which are all that the next call looks at.
        try CertsError.check(X509_check_purpose(decoded.pointer, -1, 0), "cannot read the extensions of a certificate")
        let result = NAME_CONSTRAINTS_check(decoded.pointer, constraints)
        if result == X509_V_OK { return nil }
        return X509_verify_cert_error_string(Int(result)).map { String(cString: $0) } ?? "not permitted"
    }

    /// Whether `authority` has name constraints at all.
    static func exist(in authority: Certificate) -> Bool {
        authority.withX509 { X509_get_ext_by_NID($0, NID_name_constraints, -1) >= 0 }
    }
}
