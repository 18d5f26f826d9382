package import Foundation
import Synchronization

/// Counts the requests to issuers over the network, for the exposition; issuers feed it, one call for each request.
package final class IssuerRequests: Sendable {
    /// What is known of one issuer.
    package struct Reading: Sendable {
        package let issuer: Name
        /// By status of the answer, or ``failed``; those of ``expected`` are there from the start.
        package fileprivate(set) var counts: [String: Int]
        package fileprivate(set) var durations: DurationTally
        /// `nil`: nothing was asked yet.
        package fileprivate(set) var isUp: Bool?
    }

    /// There was no answer.
    package static let failed = "failed"
    /// A counter that is born at 1 hides its first event from `increase()`.
    private static let expected = ["200", "201", "400", "403", "404", "429", "500", "503", failed]
    private static let bounds: [TimeInterval] = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30]

    private let readings: Mutex<[Name: Reading]>

    /// - Parameter issuers: those that are asked over the network.
    package init(_ issuers: [Name] = []) {
        readings = Mutex(Dictionary(issuers.map { ($0, Self.fresh($0)) }, uniquingKeysWith: { first, _ in first }))
    }

    /// - Parameters:
    ///   - status: of the answer; `nil`: there was none.
    ///   - seconds: from the request to its answer, or to its failure.
    package func count(_ issuer: Name, status: Int?, seconds: TimeInterval) {
        // A foreign number must not become one label each.
        let code = status.map { (100...599).contains($0) ? String($0) : "other" } ?? Self.failed
        readings.withLock { readings in
            var reading = readings[issuer] ?? Self.fresh(issuer)
            reading.counts[code, default: 0] += 1
            reading.durations.add(max(0, seconds))
            reading.isUp = status.map { $0 < 500 } ?? false
            readings[issuer] = reading
        }
    }

    package var current: [Reading] { readings.withLock { $0.values.sorted { $0.issuer < $1.issuer } } }

    private static func fresh(_ issuer: Name) -> Reading {
        Reading(
            issuer: issuer, counts: Dictionary(uniqueKeysWithValues: expected.map { ($0, 0) }),
            durations: DurationTally(bounds: bounds), isUp: nil)
    }
}
