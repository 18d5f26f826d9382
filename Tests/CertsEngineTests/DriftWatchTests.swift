import CertsCore
import CertsEngine
import CertsStore
import CertsTesting
import Foundation
import Logging
import Synchronization
import Testing

/// What the engine makes of what the nodes show, and what the service tells of it.
@Suite struct DriftWatchTests {
    /// Keeps what was logged from a level on, as `level target drift`.
    private final class Notes: Sendable {
        private let lines = Mutex<[String]>([])
        var all: [String] { lines.withLock { $0 } }
        func clear() { lines.withLock { $0 = [] } }

        var logger: Logger { Logger(label: "test") { _ in Handler(notes: self) } }

        private struct Handler: LogHandler {
            let notes: Notes
            var metadata: Logger.Metadata = [:]
            var logLevel: Logger.Level = .notice
            subscript(metadataKey key: String) -> Logger.Metadata.Value? {
                get { metadata[key] }
                set { metadata[key] = newValue }
            }

            func log(event: LogEvent) {
                guard let drift = event.metadata?["drift"], let target = event.metadata?["target"] else { return }
                notes.lines.withLock { $0.append("\(event.level) \(target) \(drift)") }
            }
        }
    }

    private let stranger = Stranger(path: "/certs/messenger.pem.bak", certificate: EngineWorld.name)

    private func timer(_ world: EngineWorld, _ notes: Notes, limit: Int = 5000) -> (RenewalTimer, PublishedSnapshot) {
        let engine = world.engine(logger: notes.logger)
        let published = PublishedSnapshot()
        let publisher = SnapshotPublisher(context: engine.context, published: published, version: "test")
        return (RenewalTimer(engine: engine, publisher: publisher, driftLimit: limit, random: { 0 }), published)
    }

    @Test func `each difference is logged once, and once more when it is gone`() async throws {
        let world = try await EngineWorld(targets: 2)
        let notes = Notes()
        let (timer, published) = timer(world, notes)
        await timer.tick()
        #expect(notes.all == [])
        world.targets[0].live.strangers = [stranger]
        for _ in 1...3 { await timer.tick() }
        #expect(notes.all == ["warning target-0 extra-file"])
        func metrics() -> String { String(decoding: published.current.metricsText, as: UTF8.self) }
        #expect(metrics().contains("certs_drift{target=\"target-0\"} 1\n"))
        notes.clear()
        world.targets[1].live.strangers = [stranger]
        await timer.tick()
        #expect(notes.all == ["warning target-1 extra-file"])
        notes.clear()
        world.targets[0].live.strangers = []
        for _ in 1...2 { await timer.tick() }
        #expect(notes.all == ["notice target-0 extra-file"])
        #expect(metrics().contains("certs_drift{target=\"target-0\"} 0\n"))
        notes.clear()
        // Back again is news again.
        world.targets[0].live.strangers = [stranger]
        await timer.tick()
        #expect(notes.all == ["warning target-0 extra-file"])
    }

    @Test func `a huge inventory is not looked at by itself, and the metric says nothing`() async throws {
        let world = try await EngineWorld(targets: 3)
        world.targets[0].live.strangers = [stranger]
        let notes = Notes()
        let (timer, published) = timer(world, notes, limit: 2)
        await timer.tick()
        #expect(notes.all == [])
        #expect(!String(decoding: published.current.metricsText, as: UTF8.self).contains("certs_drift{"))
        #expect(try await world.database.task(RenewalTimer.driftTaskName) == nil)
    }

    @Test func `a repair deploys on the nodes that differ only`() async throws {
        let world = try await EngineWorld(targets: 3)
        let engine = world.engine()
        _ = await engine.rotate([EngineWorld.name])
        #expect(await engine.drift() == [])
        world.targets[1].live.served = Fingerprint(hex: String(repeating: "ee", count: 32))
        for target in world.targets { target.live.calls = [] }
        let found = await engine.drift()
        #expect(found.map { "\($0.node) \($0.certificate) \($0.kind.rawValue)" } == ["target-1 messenger replaced"])
        let results = await engine.repair(found)
        #expect(results.map { $0.rotation?.outcome } == [.committed])
        #expect(results.first?.rotation?.deployments.map(\.node) == [world.targets[1].declaration.id])
        #expect(world.targets.map(\.live.calls.isEmpty) == [true, false, true])
        #expect(await engine.drift() == [])
        #expect(try await world.certificateState()?.targets.count == 3, "the others are still known")
    }

