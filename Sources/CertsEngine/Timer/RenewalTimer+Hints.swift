import CertsCore
import Foundation
import Synchronization

// A CA that says when to be asked again is asked at that time, not at the next tick (RFC 9773 §4.3.2).
extension RenewalTimer {
    /// What could not be asked is not asked again within this time, in seconds.
    private static let shortestPause: TimeInterval = 60

    func refreshHints() async {
        await engine.refreshHints(random: random)
        let next = try? await context.inventory.nextHintCheck()
        let earliest = context.now.addingTimeInterval(Self.shortestPause)
        hintsAt.withLock { $0 = next.map { max($0, earliest) } }
    }

    /// Between two ticks. Costs nothing before its time, which is kept from the last look.
    package func refreshHintsIfDue() async {
        let now = context.now
        if hintsAt.withLock({ $0.map { $0 <= now } ?? false }) { await refreshHints() }
    }
}
