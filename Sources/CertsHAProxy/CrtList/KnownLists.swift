import CertsCore
import Synchronization

/// What the certificates in the lists of one HAProxy claim: a run over a thousand of them must not ask for each of the
/// thousand at every rotation.
///
/// It counts for one process of HAProxy and for half a minute. Swaps of our own are entered, what a list has new is asked
/// for; what another client swaps meanwhile is not noticed here, only by the handshakes of the proof.
final class KnownLists: Sendable {
    /// What decides for which names HAProxy serves a certificate, where no filter does.
    struct Certificate: Sendable, Equatable {
        var names: [String]
        /// As `show ssl cert` prints it.
        var algorithm: String?
    }

    private struct Known {
        let pid: Int
        let since: ContinuousClock.Instant
        var reply = ""
        var entries: [RuntimeReply.CrtListEntry] = []
        var certificates: [String: Certificate] = [:]
        /// Made of the two above when it is asked for.
        var stores: [DuplicateNames.Claim: [String]]?
    }

    /// Of a longer list only the first lines are looked at.
    static let limit = 1000

    private let lifetime: Duration
    private let lists = Mutex<[StoreName: Known]>([:])

    init(lifetime: Duration = .seconds(30)) { self.lifetime = lifetime }

    /// Takes note of how a list is now.
    ///
    /// - Parameter reply: of `show ssl crt-list -n LIST`.
    /// - Returns: the certificates in it of which nothing is known.
    func note(_ list: StoreName, _ reply: String, pid: Int) throws(CertsError) -> [String] {
        let now = ContinuousClock.now
        return try lists.withLock { (lists) throws(CertsError) -> [String] in
            var known = lists[list] ?? Known(pid: pid, since: now)
            if known.pid != pid || now - known.since >= lifetime { known = Known(pid: pid, since: now) }
            if known.reply != reply {
                known.entries = try RuntimeReply.entries(reply, of: list)
                known.reply = reply
                known.stores = nil
                let names = Set(known.entries.map(\.name))
                known.certificates = known.certificates.filter { names.contains($0.key) }
            }
            lists[list] = known
            var seen = Set(known.certificates.keys)
            return known.entries.prefix(Self.limit).map(\.name).filter { seen.insert($0).inserted }
        }
    }

    func has(_ store: String, in list: StoreName) -> Bool {
        lists.withLock { $0[list]?.entries.contains { $0.name == store } ?? false }
    }

    func learn(_ store: String, _ certificate: Certificate, in list: StoreName) {
        lists.withLock { lists in
            guard lists[list] != nil, lists[list]?.certificates[store] != certificate else { return }
            lists[list]?.certificates[store] = certificate
            lists[list]?.stores = nil
        }
    }

    /// A certificate of which something may be known holds another one now.
    func swapped(_ store: StoreName, _ certificate: Certificate) {
        for list in lists.withLock({ $0.filter { $0.value.certificates[store.rawValue] != nil }.map(\.key) }) {
            learn(store.rawValue, certificate, in: list)
        }
    }

    /// The names that others in the list have too.
    ///
    /// - Parameter candidate: as it is to be; where the list has it already, the filters of its lines count.
    func clashes(of candidate: DuplicateNames.Claimant, in list: StoreName) -> [DuplicateNames.Clash] {
        lists.withLock { lists in
            guard let known = lists[list] else { return [] }
            let stores = known.stores ?? DuplicateNames.stores(by: Self.claimants(known))
            lists[list]?.stores = stores
            let lines = known.entries.filter { $0.name == candidate.store }.map { line in
                var claimant = candidate
                claimant.filters = line.filters
                return claimant
            }
            let claims = (lines.isEmpty ? [candidate] : lines).map(DuplicateNames.claims).reduce(into: Set()) {
                $0.formUnion($1)
            }
            return claims.compactMap { claim in
                let others = stores[claim, default: []].filter { $0 != candidate.store }
                return others.isEmpty
                    ? nil : DuplicateNames.Clash(name: claim.name, stores: others + [candidate.store])
            }.sorted { $0.name < $1.name }
        }
    }

    private static func claimants(_ known: Known) -> [DuplicateNames.Claimant] {
        known.entries.prefix(limit).compactMap { entry in
            known.certificates[entry.name].map {
                .init(store: entry.name, names: $0.names, filters: entry.filters, algorithm: $0.algorithm)
            }
        }
    }
}

extension KnownLists.Certificate {
    init(_ details: RuntimeReply.StoredCertificateDetails) {
        self.init(names: details.names, algorithm: details.algorithm)
    }

    /// As HAProxy will tell it once it holds the leaf.
    init(_ leaf: CertificateRecord) {
        let commonName = leaf.subjectCommonName.map { [$0] } ?? []
        self.init(
            names: leaf.dnsNames + commonName.filter { !leaf.dnsNames.contains($0) },
            algorithm: KeyType.of(record: leaf)?.nameInHAProxy)
    }
}

extension KeyType {
    /// What the algorithm in `show ssl cert` begins with; `nil`: HAProxy prints none.
    var nameInHAProxy: String? {
        switch self {
        case .rsa: "RSA"
        case .ecdsa: "EC"
        case .ed25519: nil
        }
    }
}

extension CrtListSession {
    /// The names that other certificates have too, in every list that has the candidate.
    ///
    /// - Parameter list: the one that it is to be added to; `nil`: it is in some already.
    func clashes(
        of candidate: DuplicateNames.Claimant, addedTo list: StoreName? = nil, known: KnownLists
    ) async throws(CertsError) -> [DuplicateNames.Clash] {
        let pid = try await session.process().pid
        var holders: [StoreName] = []
        if let list { holders = [list] } else { holders = try await listNames() }
        var clashes: [DuplicateNames.Clash] = []
        for holder in holders {
            let reply = try await session.connection.send(.entries(of: holder))
            let unknown = try known.note(holder, reply, pid: pid)
            guard list != nil || known.has(candidate.store, in: holder) else { continue }
            for text in unknown {
                let details: RuntimeReply.StoredCertificateDetails?
                if let name = try? StoreName(text) { details = try await glance(name) } else { details = nil }
                known.learn(text, details.map { .init($0) } ?? .init(names: []), in: holder)
            }
            clashes += known.clashes(of: candidate, in: holder)
        }
        return clashes
    }
}