    @Test func `what is unknown is not repaired`() async throws {
        let world = try await EngineWorld()
        let engine = world.engine()
        _ = await engine.rotate([EngineWorld.name])
        world.targets[0].live.calls = []
        let unknown = Drift.unknown(
            EngineWorld.name, on: world.targets[0].declaration.id, path: "/x.pem",
            why: CertsError(.targetUnreachable, "nobody answers"))
        #expect(await engine.repair([unknown]).isEmpty)
        #expect(world.targets[0].live.calls == [])
    }

    @Test func `a copy of what was never deployed is moved aside, and nothing is deployed`() async throws {
        let world = try await EngineWorld()
        let engine = world.engine()
        world.targets[0].live.strangers = [stranger]
        let found = await engine.drift()
        #expect(found.map(\.kind) == [.undeployed, .extraFile])
        #expect(await engine.repair(found).isEmpty)
        #expect(await engine.drift().map(\.kind) == [.undeployed], "what was never deployed is for `rotate`")
        let kept = "\(world.state.path)/quarantine/target-0/1-messenger.pem.bak"
        #expect(FileManager.default.contents(atPath: kept) == Data("bytes".utf8))
    }

    // MARK: One member

    private struct Case: CustomTestStringConvertible {
        let disk: NodeSight.Place
        let memory: NodeSight.Place
        let served: Character
        let kind: Drift.Kind?
        var testDescription: String { "\(disk), \(memory), \(served)" }
    }

    private static let other = NodeSight.Place.other(fingerprint: "ee", notBefore: nil, notAfter: nil)
    private static let blind = NodeSight.Place.unknown(why: "no socket")

    /// `=`: the declared one, `o`: another one, `-`: nothing answers.
    private static let cases: [Case] = [
        .init(disk: .same, memory: .same, served: "=", kind: nil),
        .init(disk: .same, memory: .hidden, served: "=", kind: nil),
        .init(disk: .same, memory: .same, served: "o", kind: .servedOther),
        .init(disk: .same, memory: .hidden, served: "o", kind: .servedOther),
        .init(disk: .same, memory: blind, served: "o", kind: .servedOther),
        .init(disk: .same, memory: .same, served: "-", kind: .unknown),
        .init(disk: .same, memory: blind, served: "=", kind: .unknown),
        .init(disk: .same, memory: other, served: "o", kind: .memoryChanged),
        .init(disk: .edited, memory: other, served: "o", kind: .memoryChanged),
        .init(disk: .same, memory: .missing, served: "o", kind: .memoryChanged),
        .init(disk: other, memory: .same, served: "=", kind: .diskChanged),
        .init(disk: other, memory: .hidden, served: "=", kind: .diskChanged),
        .init(disk: other, memory: blind, served: "-", kind: .diskChanged),
        .init(disk: other, memory: .hidden, served: "o", kind: .replaced),
        .init(disk: other, memory: other, served: "o", kind: .replaced),
        .init(disk: .edited, memory: .same, served: "=", kind: .fileEdited),
        .init(disk: .edited, memory: .hidden, served: "=", kind: .fileEdited),
        .init(disk: .junk, memory: .same, served: "=", kind: .fileEdited),
        .init(disk: .missing, memory: .same, served: "=", kind: .fileMissing),
        .init(disk: .missing, memory: .missing, served: "-", kind: .fileMissing),
        .init(disk: blind, memory: .same, served: "=", kind: .unknown),
    ]

    @Test(arguments: cases) private func `each combination has one name`(one: Case) throws {
        let declared = try #require(Fingerprint(hex: String(repeating: "aa", count: 32)))
        let served: Fingerprint? =
            switch one.served {
            case "=": declared
            case "o": Fingerprint(hex: String(repeating: "ee", count: 32))
            default: nil
            }
        let seen = EndpointObservation(
            endpoint: Endpoint(host: "127.0.0.1", port: 1), served: served, observedAt: Date())
        let member = NodeSight.Member(
            slot: nil, path: "/x.pem", declared: declared, disk: one.disk, memory: one.memory, served: [seen])
        let drift = Drift.of(member, certificate: EngineWorld.name, on: NodeID(try Name("edge")))
        #expect(drift?.kind == one.kind)
        #expect(drift.map { !$0.message.isEmpty && !$0.remedy.isEmpty } ?? true)
    }
}
