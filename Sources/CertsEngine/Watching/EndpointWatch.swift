package import CertsCore
package import CertsCrypto
package import Foundation

/// Looks at the endpoints of others by one handshake each.
package struct EndpointWatch: Sendable {
    let prober: any Prober
    let inventory: any WatchInventory
    /// The trust anchors of the host; empty: whether a chain is trusted is not known.
    let anchors: [Certificate]
    private let judgements = ChainJudgements()

    /// How many handshakes are under way at the same time, and how long one may take.
    static let width = 32
    static let deadline = Duration.seconds(10)

    package init(prober: any Prober, inventory: any WatchInventory, anchors: [Certificate]) {
        self.prober = prober
        self.inventory = inventory
        self.anchors = anchors
    }

    /// Looks at all of them and records what was seen. An endpoint that fails keeps the dates that were last seen.
    ///
    /// - Returns: whether at least one of them answered.
    @discardableResult
    package func look(at endpoints: [WatchedEndpoint], now: @escaping @Sendable () -> Date) async throws -> Bool {
        guard !endpoints.isEmpty else { return true }
        let before = Dictionary(
            try await inventory.sightings().map { ($0.label, $0) }, uniquingKeysWith: { first, _ in first })
        let seen = await concurrently(endpoints, width: Self.width) { endpoint in
            var sighting = await look(at: endpoint, now())
            if let known = before[endpoint.label] { sighting.facts.keep(known.facts) }
            return sighting
        }
        judgements.endLook()
        let errors = Dictionary(seen.compactMap(\.facts.problem).map { ($0, 1) }, uniquingKeysWith: +)
        let isUp = seen.contains { $0.facts.problem == nil }
        try await inventory.save(
            seen,
            source: WatchSourceRecord(
                name: WatchDeclaration.endpointSource, isUp: isUp, problem: isUp ? nil : seen.first?.facts.problem,
                lookedAt: now()), errors: errors)
        return isUp
    }

    func look(at watched: WatchedEndpoint, _ now: Date) async -> EndpointSighting {
        let endpoint = watched.endpoint
        var sighting = EndpointSighting(
            label: watched.label, address: endpoint.address, facts: WatchedFacts(), observedAt: now)
        do {
            var asked = endpoint
            if asked.serverName == nil, IPAddress(endpoint.host) == nil { asked.serverName = endpoint.host }
            let served = try await prober.probe(asked, as: ClientProfile(), deadline: Self.deadline)
            let host = asked.serverName ?? endpoint.host
            let key = ChainJudgements.Key(served.chainDER, host: host)
            if served.staple == nil, let known = judgements.facts(key, at: now) {
                (sighting.facts, sighting.stapled) = (known, StapledStatus.none)
                return sighting
            }
            // Signatures and names: a few milliseconds of the processor, away from the cooperative pool.
            let judged = try await BlockingPool.shared.run { judge(served, key, host, now) }
            (sighting.facts, sighting.stapled, sighting.stapleNextUpdate) = (judged.facts, judged.stapled, judged.until)
        } catch {
            sighting.facts.problem = Self.reason(CertsError.wrapping(error))
        }
        return sighting
    }

    private func judge(
        _ served: ServedCertificate, _ key: ChainJudgements.Key, _ host: String, _ now: Date
    ) -> (facts: WatchedFacts, stapled: StapledStatus?, until: Date?) {
        guard let chain = try? served.chainDER.map({ try Certificate(der: $0) }), let leaf = chain.first else {
            return (WatchedFacts(problem: .malformed), nil, nil)
        }
        let facts = judgements.facts(key, at: now) ?? facts(of: chain, key, host, now)
        guard let der = served.staple else { return (facts, StapledStatus.none, nil) }
        guard let issuer = chain.dropFirst().first,
            let staple = try? OCSPStaple(der: der, leaf: leaf, issuer: issuer, now: now)
        else { return (facts, .unknown, nil) }
        let status: StapledStatus =
            switch staple.status {
            case .good: .good
            case .revoked: .revoked
            case .unknown: .unknown
            }
        return (facts, status, staple.nextUpdate)
    }

    private func facts(
        of chain: [Certificate], _ key: ChainJudgements.Key, _ host: String, _ now: Date
    ) -> WatchedFacts {
        var (facts, records) = (CertificateFile.facts(of: chain.map(\.record)), chain.map(\.record))
        if let leaf = chain.first, !anchors.isEmpty, facts.isChainValid == true {
            let verifier = ChainVerifier(
                roots: anchors, untrusted: Array(chain.dropFirst()), host: host, purpose: .server, time: now)
            let verdict = verifier.verify(leaf)
            facts.isChainValid = verdict.valid
            records += verdict.chain.map(\.record)
        }
        judgements.keep(facts, key, of: records, at: now)
        return facts
    }

    private static func reason(_ error: CertsError) -> WatchReason {
        switch error.code {
        case .probeTimeout: .timeout
        case .probeUnreachable: .unreachable
        default: .handshakeFailed
        }
    }
}
