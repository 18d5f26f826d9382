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
