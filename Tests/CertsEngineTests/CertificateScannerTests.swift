import CertsCore
import CertsCrypto
import CertsEngine
import CertsStore
import CertsTesting
import Foundation
import Synchronization
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

    /// Characters are not bytes: this name begins with a combining accent, which fuses with the slash before it.
    @Test func aNameThatBeginsWithACombiningCharacterStopsNothing() async throws {
        let scene = try await Scene()
        try scene.add("good.pem")
        try scene.add("\u{301}odd.pem")
        let legacy = WatchedDirectory(name: try Name("legacy"), path: scene.root.path)
        let summary = try await scene.scanner.scan(scene.root.path, as: legacy)
        #expect(summary.found == 2 && summary.unreadable == 0)
        #expect(try await scene.world.database.scannedFiles().count == 2)
        #expect(try await scene.scanner.scan(scene.root.path, as: legacy).read == 0)
        #expect("/dir/\u{301}x.pem".path(below: "/dir") == "\u{301}x.pem")
        #expect("/srv/schlüssel/a.pem".path(below: "/srv/schlüssel/") == "a.pem")
        #expect("/dirty/x".path(below: "/dir") == nil)
    }

    @Test func aDirectoryThatIsNotRecursiveLeavesTheOneBelowItAlone() async throws {
        let scene = try await Scene()
        try FileManager.default.createDirectory(
            atPath: scene.root.path("below"), withIntermediateDirectories: true)
        try scene.add("a.pem")
        try scene.add("below/b.pem")
        let outer = WatchedDirectory(name: try Name("outer"), path: scene.root.path, isRecursive: false)
        let inner = WatchedDirectory(name: try Name("inner"), path: scene.root.path("below"))
        for round in 1...3 {
            let first = try await scene.scanner.scan(outer.path, as: outer)
            let second = try await scene.scanner.scan(inner.path, as: inner)
            #expect((first.removed, second.removed) == (0, 0))
            #expect((first.read, second.read) == (round == 1 ? (1, 1) : (0, 0)))
        }
        try FileManager.default.removeItem(atPath: scene.root.path("a.pem"))
        #expect(try await scene.scanner.scan(outer.path, as: outer).removed == 1)
        #expect(try await scene.world.database.scannedFiles().map(\.path) == [scene.root.path("below/b.pem")])
    }

    @Test func theDatesOfALinkThatBreaksStay() async throws {
        let scene = try await Scene()
        try scene.add("target")
        try FileManager.default.createSymbolicLink(
            atPath: scene.root.path("live.pem"), withDestinationPath: scene.root.path("target"))
        let legacy = WatchedDirectory(name: try Name("legacy"), path: scene.root.path)
        _ = try await scene.scanner.scan(scene.root.path, as: legacy)
        let known = try #require(try await scene.world.database.scannedFiles().first?.record)
        try FileManager.default.removeItem(atPath: scene.root.path("target"))
        _ = try await scene.scanner.scan(scene.root.path, as: legacy)
        let broken = try #require(try await scene.world.database.scannedFiles().first)
        #expect(broken.problem == .danglingLink)
        #expect(broken.record == known)
    }

    @Test func aDirectoryThatWasNamedByHandAndIsGoneTakesItsFilesWithIt() async throws {
        let scene = try await Scene()
        try FileManager.default.createDirectory(atPath: scene.root.path("old"), withIntermediateDirectories: true)
        try scene.add("old/a.pem")
        _ = try await scene.scanner.scan(scene.root.path("old"))
        #expect(try await scene.scanner.scan(scene.root.path("typo")).failure?.reason == .notFound)
        #expect(try await scene.world.database.watchSources().map(\.isUp) == [true], "a slip of the hand is no alarm")
        try FileManager.default.removeItem(atPath: scene.root.path("old"))
        #expect(try await scene.scanner.scan(scene.root.path("old")).removed == 1)
        #expect(try await scene.world.database.scannedFiles().isEmpty)
    }

    @Test func namesThatDifferOnlyInTheirNormalFormAreTwoFiles() async throws {
        let scene = try await Scene()
        let names = ["caf\u{e9}.pem", "cafe\u{301}.pem"]
        for name in names { try scene.add(name, "\(name.unicodeScalars.count).example") }
        let now = Date().addingTimeInterval(60)
        #expect(try await scene.scanner.scan(scene.root.path, now: now).read == 2)
        #expect(try await scene.world.database.scannedFiles().count == 2)
        let again = try await scene.scanner.scan(scene.root.path, now: now)
        #expect((again.found, again.read, again.isChanged) == (2, 0, false))
        try FileManager.default.removeItem(atPath: scene.root.path(names[1]))
        #expect(try await scene.scanner.scan(scene.root.path, now: now).removed == 1)
        let left = try await scene.world.database.scannedFiles()
        #expect(left.map { Array($0.path.utf8) } == [Array(scene.root.path(names[0]).utf8)])
        #expect(left.map(\.record?.dnsNames) == [["8.example"]])
    }

    @Test func whetherTheChainWasValidStaysWhileTheFileCannotBeRead() async throws {
        let scene = try await Scene()
        let (leaf, other) = (try scene.pki.leaf(["a.example"]), try TestPKI())
        try scene.root.write(
            Data((leaf.certificate.pem + other.intermediate.certificate.pem).utf8), to: "broken.pem")
        try scene.root.write(
            Data((leaf.certificate.pem + scene.pki.intermediate.certificate.pem).utf8), to: "whole.pem")
        _ = try await scene.scanner.scan(scene.root.path)
        let before = try await scene.world.database.scannedFiles()
        #expect(before.map(\.facts.isChainValid) == [false, true])
        for name in ["broken.pem", "whole.pem"] { try scene.root.write(Data("garbage".utf8), to: name) }
        _ = try await scene.scanner.scan(scene.root.path)
        let after = try await scene.world.database.scannedFiles()
        #expect(after.allSatisfy { $0.problem != nil })
        #expect(after.map(\.facts.isChainValid) == [false, true])
        #expect(after.map(\.facts.chainNotAfter) == before.map(\.facts.chainNotAfter))
    }

    /// The files of the disk, counting how often each was read.
    final class CountingFiles: WatchedFiles {
        private let counts = Mutex<[String: Int]>([:])
        func reads(of name: String) -> Int { counts.withLock { $0[name] ?? 0 } }

        func walk(_ root: String, suffixes: [String], limits: WalkLimits) async throws -> WatchedTree {
            try await FileWalker().walk(root, suffixes: suffixes, limits: limits)
        }

        func read(_ path: String, limit: Int) async throws -> WatchedFile {
            counts.withLock { $0[URL(filePath: path).lastPathComponent, default: 0] += 1 }
            return try await FileWalker().read(path, limit: limit)
        }
    }

    @Test func aPassphraseThatDoesNotFitIsTriedOnceUntilItOrTheFileChanges() async throws {
        let (world, root, pki) = (try await EngineWorld(), try TemporaryDirectory(), try TestPKI())
        let leaf = try pki.leaf(["a.example"])
        try root.write(leaf.keyPEM, to: "key")
        try root.write(leaf.certificate.pem, to: "leaf")
        func export(_ passphrase: String) throws {
            let made = try Tool.run(
                "openssl", "pkcs12", "-export", "-inkey", "key", "-in", "leaf", "-passout", "pass:\(passphrase)",
                "-out",
                "a.p12", directory: root.path)
            try #require(made.status == 0, "\(made.output)")
        }
        try export("sesame")
        let files = CountingFiles()
        let scanner = CertificateScanner(files: files, inventory: world.database)
        var directory = WatchedDirectory(name: try Name("w"), path: root.path)
        func look(_ times: Int = 3) async throws -> WatchReason? {
            // Later than whatever was written: the file is settled.
            let now = Date().addingTimeInterval(60)
            for _ in 0..<times { _ = try await scanner.scan(root.path, as: directory, now: now) }
            return try await world.database.scannedFiles().first?.problem
        }
        #expect(try await look() == .noPassphrase)
        #expect(files.reads(of: "a.p12") == 1)
        directory.passphraseFile = try root.write("open", to: "passphrase")
        #expect(try await look() == .badPassphrase)
        #expect(files.reads(of: "a.p12") == 2)
        try export("barley")
        #expect(try await look() == .badPassphrase)
        #expect(files.reads(of: "a.p12") == 3)
        try root.write("barley", to: "passphrase")
        #expect(try await look() == nil)
        #expect(files.reads(of: "a.p12") == 4)
    }
}
