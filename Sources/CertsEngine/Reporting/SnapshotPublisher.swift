package import CertsCore
import Foundation
import Logging

/// Renders the exposition when something changed, and now and then since the days left change by themselves; scrapes
/// only ever read what was rendered.
package actor SnapshotPublisher {
    private let context: EngineContext
    private let published: PublishedSnapshot
    private let constantFamilies: [MetricFamily]
    private var lastRendered: ContinuousClock.Instant?
    private var hasTicked = false

    /// - Parameter constantFamilies: what does not change while the process lives, e.g. `certs_build_info`.
    package init(context: EngineContext, published: PublishedSnapshot, constantFamilies: [MetricFamily] = []) {
        self.context = context
        self.published = published
        self.constantFamilies = constantFamilies
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

    package func publish() async {
        lastRendered = .now
        do {
            let exposition = Exposition(
                declarations: context.declarations.certificates, targets: context.declarations.targets,
                states: try await context.inventory.states(), tallies: try await context.journal.tallies(),
                tasks: try await context.schedule.tasks(), now: context.now)
            let families = exposition.families() + constantFamilies + ProcessMetrics.families()
            published.replace(
                metrics: PrometheusText.render(families),
                readiness: hasTicked ? .ready : .notReady("the planner has not run yet"), at: context.now)
        } catch {
            context.logger.error("the exposition could not be rendered: \(CertsError.wrapping(error))")
        }
    }
}
