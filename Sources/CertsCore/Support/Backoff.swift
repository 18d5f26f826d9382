package import Foundation

/// How long a certificate rests after failures: 1 minute, 10 minutes, 100 minutes, then a day each.
package enum Backoff {
    /// - Parameter failures: how many attempts have failed in a row, counting the last one.
    /// - Returns: seconds; 0 if there was no failure.
    package static func delay(afterFailures failures: Int) -> TimeInterval {
        switch failures {
        case ..<1: 0
        case 1: 60
        case 2: 600
        case 3: 6000
        default: 86400
        }
    }

    /// The time before which no automatic attempt is made; the issuer's own wish counts if it is later, up to a day.
    package static func nextAttempt(afterFailures failures: Int, retry: CertsError.Retry, now: Date) -> Date {
        let ours = now.addingTimeInterval(delay(afterFailures: failures))
        guard case .after(let theirs) = retry else { return ours }
        return max(ours, min(theirs, now.addingTimeInterval(86400)))
    }
}
