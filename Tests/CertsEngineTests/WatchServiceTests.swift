import CertsCore
import CertsCrypto
import CertsHAProxy
import CertsStore
import CertsTesting
import Foundation
import ServiceLifecycle
import Testing

@testable import CertsEngine

@Suite struct WatchServiceTests {
    /// An inventory whose disk is full.
    private struct Full: WatchInventory {
        private func refuse() -> CertsError { CertsError(.fileUnwritable, "no space left on device") }

        func scannedFiles() async throws -> [ScannedFile] { [] }
        func forEachScannedFile(_ body: @escaping @Sendable (ScannedFile) throws -> Void) async throws {}
        func knownFiles() async throws -> [PathKey: ScannedFile.Known] { [:] }
        func scannedFiles(at paths: [String]) async throws -> [ScannedFile] { [] }
        func replaceScannedFiles(
            below root: String, changed: [ScannedFile], removed: [String], source: WatchSourceRecord,
            errors: [WatchReason: Int]
        ) async throws { throw refuse() }
        func sightings() async throws -> [EndpointSighting] { [] }
        func save(
            _ sightings: [EndpointSighting], source: WatchSourceRecord, errors: [WatchReason: Int]
        ) async throws { throw refuse() }
        func forgetWatched(except sources: [Name], endpoints: [String]) async throws { throw refuse() }
        func watchSources() async throws -> [WatchSourceRecord] { [] }
        func watchErrors() async throws -> [WatchErrorCount] { [] }
    }

    private static func declared(_ world: EngineWorld, _ watch: WatchDeclaration) -> Declarations {
        Declarations(stateDirectory: world.state.path, watch: watch)
    }

    @Test func aRunThatCouldNotBeRecordedIsNoSuccess() async throws {
        let world = try await EngineWorld()
        let nobody = WatchedEndpoint(Endpoint(host: "127.0.0.1", port: try LoopbackPort.reserve()))
        let context = world.engine(declarations: Self.declared(world, WatchDeclaration(endpoints: [nobody]))).context
        func watch(_ inventory: any WatchInventory) -> CertificateWatch {
            CertificateWatch(
                context: context, files: FileWalker(),
                endpoints: EndpointWatch(prober: HandshakeProber(), inventory: inventory, anchors: []))
        }
        func run(_ watch: CertificateWatch) async throws -> TaskRecord {
            let startedAt = context.now
            await watch.record("probe", interval: 300, startedAt: startedAt, hasSucceeded: await watch.probe())
            return try #require(try await world.database.task("probe"))
        }
        // An endpoint that does not answer is a fact, and learning it a success.
        let first = try await run(watch(world.database))
        #expect(first.lastSuccessAt == world.clock.now.wall && first.lastRunAt == first.lastSuccessAt)
        world.clock.advance(by: 300)
        let second = try await run(watch(Full()))
        #expect(second.lastSuccessAt == first.lastSuccessAt)
        #expect(second.lastRunAt == world.clock.now.wall)
    }

    /// The alert on a task that is late compares the age of its record with twice this.
    @Test(arguments: [(2.0, 0.1, 60.0), (30, 0.1, 60), (300, 1, 300), (30, 45, 90)])
    func aScanIsNotTakenForLateBetweenTwoRecords(_ interval: Double, _ elapsed: Double, _ round: Double) {
        #expect(WatchService.scanRound(interval, elapsed: .seconds(elapsed)) == round)
    }

    @Test(.timeLimit(.minutes(2))) func aDirectoryThatWasReplacedUnderItsNameIsWatchedOn() async throws {
        let (world, pki, root) = (try await EngineWorld(), try TestPKI(), try TemporaryDirectory())
        func put(_ name: String) throws {
            try root.write(pki.leaf(["\(name).example.com"]).certificate.pem, to: "watched/\(name).pem")
        }
        func makeDirectory() throws {
            try FileManager.default.createDirectory(atPath: root.path("watched"), withIntermediateDirectories: false)
        }
        try makeDirectory()
        try put("first")
        // So long an interval that only notifications can show what has changed.
        let declared = WatchDeclaration(
            directories: [WatchedDirectory(name: try Name("watched"), path: root.path("watched"))], scanInterval: 86400)
        let context = world.engine(declarations: Self.declared(world, declared)).context
        let published = PublishedSnapshot()
        let service = WatchService(
            watch: CertificateWatch(
                context: context, files: FileWalker(),
                endpoints: EndpointWatch(prober: HandshakeProber(), inventory: world.database, anchors: [])),
            publisher: SnapshotPublisher(context: context, published: published, version: "test"),
            notifications: try DirectoryInotify())
        func isShown(_ name: String) async throws -> Bool {
            for _ in 0..<300 {
                let text = String(decoding: published.current.metricsText, as: UTF8.self)
                if text.contains("cert=\"watched/\(name).pem\"") { return true }
                try await Task.sleep(for: .milliseconds(100))
            }
            return false
        }
        let running = Task { try await service.run() }
        defer { running.cancel() }
        #expect(try await isShown("first"))
        try FileManager.default.moveItem(atPath: root.path("watched"), toPath: root.path("old"))
        try makeDirectory()
        try put("second")
        #expect(try await isShown("second"))
        // The directory is another one now, although nothing about its path is.
        try put("third")
        #expect(try await isShown("third"))
        #expect(try await world.database.task("scan")?.interval == 86400)
    }
}
