package import Foundation

/// When a CA would like a certificate to be renewed (RFC 9773), with the time that was picked from it.
package struct RenewalHint: Sendable, Hashable, Codable {
    package var start: Date
    package var end: Date
    /// One uniformly random time of the window, picked once (RFC 9773 §4.2); it moves only when the window does.
    package var pick: Date
    /// Not to be asked again before, and to be asked at this time (`Retry-After`).
    package var checkAt: Date
    /// A page that says why the window is as it is.
    package var explanationURL: String?
    /// The leaf that it is about.
    package var leaf: Fingerprint

    package init(start: Date, end: Date, pick: Date, checkAt: Date, explanationURL: String?, leaf: Fingerprint) {
        self.start = start
        self.end = end
        self.pick = pick
        self.checkAt = checkAt
        self.explanationURL = explanationURL
        self.leaf = leaf
    }
}

extension RenewalHint {
    /// What an answer makes of the hint that was there before (RFC 9773 §4.2): the pick moves only with the window.
    ///
    /// - Parameter random: from 0 to 1; only used for a new pick.
    /// - Returns: `nil` for a window that ends before it begins, which is no answer (RFC 9773 §4.2).
    package static func updated(
        from window: SuggestedWindow, previous: RenewalHint?, leaf: Fingerprint, random: () -> Double
    ) -> RenewalHint? {
        guard window.end > window.start else { return nil }
        var hint = RenewalHint(
            start: window.start, end: window.end, pick: window.start, checkAt: window.checkAt,
            explanationURL: window.explanationURL, leaf: leaf)
        if let previous, previous.leaf == leaf, previous.start == window.start, previous.end == window.end {
            hint.pick = previous.pick
        } else {
            let share = min(1, max(0, random()))
            hint.pick = window.start.addingTimeInterval(window.end.timeIntervalSince(window.start) * share)
        }
        return hint
    }
}

/// When a CA is asked about a leaf, and how that went; for every leaf whose CA may have an opinion.
package struct HintCheck: Sendable, Hashable, Codable {
    package var leaf: Fingerprint
    /// When to ask next.
    package var at: Date
    /// How often in a row there was no answer.
    package var failures = 0
    /// Why there was none the last time.
    package var problem: String?

    package init(leaf: Fingerprint, at: Date) {
        self.leaf = leaf
        self.at = at
    }

    /// Between two questions after a failure that will not go away by itself, in seconds (RFC 9773 §4.3.3).
    package static let longDelay: TimeInterval = 6 * 3600

    /// There was no answer (RFC 9773 §4.3): asked again after 1 minute, doubling up to 6 hours; after 6 hours where
    /// trying again cannot help; when the CA says, within a minute and a day.
    package mutating func fail(_ error: CertsError, now: Date) {
        failures = min(failures + 1, 1000)
        problem = TerminalText.sanitized(error.description)
        switch error.retry {
        case .never: at = now.addingTimeInterval(Self.longDelay)
        case .later: at = now.addingTimeInterval(min(Self.longDelay, 60 * pow(2, Double(min(failures, 20) - 1))))
        case .after(let date): at = min(max(date, now.addingTimeInterval(60)), now.addingTimeInterval(86400))
        }
    }

    package mutating func succeed(nextAt: Date) {
        (failures, problem, at) = (0, nil, nextAt)
    }
}

/// The answer of a CA, as it came.
package struct SuggestedWindow: Sendable, Hashable {
    package var start: Date
    package var end: Date
    package var explanationURL: String?
    /// When to ask again, already within 1 minute and 1 day.
    package var checkAt: Date

    package init(start: Date, end: Date, explanationURL: String?, checkAt: Date) {
        self.start = start
        self.end = end
        self.explanationURL = explanationURL
        self.checkAt = checkAt
    }
}
