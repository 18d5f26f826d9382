import CertsCore

/// The handshakes that prove a deployment on one node: every name of the certificate with each TLS version and key type,
/// and what must not change: no name, an unknown name, names of other certificates.
enum ProofMatrix {
    /// A name that nobody has (RFC 6761 §6.4): shows which certificate a bind falls back to.
    static let unknownName = "certs-probe.invalid"

    /// - Parameters:
    ///   - types: the key types of the certificate's members, where there are several; otherwise empty.
    ///   - neighbours: names of other certificates on the same node.
    static func questions(
        _ node: NodeDeclaration, names: [AlternativeName], types: [KeyType], neighbours: [AlternativeName]
    ) -> [Sighting.Question] {
        let own = node.probes(for: names)
        let profiles = clients(types)
        var result = own.flatMap { endpoint in profiles.map { Sighting.Question(endpoint, $0) } }
        var seen = Set(own)
        for endpoint in bystanders(node, names: names, neighbours: neighbours) where seen.insert(endpoint).inserted {
            result.append(Sighting.Question(endpoint, about: .neighbour))
        }
        return result
    }

    private static func clients(_ types: [KeyType]) -> [ClientProfile] {
        let keyTypes: [KeyType?] = types.isEmpty ? [nil] : types
        let strict = keyTypes.flatMap { type in
            [ClientProfile.Version.tls12, .tls13].map { ClientProfile(version: $0, keyType: type) }
        }
        // With several types a client that takes any must see one of them.
        return strict + (types.isEmpty ? [] : [ClientProfile()])
    }

    /// Every address, asked without a name, for an unknown one, for other names of this certificate where an endpoint
    /// names just one, and for those of other certificates.
    private static func bystanders(
        _ node: NodeDeclaration, names: [AlternativeName], neighbours: [AlternativeName]
    ) -> [Endpoint] {
        var result: [Endpoint] = []
        for address in node.endpoints {
            let bare = Endpoint(host: address.host, port: address.port)
            result.append(bare)
            let named = node.endpoints.compactMap(\.serverName).filter { name in
                !names.contains { $0.isDNS(covering: name) }
            }
            let others = NodeDeclaration.probes(of: bare, for: names + neighbours).compactMap(\.serverName)
            for name in named + others + [unknownName] {
                result.append(Endpoint(host: address.host, port: address.port, serverName: name))
            }
        }
        return result
    }
}

extension AlternativeName {
    fileprivate func isDNS(covering host: String) -> Bool {
        if case .dns(let pattern) = self { DNSName.covers(pattern, host: host) } else { false }
    }
}
