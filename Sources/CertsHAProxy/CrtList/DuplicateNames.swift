import CertsCore

/// The names that more than one certificate of one `bind` claims; pure.
///
/// HAProxy serves one of them, and which one changes with every update at run time: the one that was updated last comes
/// behind the others, and comes in front again with the next reload.
enum DuplicateNames {
    /// One line of a list, or one file of a directory.
    struct Claimant: Sendable, Equatable {
        /// As `show ssl cert` names it.
        var store: String
        /// Of the certificate.
        var names: [String]
        /// Of the line; where there are any, the certificate's own names do not count.
        var filters: [String] = []
        /// As `show ssl cert` prints it (`EC256`): HAProxy keeps one certificate per name for each kind of key.
        var algorithm: String?
    }

    /// A name that more than one certificate claims.
    struct Clash: Sendable, Equatable {
        /// Lower case. A wildcard is a name of its own: an exact name always wins over it.
        var name: String
        /// In the order of the list.
        var stores: [String]
    }

    /// - Returns: sorted by name.
    static func clashes(among claimants: [Claimant]) -> [Clash] {
        stores(by: claimants).filter { $0.value.count > 1 }.map { Clash(name: $0.key.name, stores: $0.value) }
            .sorted { ($0.name, $0.stores[0]) < ($1.name, $1.stores[0]) }
    }

    /// A name for which HAProxy keeps one certificate.
    struct Claim: Hashable, Sendable {
        let name: String
        /// `EC`, `RSA`; empty where it is not known.
        let kind: String
    }

    /// The stores that make each claim, in the order of the list.
    static func stores(by claimants: [Claimant]) -> [Claim: [String]] {
        var stores: [Claim: [String]] = [:]
        for claimant in claimants {
            for claim in claims(of: claimant) {
                // One certificate may stand in two lines, with different options.
                if stores[claim]?.contains(claimant.store) != true {
                    stores[claim, default: []].append(claimant.store)
                }
            }
        }
        return stores
    }

    static func claims(of claimant: Claimant) -> Set<Claim> {
        let kind = String((claimant.algorithm ?? "").prefix { $0.isLetter })
        // A filter with `!` only takes away, but it is a filter: the certificate's own names are not served.
        let names = claimant.filters.isEmpty ? claimant.names : claimant.filters.filter { !$0.hasPrefix("!") }
        return Set(names.map { Claim(name: $0.lowercased(), kind: kind) })
    }
}
