package import Foundation

/// When a certificate becomes due, from its own validity (DESIGN §1.2; RFC 9773 for the hint of a CA).
package struct RenewalPolicy: Sendable, Hashable, Codable {
    /// The longest time before notAfter at which a renewal starts, in seconds; 30 days unless declared.
    package var before: TimeInterval

    package init(before: TimeInterval = 30 * 86400) {
        self.before = before
    }

    /// Below this lifetime half of it is kept in reserve instead of a third.
    package static let shortLifetime: TimeInterval = 10 * 86400

    /// The due date and the rule that gave it: the earliest of the CA's hint and `notAfter − min(before, share)`, where
    /// share is a third of the lifetime, or half of one under 10 days.
    package func due(notBefore: Date, notAfter: Date, hint: Date? = nil) -> (at: Date, reason: PlanReason) {
        let lifetime = max(0, notAfter.timeIntervalSince(notBefore))
        let isShort = lifetime < Self.shortLifetime
        let share = isShort ? lifetime / 2 : lifetime / 3
        let ownDate = notAfter.addingTimeInterval(-min(before, share))
        if let hint, hint < ownDate { return (hint, .issuerHint) }
        if before <= share { return (ownDate, .beforeExpiry) }
        return (ownDate, isShort ? .halfOfLifetime : .thirdOfLifetime)
    }
}
