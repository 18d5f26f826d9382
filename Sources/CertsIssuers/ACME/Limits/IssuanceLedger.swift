package import CertsCore
import CertsCrypto
package import Foundation

/// What has been taken of the limits of one issuer: pure, and all that is in `limits.json`.
///
/// What a CA counts when it issues is taken here when the order is made: too early, never too late. Names are kept as
/// short digests, so that ten thousand of them stay a small file.
package struct IssuanceLedger: Sendable, Hashable, Codable {
    private var orders = TokenBucket()
    private var accounts = TokenBucket()
    private var domains: [String: TokenBucket] = [:]
    private var nameSets: [String: TokenBucket] = [:]
    private var failures: [String: TokenBucket] = [:]
    /// Until when the CA has told us to ask for nothing, and for nothing with exactly these names.
    private var blocked: TokenBucket?
    private var blockedSets: [String: TokenBucket] = [:]

    package init() {}

    /// Longer is believed of no CA, and of no clock.
    static let longestBlock: TimeInterval = 86400

    // MARK: Orders

    /// When an order can be made, and what it waits for; `nil`: now.
    package func wait(for demand: IssuanceDemand, _ limits: IssuanceLimits, now: Date) -> (
        until: Date, because: String
    )? {
        var latest: (until: Date, because: String)?
        func consider(_ until: Date, _ because: @autoclosure () -> String) {
            guard until > now, until > latest?.until ?? .distantPast else { return }
            latest = (until, because())
        }
        if let blocked { consider(blocked.fullAt, "the CA asked to wait") }
        if let set = blockedSets[Self.key(demand.names)] {
            consider(set.fullAt, "the CA asked to wait with these names")
        }
        for entry in entries(of: demand, limits) {
            consider(self[entry.place].nextToken(entry.rate), entry.text)
        }
        if let rate = limits.failedValidations {
            for name in demand.names {
                guard let bucket = failures[Self.key([name])] else { continue }
                consider(bucket.nextToken(rate), "\(rate) failed validations of \(name.value)")
            }
        }
        return latest
    }

    /// Takes what an order takes.
    /// - Parameter onlyEmpty: only where nothing is left: what a request that waits in a line takes from those behind it.
    package mutating func take(
        for demand: IssuanceDemand, _ limits: IssuanceLimits, now: Date, onlyEmpty: Bool = false
    ) {
        for entry in entries(of: demand, limits) {
            if onlyEmpty, self[entry.place].nextToken(entry.rate) <= now { continue }
            self[entry.place].take(entry.rate, at: now)
        }
    }

    // MARK: The others

    package func waitForAccount(_ limits: IssuanceLimits, now: Date) -> (until: Date, because: String)? {
        guard let rate = limits.newAccounts, case let next = accounts.nextToken(rate), next > now else { return nil }
        return (next, "\(rate) new accounts")
    }

    package mutating func takeAccount(_ limits: IssuanceLimits, now: Date) {
        if let rate = limits.newAccounts { accounts.take(rate, at: now) }
    }

    package func waitForValidation(of name: AlternativeName, _ limits: IssuanceLimits, now: Date) -> Date? {
        guard let rate = limits.failedValidations, let bucket = failures[Self.key([name])],
            case let next = bucket.nextToken(rate), next > now
        else { return nil }
        return next
    }

    package mutating func takeFailure(of name: AlternativeName, _ limits: IssuanceLimits, now: Date) {
        if let rate = limits.failedValidations { failures[Self.key([name]), default: .init()].take(rate, at: now) }
    }

    package mutating func block(until date: Date, names: [AlternativeName]?, now: Date) {
        let end = TokenBucket(fullAt: min(date, now.addingTimeInterval(Self.longestBlock)))
        if let names {
            blockedSets[Self.key(names)] = end
        } else {
            blocked = end
        }
    }

    /// How much is left of each limit: of those for the account, and of those that the given certificates meet.
    package func remaining(
        of certificates: [[AlternativeName]], _ limits: IssuanceLimits, now: Date
    ) -> [IssuanceLimiter.Remaining] {
        var result: [IssuanceLimiter.Remaining] = []
        func tell(_ limit: String, _ subject: String?, _ bucket: TokenBucket?, _ rate: IssuanceLimits.Rate?) {
            guard let rate else { return }
            let left = bucket?.left(rate, at: now) ?? rate.count
            result.append(.init(limit: limit, subject: subject, left: left, of: rate.count))
        }
        tell("new orders", nil, orders, limits.newOrders)
        tell("new accounts", nil, accounts, limits.newAccounts)
        for domain in Set(certificates.joined().compactMap(Self.domain)).sorted() {
            tell("certificates for a domain", domain, domains[Self.key(domain)], limits.perDomain)
        }
        for names in certificates {
            tell(
                "certificates for the same names", names.map(\.value).joined(separator: " "),
                nameSets[Self.key(names)], limits.perNameSet)
        }
        for name in Set(certificates.joined()).sorted() {
            guard let bucket = failures[Self.key([name])] else { continue }
            tell("failed validations", name.value, bucket, limits.failedValidations)
        }
        return result
    }

    // MARK: Upkeep

    /// Brings what was read in line with the limits and the clock, and forgets what is full again.
    package mutating func settle(_ limits: IssuanceLimits, now: Date) {
        func settled(_ buckets: [String: TokenBucket], _ rate: IssuanceLimits.Rate?) -> [String: TokenBucket] {
            guard let rate else { return [:] }
            return buckets.compactMapValues { bucket in
                var bucket = bucket
                bucket.clamp(rate, at: now)
                return bucket.isFull(at: now) ? nil : bucket
            }
        }
        domains = settled(domains, limits.perDomain)
        nameSets = settled(nameSets, limits.perNameSet)
        failures = settled(failures, limits.failedValidations)
        let block = IssuanceLimits.Rate(1, per: Self.longestBlock)
        blockedSets = settled(blockedSets, block)
        blocked?.clamp(block, at: now)
        if blocked?.isFull(at: now) == true { blocked = nil }
        if let rate = limits.newOrders { orders.clamp(rate, at: now) }
        if let rate = limits.newAccounts { accounts.clamp(rate, at: now) }
    }

    /// Forgets what will be full soonest, where there is more than fits into a file. A CA still has its own count.
    package mutating func shorten() {
        func half(_ buckets: [String: TokenBucket]) -> [String: TokenBucket] {
            let kept = buckets.sorted { $0.value.fullAt > $1.value.fullAt }.prefix(buckets.count / 2)
            return Dictionary(kept.map { ($0.key, $0.value) }, uniquingKeysWith: { first, _ in first })
        }
        let largest = max(domains.count, nameSets.count, failures.count, blockedSets.count)
        switch largest {
        case nameSets.count: nameSets = half(nameSets)
        case domains.count: domains = half(domains)
        case failures.count: failures = half(failures)
        default: blockedSets = half(blockedSets)
        }
    }

    // MARK: Which bucket

    private enum Place {
        case orders
        case domain(String), nameSet(String)
    }

    private struct Entry {
        let place: Place
        let rate: IssuanceLimits.Rate
        let text: String
    }

    private subscript(place: Place) -> TokenBucket {
        get {
            switch place {
            case .orders: orders
            case .domain(let key): domains[key] ?? .init()
            case .nameSet(let key): nameSets[key] ?? .init()
            }
        }
        set {
            switch place {
            case .orders: orders = newValue
            case .domain(let key): domains[key] = newValue
            case .nameSet(let key): nameSets[key] = newValue
            }
        }
    }

    /// What an order of this kind is counted in: a renewal at the CA's own suggestion in nothing, another renewal only
    /// among those with the same names.
    private func entries(of demand: IssuanceDemand, _ limits: IssuanceLimits) -> [Entry] {
        guard demand.kind != .renewalByHint else { return [] }
        var entries: [Entry] = []
        if let rate = limits.perNameSet {
            entries.append(
                Entry(
                    place: .nameSet(Self.key(demand.names)), rate: rate, text: "\(rate) certificates for the same names"
                ))
        }
        guard demand.kind == .new else { return entries }
        if let rate = limits.newOrders { entries.append(Entry(place: .orders, rate: rate, text: "\(rate) new orders")) }
        if let rate = limits.perDomain {
            for domain in Set(demand.names.compactMap(Self.domain)).sorted() {
                entries.append(
                    Entry(place: .domain(Self.key(domain)), rate: rate, text: "\(rate) certificates for \(domain)"))
            }
        }
        return entries
    }

    /// What a CA counts as one domain: an IPv4 address, a /64 of IPv6, a registered domain.
    private static func domain(_ name: AlternativeName) -> String? {
        switch name {
        case .dns(let host): RegisteredDomain.of(host)
        case .ip(let address):
            address.isIPv6 ? Hex.encode(Array(address.bytes.prefix(8))) + "/64" : address.description
        case .email, .uri: nil
        }
    }

    private static func key(_ names: [AlternativeName]) -> String {
        key(Set(names).map(\.description).sorted().joined(separator: "\n"))
    }

    private static func key(_ text: String) -> String {
        String(Digest.sha256.data(of: Data(text.utf8)).prefix(8).base64EncodedString().prefix(11))
    }
}

extension IssuanceLimits.Rate: CustomStringConvertible {
    /// `300 in 3 hours`.
    package var description: String {
        let units: [(seconds: TimeInterval, word: String)] = [(86400, "days"), (3600, "hours"), (60, "minutes")]
        let unit = units.first { period >= $0.seconds && period.truncatingRemainder(dividingBy: $0.seconds) == 0 }
        return "\(count) in \(Int(period / (unit?.seconds ?? 1))) \(unit?.word ?? "seconds")"
    }
}
