package import CertsCore
package import CertsCrypto
package import Foundation
import Synchronization

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
        let found = Found(count: endpoints.count)
        let asked = endpoints.map(Self.asked)
        await prober.look(at: asked, width: Self.width, deadline: Self.deadline) { index, sent in
            var sighting = sighting(of: endpoints[index], asked[index], sent, now())
            if let known = before[sighting.label] { sighting.facts.keep(known.facts) }
            found.set(sighting, at: index)
        }
        let seen = found.all
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

    /// What was found, in the order of the endpoints.
    private final class Found: Sendable {
        private let sightings: Mutex<[EndpointSighting?]>

        init(count: Int) { sightings = Mutex(Array(repeating: nil, count: count)) }

        func set(_ sighting: EndpointSighting, at index: Int) { sightings.withLock { $0[index] = sighting } }

        var all: [EndpointSighting] { sightings.withLock { $0.compactMap(\.self) } }
    }

    /// With the server name to send.
    private static func asked(_ watched: WatchedEndpoint) -> Endpoint {
        var endpoint = watched.endpoint
        if endpoint.serverName == nil, IPAddress(endpoint.host) == nil { endpoint.serverName = endpoint.host }
        return endpoint
    }

    private func sighting(
        of watched: WatchedEndpoint, _ asked: Endpoint, _ sent: Result<SentChain, CertsError>, _ now: Date
    ) -> EndpointSighting {
        var sighting = EndpointSighting(
            label: watched.label, address: watched.endpoint.address, facts: WatchedFacts(), observedAt: now)
        switch sent {
        case .success(let sent):
            let host = asked.serverName ?? asked.host
            let key = ChainJudgements.Key(sent.certificates, host: host)
            if sent.staple == nil, let known = judgements.facts(key, at: now) {
                (sighting.facts, sighting.stapled) = (known, StapledStatus.none)
            } else {
                let judged = judge(sent, key, host, now)
                (sighting.facts, sighting.stapled, sighting.stapleNextUpdate) =
                    (judged.facts, judged.stapled, judged.until)
            }
        case .failure(let error): sighting.facts.problem = Self.reason(error)
        }
        return sighting
    }

    private func judge(
        _ sent: SentChain, _ key: ChainJudgements.Key, _ host: String, _ now: Date
    ) -> (facts: WatchedFacts, stapled: StapledStatus?, until: Date?) {
        guard let chain = try? sent.certificates.map({ try Certificate(der: $0) }), let leaf = chain.first else {
            return (WatchedFacts(problem: .malformed), nil, nil)
        }
        let facts = judgements.facts(key, at: now) ?? facts(of: chain, key, host, now)
        guard let der = sent.staple else { return (facts, StapledStatus.none, nil) }
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
