import CertsGzip
package import Foundation
import Synchronization

/// What the web server shows: one immutable value that the engine replaces as a whole.
///
/// A scrape takes the value and serves its parts: it reads no file, renders nothing, and waits for no rotation.
package final class PublishedSnapshot: Sendable {
    /// Whether the service does its work yet.
    package enum Readiness: Sendable, Hashable {
        /// Recovery is done and the planner has ticked.
        case ready
        case notReady(reason: String)
    }

    package struct Value: Sendable {
        package var exposition: RenderedExposition
        package var readiness: Readiness
        package var renderedAt: Date

        package init(exposition: RenderedExposition, readiness: Readiness, renderedAt: Date) {
            self.exposition = exposition
            self.readiness = readiness
            self.renderedAt = renderedAt
        }

        /// The whole exposition in the text format, in UTF-8; for what needs it in one piece.
        package var metricsText: [UInt8] { (try? exposition.text()) ?? [] }
    }

    /// Whether the planner that fills it lives.
    package let heartbeat: Heartbeat
    private let value: Mutex<Value>

    /// - Parameter value: shown until the first ``replace(with:)``; the default has no metrics and is not ready.
    package init(
        _ value: Value = Value(exposition: .empty, readiness: .notReady(reason: "starting"), renderedAt: .distantPast),
        heartbeat: Heartbeat = Heartbeat()
    ) {
        self.value = Mutex(value)
        self.heartbeat = heartbeat
    }

    package var current: Value { value.withLock { $0 } }

    package func replace(with new: Value) { value.withLock { $0 = new } }

    /// Changes the readiness and leaves the metrics as they are.
    package func set(_ readiness: Readiness) { value.withLock { $0.readiness = readiness } }
}
