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
        struct Key: Hashable {
            let name: String
            let kind: Substring
        }
        var stores: [Key: [String]] = [:]
        for claimant in claimants {
            let kind = (claimant.algorithm ?? "")[...].prefix { $0.isLetter }
            for name in names(of: claimant) {
                let key = Key(name: name, kind: kind)
                // One certificate may stand in two lines, with different options.
                if stores[key]?.contains(claimant.store) != true { stores[key, default: []].append(claimant.store) }
            }
        }
        return stores.filter { $0.value.count > 1 }.map { Clash(name: $0.key.name, stores: $0.value) }
            .sorted { ($0.name, $0.stores[0]) < ($1.name, $1.stores[0]) }
    }

    private static func names(of claimant: Claimant) -> Set<String> {
        // A filter with `!` only takes away, but it is a filter: the certificate's own names are not served.
        let names = claimant.filters.isEmpty ? claimant.names : claimant.filters.filter { !$0.hasPrefix("!") }
        return Set(names.map { $0.lowercased() })
    }
}
