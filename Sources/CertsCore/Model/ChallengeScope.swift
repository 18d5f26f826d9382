/// For which identifiers a declaration of challenges is meant.
package struct ChallengeScope: Sendable, Hashable {
    package let type: ChallengeType
    /// As in ``ChallengeDeclaration/names``.
    package let names: [String]

    package init(_ type: ChallengeType, names: [String]) {
        self.type = type
        self.names = names.map { $0.lowercased() }
    }

    package func includes(_ identifier: AlternativeName, isWildcard: Bool) -> Bool {
        guard type.canProve(identifier, isWildcard: isWildcard) else { return false }
        return names.isEmpty || names.contains { Self.pattern($0, covers: identifier, isWildcard: isWildcard) }
    }

    /// - Parameter name: as it stands in a certificate: with `*.` where a wildcard is meant.
    package func includes(_ name: AlternativeName) -> Bool {
        guard case .dns(let host) = name, host.hasPrefix("*.") else { return includes(name, isWildcard: false) }
        return includes(.dns(String(host.dropFirst(2))), isWildcard: true)
    }

    private static func pattern(_ pattern: String, covers identifier: AlternativeName, isWildcard: Bool) -> Bool {
        switch identifier {
        case .dns(let name):
            let isForWildcards = pattern.hasPrefix("*.")
            if isForWildcards, !isWildcard { return false }
            let domain = isForWildcards ? String(pattern.dropFirst(2)) : pattern
            let name = name.lowercased()
            return name == domain || name.hasSuffix("." + domain)
        case .ip(let address): return IPAddress(pattern) == address
        case .email, .uri: return false
        }
    }
}

extension ChallengeDeclaration {
    /// Whether it can be used for a name of a certificate.
    package func isMeant(for name: AlternativeName) -> Bool { ChallengeScope(type, names: names).includes(name) }
}

extension ACMEDeclaration {
    /// The types of the challenges that are meant for a name of a certificate.
    package func challengeTypes(for name: AlternativeName) -> Set<ChallengeType> {
        Set(challenges.filter { $0.isMeant(for: name) }.map(\.type))
    }
}

extension ChallengeType {
    /// Whether the answer is a record in the DNS.
    package var isInDNS: Bool {
        switch self {
        case .http01, .tlsALPN01: false
        case .dns01, .dnsAccount01, .dnsPersist01: true
        }
    }

    /// Whether a CA can prove the identifier in this way at all: wildcards in the DNS only (RFC 8555 §7.1.3, RFC 8737 §3),
    /// addresses not in the DNS (RFC 8738 §7).
    func canProve(_ identifier: AlternativeName, isWildcard: Bool) -> Bool {
        switch identifier {
        case .dns: isInDNS || !isWildcard
        case .ip: !isInDNS && !isWildcard
        case .email, .uri: false
        }
    }
}
