import CertsCore
import CertsEngine
import CertsGzip
import CertsStore
import Foundation
import Logging

/// The exposition of managed certificates, each seen at one endpoint: how long its rendering takes, and how large it is.
enum ExpositionBenchmark {
    struct Figures: Encodable {
        let pairs: Int
        let series: Int
        let bytes: Int
        let compressedBytes: Int
        /// Of each rendering, the inventory's reading included.
        let seconds: [Double]
    }

    static func run(count: Int, rounds: Int) async throws {
        // In memory where there is such a file system: durable writes are not what is measured here.
        let parent = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : NSTemporaryDirectory()
        let directory = "\(parent)/certs-exposition-\(getpid())"
        defer { try? FileManager.default.removeItem(atPath: directory) }
        let state = try await StateDirectory.open(at: directory, create: true)
        let database = try await Database.open(in: state)
        let now = PlannerBenchmark.now
        let node = try NodeDeclaration(
            id: NodeID(try Name("loadbalancer")), bundle: "/etc/haproxy/certs/", reload: .runtime(socket: "/run/haproxy/admin.sock"),
            endpoints: [])
        try await database.save(try (0..<count).map { try seen($0, at: node.id, now) })
        let engine = RotationEngine(
            EngineContext(
                declarations: Declarations(
                    stateDirectory: directory, certificates: try (0..<count).map { try declared($0, on: node.id) },
                    targets: [TargetDeclaration(node)]),
                issuers: [:], targets: [:], revisions: state, journal: database, inventory: database,
                schedule: database, quarantine: state,
                makeBundle: { _, _, _ in throw CertsError(.internal, "not measured") },
                clock: { ClockReading(wall: now, sinceBoot: 1000, bootID: "benchmark") }, faults: .none,
                logger: Logger(label: "benchmark"), progress: { _ in }))
        let publisher = SnapshotPublisher(context: engine.context, published: PublishedSnapshot(), version: "benchmark")
        // The first rendering looks for the chains of all certificates, once.
        var exposition = try await publisher.rendered()
        var measured: [Double] = []
        for _ in 0..<rounds {
            measured.append(try await seconds { exposition = try await publisher.rendered() })
        }
        guard let member = exposition.member() else { return }
        let text = try member.text()
        let series = text.split(separator: UInt8(ascii: "\n")).count { $0.first != UInt8(ascii: "#") }
        try report(
            Figures(
                pairs: count, series: series, bytes: text.count, compressedBytes: member.compressedLength,
                seconds: measured))
    }

    private static func declared(_ index: Int, on node: NodeID) throws -> CertificateDeclaration {
        var declaration = try PlannerBenchmark.declaration(index)
        declaration.targets = [node.target]
        return declaration
    }

    private static func seen(_ index: Int, at node: NodeID, _ now: Date) throws -> CertificateState {
        var state = try PlannerBenchmark.state(index, isDue: false)
        guard var record = state.record else { return state }
        // Digests and serial numbers cannot be compressed; those of the planner's benchmark are counters.
        var random = SystemRandomNumberGenerator()
        record.serial = hex(16, &random)
        record.sha256 = hex(32, &random)
        (state.record, state.currentRecord) = (record, record)
        let observation = EndpointObservation(
            endpoint: Endpoint(host: "192.0.2.1", port: 443, serverName: record.subjectCommonName),
            served: record.fingerprint, servedNotAfter: record.notAfter, observedAt: now)
        state.targets = [TargetObservation(node: node, state: .verified, endpoints: [observation])]
        return state
    }

    private static func hex(_ count: Int, _ random: inout SystemRandomNumberGenerator) -> String {
        (0..<count).map { _ in String(format: "%02x", UInt8.random(in: 0...255, using: &random)) }.joined()
    }
}
