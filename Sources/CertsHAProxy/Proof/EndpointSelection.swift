import CertsCore

extension NodeDeclaration {
    /// The handshakes that show what is served for a certificate with these names; each endpoint in the result carries
    /// the server name to send, or `nil` for none.
    ///
    /// An endpoint without a server name is asked once per name; one with a server name only if a name covers it.
    func probes(for names: [AlternativeName]) -> [Endpoint] {
        var seen = Set<Endpoint>()
        return endpoints.flatMap { endpoint in
            endpoint.serverName == nil
                ? Self.probes(of: endpoint, for: names) : Self.covers(names, endpoint) ? [endpoint] : []
        }.filter { seen.insert($0).inserted }
    }

    /// - Throws: `probe.failed` when no endpoint concerns the certificate: nothing could be proved.
    func requiredProbes(for names: [AlternativeName], certificate: Name) throws(CertsError) -> [Endpoint] {
        let probes = probes(for: names)
        guard probes.isEmpty else { return probes }
        throw CertsError(
            .probeFailed, "no endpoint of the target '\(id)' serves a name of the certificate '\(certificate)'",
            subject: id.description,
            hint:
                "list an endpoint of this target with a `serverName` that the certificate has, or without `serverName`")
    }

    static func probes(of endpoint: Endpoint, for names: [AlternativeName]) -> [Endpoint] {
        names.compactMap { name in
            switch name {
            case .dns(let pattern):
                // Any label will do for a wildcard; this one shows in HAProxy's log where it comes from.
                let host = pattern.hasPrefix("*.") ? "certs-probe" + pattern.dropFirst() : pattern
                return Endpoint(host: endpoint.host, port: endpoint.port, serverName: host)
            // An address is never sent as a server name (RFC 6066 §3).
            case .ip: return endpoint
            case .email, .uri: return nil
            }
        }
    }

    private static func covers(_ names: [AlternativeName], _ endpoint: Endpoint) -> Bool {
        guard let wanted = endpoint.serverName else { return true }
        let address = IPAddress(wanted)
        return names.contains { name in
            switch name {
            case .dns(let pattern): DNSName.covers(pattern, host: wanted.lowercased())
            case .ip(let ip): ip == address
            case .email, .uri: false
            }
        }
    }
}
