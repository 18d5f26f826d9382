package import CertsCore
package import Foundation

/// A limit of so many in a time that refills evenly, kept as one time: when it will be full again.
///
/// Equal to counting tokens, and half as long in a file. A bucket of the past is full, and need not be kept.
package struct TokenBucket: Sendable, Hashable {
    /// When no token is missing any longer.
    package private(set) var fullAt: Date

    package init(fullAt: Date = .distantPast) { self.fullAt = fullAt }

    package func isFull(at now: Date) -> Bool { fullAt <= now }

    /// How many can be taken now.
    package func left(_ rate: IssuanceLimits.Rate, at now: Date) -> Int {
        let missing = max(0, fullAt.timeIntervalSince(now))
        // The margin takes up what the addition of many intervals loses.
        return max(0, Int(((rate.span - missing) / rate.interval + 1e-6).rounded(.down)))
    }

    /// When the next one can be taken; not after `now`: at once.
    package func nextToken(_ rate: IssuanceLimits.Rate) -> Date {
        fullAt.addingTimeInterval(rate.interval - rate.span)
    }

    /// Takes one. Taken before ``nextToken(_:)``, it is owed, and everybody after it waits longer.
    package mutating func take(_ rate: IssuanceLimits.Rate, at now: Date) {
        fullAt = max(fullAt, now).addingTimeInterval(rate.interval)
    }

    /// After the wall clock was set back, or with a smaller limit: nobody waits longer than for an empty bucket.
    package mutating func clamp(_ rate: IssuanceLimits.Rate, at now: Date) {
        fullAt = min(fullAt, now.addingTimeInterval(rate.span))
    }
}

extension IssuanceLimits.Rate {
    /// Seconds for all of them.
    fileprivate var span: TimeInterval { max(period, 1e-3) }
    /// Seconds until one comes back.
    fileprivate var interval: TimeInterval { span / Double(max(1, count)) }
}

/// Whole seconds since 1970, rounded up: rather a second too late.
extension TokenBucket: Codable {
    package init(from decoder: any Decoder) throws {
        let seconds = try decoder.singleValueContainer().decode(Int64.self)
        guard (0...253_402_300_800).contains(seconds) else {
            throw DecodingError.dataCorrupted(
                .init(codingPath: decoder.codingPath, debugDescription: "not a time before the year 10000"))
        }
        fullAt = Date(timeIntervalSince1970: Double(seconds))
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        let seconds = min(max(0, fullAt.timeIntervalSince1970), 253_402_300_800)
        try container.encode(Int64(seconds.rounded(.up)))
    }
}
