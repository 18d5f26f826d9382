package import CertsCore
import CertsCrypto
import Foundation
import Logging
import Synchronization

/// Renders the exposition when something changed, and now and then since the days left change by themselves; scrapes
/// only ever read what was rendered.
package actor SnapshotPublisher {
    private let context: EngineContext
    private let published: PublishedSnapshot
    private let version: String
    private let loadedAt: Date
    /// Of what the engine does not know.
    private let more: @Sendable () async throws -> [MetricFamily]
    private var lastRendered: ContinuousClock.Instant?
    private var lastDuration = Duration.zero
    private var hasTicked = false
    /// Of the last look; `nil`: none yet.
    private var drift: [NodeID: Int]?
    private var chains: [Name: ExpositionWriter.Chain] = [:]
    /// The rendering under way, and the next one, which has not begun.
    private var running: Task<Void, Never>?
    private var queued: Task<Void, Never>?

    package init(
        context: EngineContext, published: PublishedSnapshot, version: String,
        more: @escaping @Sendable () async throws -> [MetricFamily] = { [] }
    ) {
        self.context = context
        self.published = published
        self.version = version
        loadedAt = context.now
        self.more = more
    }

    /// Other processes (`certs rotate` by hand) change the inventory too: they show after this time at the latest.
    static let refreshInterval: Duration = .seconds(15)
    /// A rendering that takes long is not repeated so soon: it takes one part in so many of a core.
    static let leisure = 20

    package func publishIfStale() async {
        let interval = max(Self.refreshInterval, lastDuration * Self.leisure)
        if let lastRendered, ContinuousClock.now - lastRendered < interval { return }
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

    /// Renders what is known now, or later: what was known at the call is published when it returns.
    package func publish() async {
        if let queued { return await queued.value }
        let before = running
        let task = Task {
            await before?.value
            begin()
            await render()
        }
        queued = task
        await task.value
    }

    private func begin() { (running, queued) = (queued, nil) }

    private func render() async {
        let start = ContinuousClock.now
        lastRendered = start
        do {
            published.replace(
                with: .init(
                    exposition: try await rendered(),
                    readiness: hasTicked ? .ready : .notReady(reason: "the planner has not run yet"),
                    renderedAt: context.now))
        } catch {
            context.logger.error("the exposition could not be rendered: \(CertsError.wrapping(error))")
        }
        lastDuration = ContinuousClock.now - start
    }

    /// What is known now, rendered and not published: for who needs it once, and has to know when that fails.
    package func rendered() async throws -> RenderedExposition {
        let start = ContinuousClock.now
        let (exposition, unknown) = try await written(start)
        guard !unknown.isEmpty else { return exposition }
        await readChains(unknown)
        return try await written(start).0
    }

    private typealias Unknown = [(name: Name, revision: Int, slots: [KeyType?])]

    private func written(_ start: ContinuousClock.Instant) async throws -> (RenderedExposition, Unknown) {
        let inventory = context.inventory
        let summary = SummaryFamilies(
            declarations: context.declarations, tasks: try await context.schedule.tasks(),
            sources: try await inventory.watchSources(), errors: try await inventory.watchErrors(), drift: drift,
            deployments: try await context.journal.deployDurations(upTo: SummaryFamilies.deployBounds),
            requests: context.requests.current, loadedAt: loadedAt)
        let channels = NotificationMetrics.families(
            context.declarations.notifications, try await context.notifications?.channelRecords() ?? [])
        let others = try await channels + more()
        let sightings = try await inventory.sightings()
        let writer = Mutex(
            ExpositionWriter(
                context.declarations, tallies: try await context.journal.tallies(), chains: chains, now: context.now))
        // One state is in memory at a time.
        _ = try await inventory.compactMapStates { state in
            try writer.withLock { try $0.add(state) }
            return Bool?.none
        }
        try await inventory.forEachScannedFile { file in try writer.withLock { try $0.add(file) } }
        let version = version
        return try writer.withLock { writer in
            for sighting in sightings { try writer.add(sighting) }
            let exposition = try writer.finish { writer in
                let elapsed = (ContinuousClock.now - start) / .seconds(1)
                return summary.families(writer) + [
                    MetricFamily(
                        "certs_scrape_duration_seconds", .gauge,
                        help: "How long the rendering of this text took; a scrape only hands it out.",
                        samples: [.init((elapsed * 1000).rounded() / 1000)])
                ] + others + ProcessMetrics.families(version: version)
            }
            return (exposition, writer.unknownChains)
        }
    }

    /// Reads the chains of revisions that are new, once: a revision never changes.
    private func readChains(_ unknown: Unknown) async {
        let context = context
        let read = await concurrently(unknown, width: 8) { one -> (Name, ExpositionWriter.Chain)? in
            var records: [[CertificateRecord]] = []
            for slot in one.slots {
                var chain: [CertificateRecord] = []
                for file in [RevisionFile.certificate(slot), .chain(slot)] {
                    do {
                        let pem = try await context.revisions.read(file, of: one.name, revision: one.revision)
                        guard let pem, pem.count > 0 else { continue }
                        chain += try CertificateReader.records(in: pem.withBytes { Data($0) })
                    } catch {
                        // Looked at again with the next rendering: half a chain would look like a whole one.
                        return nil
                    }
                }
                if !chain.isEmpty { records.append(chain) }
            }
            // Of several keys the chain that ends first, and valid only if all are.
            let facts = records.map { CertificateFile.facts(of: $0) }
            var shown = facts.min { ($0.chainNotAfter ?? .distantFuture) < ($1.chainNotAfter ?? .distantFuture) }
            if facts.contains(where: { $0.isChainValid == false }) { shown?.isChainValid = false }
            return (one.name, ExpositionWriter.Chain(revision: one.revision, facts: shown))
        }
        for (name, chain) in read.compactMap(\.self) { chains[name] = chain }
    }
}
