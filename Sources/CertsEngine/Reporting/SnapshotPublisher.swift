package import CertsCore
import Foundation
import Logging

/// Renders the exposition when something changed, and now and then since the days left change by themselves; scrapes
/// only ever read what was rendered.
package actor SnapshotPublisher {
    private let context: EngineContext
    private let published: PublishedSnapshot
    private let version: String
    /// Of what the engine does not know.
    private let more: @Sendable () async throws -> [MetricFamily]
    private var lastRendered: ContinuousClock.Instant?
    private var hasTicked = false
    /// Of the last look; `nil`: none yet.
    private var drift: [NodeID: Int]?

    package init(
        context: EngineContext, published: PublishedSnapshot, version: String,
        more: @escaping @Sendable () async throws -> [MetricFamily] = { [] }
    ) {
        self.context = context
        self.published = published
        self.version = version
        self.more = more
    }

    /// Other processes (`certs rotate` by hand) change the inventory too: they show after this time at the latest.
    static let refreshInterval: Duration = .seconds(15)

    package func publishIfStale() async {
        if let lastRendered, ContinuousClock.now - lastRendered < Self.refreshInterval { return }
        await publish()
    }

    /// The planner has run: the process is ready.
    package func markTicked() async {
        hasTicked = true
        await publish()
    }

    /// The nodes have been looked at: what of them is not as declared.
    package func publish(_ found: [Drift]) async {
        var counts: [NodeID: Int] = [:]
        for node in context.declarations.targets.flatMap(\.nodes).map(\.id) {
            let own = found.filter { $0.node == node }
            let known = own.filter { $0.kind != .unknown }
            // Where something could not be looked at and nothing else differs, nobody knows.
            if own.isEmpty || !known.isEmpty { counts[node] = known.count }
        }
        drift = counts
        await publish()
    }

    package func publish() async {
        lastRendered = .now
        do {
            let exposition = Exposition(
                declarations: context.declarations.certificates, targets: context.declarations.targets,
                states: try await context.inventory.states(), tallies: try await context.journal.tallies(),
                tasks: try await context.schedule.tasks(), drift: drift, now: context.now)
            let families =
                try await exposition.families() + more() + ProcessMetrics.families(version: version)
            published.replace(
                with: .init(
                    metricsText: Array(PrometheusText.render(families).utf8),
                    readiness: hasTicked ? .ready : .notReady(reason: "the planner has not run yet"),
                    renderedAt: context.now))
        } catch {
            context.logger.error("the exposition could not be rendered: \(CertsError.wrapping(error))")
        }
    }
}
