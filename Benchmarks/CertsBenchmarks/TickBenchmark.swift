import CertsCore
import CertsEngine
import CertsStore
import Foundation
import Logging
import Synchronization

/// One run of the planner over a large inventory of which nothing is due, and whose CA has said when to be asked again:
/// the look for renewal times to refresh, then the look for what is to be rotated.
enum TickBenchmark {
    struct Figures: Encodable {
        let count: Int
        /// Of the median round.
        let milliseconds: Double
        /// How often the CA was asked for anything.
        let requests: Int
        let due: Int
    }

    /// Counts, and has nothing to say.
    private final class Counter: RenewalAdvisor {
        let name: Name
        let asked = Mutex(0)

        init(_ name: Name) { self.name = name }

        func issue(_ request: IssuanceRequest) async throws -> IssuanceOutcome {
            asked.withLock { $0 += 1 }
            throw CertsError(.issuerRefused, "not measured")
        }

        func suggestedWindow(for leaf: Data, now: Date) async throws -> SuggestedWindow? {
            asked.withLock { $0 += 1 }
            return nil
        }

        func trustAnchors() async throws -> [Data] { [] }
    }

    private static let rounds = 21

    static func run(count: Int) async throws {
        // In memory where there is such a file system: durable writes are not what is measured here.
        let parent = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : NSTemporaryDirectory()
        let directory = "\(parent)/certs-tick-\(getpid())"
        defer { try? FileManager.default.removeItem(atPath: directory) }
        let state = try await StateDirectory.open(at: directory, create: true)
        let database = try await Database.open(in: state)
        let now = PlannerBenchmark.now
        try await database.save(try (0..<count).map { try known($0, now) })
        let issuer = Counter(try Name("local"))
        let engine = RotationEngine(
            EngineContext(
                declarations: Declarations(
                    stateDirectory: directory, certificates: try (0..<count).map(PlannerBenchmark.declaration)),
                issuers: [issuer.name: issuer], targets: [:], revisions: state, journal: database, inventory: database,
                schedule: database, quarantine: state,
                makeBundle: { _, _, _ in throw CertsError(.internal, "not measured") },
                clock: { ClockReading(wall: now, sinceBoot: 1000, bootID: "benchmark") }, faults: .none,
                logger: Logger(label: "benchmark"), progress: { _ in }))
        try await engine.reconcile()
        var due = 0
        var measured: [Double] = []
        for _ in 0..<rounds {
            measured.append(
                try await seconds {
                    await engine.refreshHints()
                    due = try await engine.rotateDue(.indexed).count
                } * 1000)
        }
        try report(
            Figures(
                count: count, milliseconds: measured.sorted()[rounds / 2], requests: issuer.asked.withLock { $0 },
                due: due))
    }

    private static func known(_ index: Int, _ now: Date) throws -> CertificateState {
        var state = try PlannerBenchmark.state(index, isDue: false)
        guard let leaf = state.record?.fingerprint else { return state }
        let pick = now.addingTimeInterval(40 * 86400 + Double(index))
        let next = now.addingTimeInterval(21600)
        state.hint = RenewalHint(
            start: pick, end: pick.addingTimeInterval(86400), pick: pick, checkAt: next, explanationURL: nil, leaf: leaf
        )
        state.hintCheck = HintCheck(leaf: leaf, at: next)
        return state
    }
}
