package import CertsCore

extension DNSClient {
    /// The zone that holds `name`: its nearest ancestor with an SOA record (RFC 1035 §3.3.13).
    ///
    /// - Throws: `dns.failed`, also when no zone is found.
    package func zone(of name: String, recursive: Bool = true) async throws(CertsError) -> String {
        for candidate in DomainText.ancestry(of: DomainText.canonical(name)) where !candidate.isEmpty {
            let answer = try await ask(DNSQuestion(candidate, .soa), recursive: recursive)
            if !answer.records(.soa, at: candidate).isEmpty { return candidate }
            // What follows an alias speaks of another name.
            if answer.alias(of: candidate) != nil { continue }
            // RFC 2308 §2: the SOA of the zone that says no.
            let zones = answer.authority.filter { $0.type == .soa && DomainText.isWithin(candidate, $0.name) }
            if let zone = zones.first, !zone.name.isEmpty { return zone.name }
        }
        throw CertsError(
            .dnsFailed, "the DNS server \(server) knows no zone that \(TerminalText.sanitized(name, limit: 300)) is in",
            subject: name, hint: "name the zone, or ask a server that knows it", retry: .later)
    }
}

/// A server that holds a zone.
package struct AuthoritativeServer: Sendable, Hashable, CustomStringConvertible {
    package var name: String
    package var address: SocketAddress

    package var description: String { "\(name) (\(address))" }
}

extension Resolver {
    /// How many servers of a zone are asked: more than any sensible zone has.
    private static let mostServers = 32

    /// Every address of every server of the zone that holds `name`.
    ///
    /// - Throws: `dns.failed` if there is none.
    package func authoritativeServers(of name: String) async throws(CertsError) -> [AuthoritativeServer] {
        let zone = try await client.zone(of: name)
        let names = try await find(zone, .ns).records.compactMap { record -> String? in
            guard case .nameServer(let server) = record.value else { return nil }
            return server
        }
        let resolver = self
        let found = await concurrently(Array(Set(names)).sorted().prefix(Self.mostServers).map { $0 }, width: 8) {
            server in
            let addresses = (try? await resolver.addresses(of: server)) ?? []
            return addresses.map {
                AuthoritativeServer(
                    name: server, address: SocketAddress(address: $0, port: resolver.authoritativePort))
            }
        }
        let servers = found.flatMap { $0 }.prefix(Self.mostServers)
        guard !servers.isEmpty else {
            throw CertsError(
                .dnsFailed,
                "no address is known of the servers of the zone \(TerminalText.sanitized(zone, limit: 300))",
                subject: zone, hint: "correct the NS records of the zone, or name the servers (propagation.servers)",
                retry: .later)
        }
        return Array(servers)
    }

    /// The CAA records that count for `domain` (RFC 8659 §3): those of the nearest name, from itself upwards, that has
    /// any. An alias is followed at each of them, its target's parents are not climbed.
    ///
    /// - Parameter domain: without `*.`.
    /// - Returns: the name at which they were found; `nil` if there are none.
    /// - Throws: `dns.failed` if a name could not be asked: a CA must not issue then.
    package func relevantCAA(for domain: String) async throws(CertsError) -> (name: String, records: [CAARecord])? {
        for name in DomainText.ancestry(of: DomainText.canonical(domain)) where !name.isEmpty {
            let records = try await find(name, .caa).records.compactMap { record -> CAARecord? in
                guard case .caa(let caa) = record.value else { return nil }
                return caa
            }
            if !records.isEmpty { return (name, records) }
        }
        return nil
    }
}
