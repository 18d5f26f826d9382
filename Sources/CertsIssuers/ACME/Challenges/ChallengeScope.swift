import CertsCore

/// For which identifiers a declaration of challenges is meant.
struct ChallengeScope: Sendable, Hashable {
    let type: ChallengeType
    /// As in ``ChallengeDeclaration/names``.
    let names: [String]

    init(_ type: ChallengeType, names: [String]) {
        self.type = type
        self.names = names.map { $0.lowercased() }
    }

    func includes(_ identifier: AlternativeName, isWildcard: Bool) -> Bool {
        guard type.canProve(identifier, isWildcard: isWildcard) else { return false }
        return names.isEmpty || names.contains { Self.pattern($0, covers: identifier, isWildcard: isWildcard) }
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

extension ChallengeType {
    /// Whether a CA can prove the identifier in this way at all: wildcards in the DNS only (RFC 8555 §7.1.3, RFC 8737 §3),
    /// addresses not in the DNS (RFC 8738 §7).
    func canProve(_ identifier: AlternativeName, isWildcard: Bool) -> Bool {
        let isInDNS =
            switch self {
            case .http01, .tlsALPN01: false
            case .dns01, .dnsAccount01, .dnsPersist01: true
            }
        return switch identifier {
        case .dns: isInDNS || !isWildcard
        case .ip: !isInDNS && !isWildcard
        case .email, .uri: false
        }
    }
}
