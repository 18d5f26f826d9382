import CertsCore
import CertsCrypto
import CertsEngine
import CertsStore
import CertsTesting
import Foundation
import Testing

@Suite struct CertificateScannerTests {
    struct Scene {
        let world: EngineWorld
        let root: TemporaryDirectory
        let scanner: CertificateScanner
        let pki: TestPKI

        init() async throws {
            world = try await EngineWorld()
            root = try TemporaryDirectory()
            pki = try TestPKI()
            scanner = CertificateScanner(files: FileWalker(), inventory: world.database)
        }

        func add(_ name: String, _ host: String = "a.example") throws {
            try root.write(Data(pki.leaf([host]).certificate.pem.utf8), to: name)
        }
    }

    @Test func readsWhatIsNewAndOnlyThat() async throws {
        let scene = try await Scene()
        for index in 0..<5 { try scene.add("\(index).pem", "host-\(index).example") }
        #expect(try await scene.scanner.scan(scene.root.path).read == 5)
        let again = try await scene.scanner.scan(scene.root.path)
        #expect((again.found, again.read, again.removed) == (5, 0, 0))
        try scene.add("2.pem", "changed.example")
        #expect(try await scene.scanner.scan(scene.root.path).read == 1)
        let files = try await scene.world.database.scannedFiles()
        #expect(files.first { $0.path.hasSuffix("/2.pem") }?.record?.dnsNames == ["changed.example"])
    }

    @Test func oneBadFileNeverHidesTheOthers() async throws {
        let scene = try await Scene()
        try scene.add("good.pem")
        try scene.root.write(Data("garbage".utf8), to: "garbage.pem")
        try scene.root.write(Data(), to: "empty.pem")
        try scene.root.write(Data(count: 2 << 20), to: "large.pem")
        let summary = try await scene.scanner.scan(scene.root.path)
        #expect((summary.found, summary.unreadable) == (4, 3))
        let report = try await scene.world.engine().status(at: scene.world.clock.now.wall)
        #expect(report.certificates.count { $0.state == .unreadable } == 3)
        #expect(report.certificates.count { !$0.managed && $0.sha256 != nil } == 1)
    }

    @Test func whatIsGoneLeavesTheInventory() async throws {
        let scene = try await Scene()
        try scene.add("a.pem")
        try scene.add("b.pem")
        _ = try await scene.scanner.scan(scene.root.path)
        try FileManager.default.removeItem(atPath: scene.root.path("a.pem"))
        #expect(try await scene.scanner.scan(scene.root.path).removed == 1)
        #expect(try await scene.world.database.scannedFiles().map(\.path) == [scene.root.path("b.pem")])
    }

    @Test func aDirectoryThatIsNotThereIsAFailureOfItsSource() async throws {
        let scene = try await Scene()
        let summary = try await scene.scanner.scan(scene.root.path("missing"))
        #expect(summary.failure?.reason == .notFound)
        await #expect(throws: CertsError.self) { try await scene.scanner.scan("relative") }
    }
}
