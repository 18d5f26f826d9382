import CertsCore
import CertsDNS
import Foundation
import Logging

/// Shows proofs as TXT records: `dns-01` (RFC 8555 §8.4), `dns-account-01` and `dns-persist-01`.
struct DNSSolver: ChallengeSolver {
    let type: ChallengeType
    let writer: any DNSRecordWriter
    let propagation: Propagation
    let scope: ChallengeScope
    let logger: Logger
    /// Where authoritative servers listen.
    var authoritativePort = 53

    /// - Parameters:
    ///   - type: one of the three.
    ///   - names: `example.com` means it and all below it, `*.example.com` its wildcard only; empty: all names.
    init(
        type: ChallengeType, provider: DNSProvider, propagation: Propagation, names: [String], logger: Logger
    ) {
        self.init(type: type, writer: provider.writer, propagation: propagation, names: names, logger: logger)
    }

    init(
        type: ChallengeType, writer: any DNSRecordWriter, propagation: Propagation, names: [String], logger: Logger
    ) {
        self.type = type
        self.writer = writer
        self.propagation = propagation
        scope = ChallengeScope(type, names: names)
        self.logger = logger
    }

    func isMeant(for identifier: AlternativeName, isWildcard: Bool) -> Bool {
        scope.includes(identifier, isWildcard: isWildcard)
    }

    func located(_ proof: ChallengeProof) async throws -> ChallengeProof {
        var located = proof
        located.recordName = try await place(of: proof).name
        return located
    }

    /// Writes the record where the name's aliases lead to. One of `dns-persist-01` that is there already stays as it is.
    func present(_ proof: ChallengeProof) async throws {
        let place = try await place(of: proof)
        if type == .dnsPersist01, try await isThere(proof, place) { return }
        try await writer.add(place.plan.value, at: place.name)
        let name = TerminalText.sanitized(place.name, limit: 300)
        logger.debug("TXT record written", metadata: ["name": "\(name)", "type": "\(type.rawValue)"])
    }

    func check(_ proof: ChallengeProof) async throws {
        let place = try await place(of: proof)
        let servers = try await servers(of: place.name)
        let watch = PropagationWatch(name: place.name, servers: servers, propagation: propagation)
        try await watch.wait { texts in Self.isShown(proof, place.plan, texts) }
    }

    /// Removes the one value; a record of `dns-persist-01` is meant to stay.
    func remove(_ proof: ChallengeProof) async throws {
        guard type != .dnsPersist01 else { return }
        let place = try await place(of: proof)
        try await writer.remove(place.plan.value, at: place.name)
    }

    private struct Place {
        var plan: DNSRecordPlan
        /// After all aliases.
        var name: String
    }

    private func resolver() throws(CertsError) -> Resolver {
        var resolver = try Resolver(server: propagation.resolver)
        resolver.authoritativePort = authoritativePort
        return resolver
    }

    /// The CA follows CNAME records (RFC 8555 §8.4), so the record belongs where they lead to.
    private func place(of proof: ChallengeProof) async throws(CertsError) -> Place {
        let plan = try DNSRecordPlan(proof)
        if let known = proof.recordName { return Place(plan: plan, name: known) }
        return Place(plan: plan, name: try await resolver().find(plan.name, .txt).canonicalName)
    }

    private func isThere(_ proof: ChallengeProof, _ place: Place) async throws(CertsError) -> Bool {
        let texts = try await resolver().find(place.name, .txt).records.compactMap(\.text)
        return Self.isShown(proof, place.plan, texts)
    }

    private static func isShown(_ proof: ChallengeProof, _ plan: DNSRecordPlan, _ texts: [String]) -> Bool {
        guard proof.type == .dnsPersist01 else { return texts.contains(plan.value) }
        return texts.contains { PersistentRecord.isSufficient($0, for: proof, now: Date()) }
    }

    private func servers(of name: String) async throws(CertsError) -> [PropagationWatch.Server] {
        guard propagation.servers.isEmpty else {
            // They may be resolvers, which do not know it themselves.
            return propagation.servers.map { .init(name: "\($0)", address: $0, isAuthoritative: false) }
        }
        return try await resolver().authoritativeServers(of: name).map {
            .init(name: $0.name, address: $0.address, isAuthoritative: true)
        }
    }
}
