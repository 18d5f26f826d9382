import CertsCore
import CertsCrypto
import CertsTesting
import Foundation
import Testing

/// A state directory that cannot be trusted or written: refused by name, with what is live left alone.
@Suite struct BadStateTests {
    /// A scene after its first rotation, and what is served in it.
    private func rotated() async throws -> (scene: RotationScene, served: String) {
        let scene = try await RotationScene.make()
        try await scene.certs("rotate", exits: 0)
        return (scene, try await scene.served())
    }

    @Test func `open to others`() async throws {
        let (scene, served) = try await rotated()
        chmod(scene.state, 0o755)
        let run = try await scene.certs("rotate", "messenger", exits: 5)
        #expect(run.errors.contains(scene.state) && run.errors.contains("chmod 700"))
        #expect(try await scene.served() == served)
        chmod(scene.state, 0o700)
        try await scene.certs("rotate", "messenger", exits: 0)
    }

    @Test func `a symbolic link that leads out`() async throws {
        let (scene, served) = try await rotated()
        let elsewhere = try TemporaryDirectory()
        try FileManager.default.moveItem(atPath: scene.state, toPath: elsewhere.path("state"))
        try FileManager.default.createSymbolicLink(atPath: scene.state, withDestinationPath: elsewhere.path("state"))
        let run = try await scene.certs("rotate", "messenger", exits: 5)
        #expect(run.errors.contains(scene.state) && run.errors.contains("symbolic link"))
        #expect(try await scene.served() == served)
    }

    @Test func `a link in place of the directory of the certificate`() async throws {
        let (scene, served) = try await rotated()
        let live = scene.state + "/live/messenger"
        let elsewhere = try TemporaryDirectory()
        try FileManager.default.moveItem(atPath: live, toPath: elsewhere.path("messenger"))
        try FileManager.default.createSymbolicLink(atPath: live, withDestinationPath: elsewhere.path("messenger"))
        let run = try await scene.certs("rotate", "messenger", exits: 5)
        #expect((run.text + run.errors).contains("symbolic link"), "\(run.all)")
        #expect(try FileManager.default.contentsOfDirectory(atPath: elsewhere.path("messenger")).contains("2") == false)
        #expect(try await scene.served() == served)
    }

    @Test func `read-only`() async throws {
        let (scene, served) = try await rotated()
        let mount = try await Mount(over: scene.state, keeping: true)
        try await mount.makeReadOnly()
        let run = try await scene.certs("rotate", "messenger", exits: 1)
        #expect(run.errors.contains("read-only") && run.errors.contains(scene.state), "\(run.all)")
        #expect(try await scene.served() == served)
        await mount.end()
    }

    @Test func `full`() async throws {
        let (scene, served) = try await rotated()
        let mount = try await Mount(over: scene.state, keeping: true)
        try await tool("/bin/sh", "-c", "cat /dev/zero > \(scene.state)/filler 2>/dev/null; true")
        let run = try await scene.certs("rotate", "messenger", exits: 1)
        #expect((run.text + run.errors).contains("no space is left"), "\(run.all)")
        #expect(try await scene.served() == served)
        #expect(try scene.onDisk().record.sha256 == served)
        try FileManager.default.removeItem(atPath: scene.state + "/filler")
        try await scene.certs("rotate", exits: 0)
        try await scene.certs("rotate", "messenger", exits: 0)
        try await scene.expectOneTruth()
        await mount.end()
    }

    @Test(arguments: ["garbage", "truncated", "empty", "first page"])
    func `a damaged database is made again from the files`(_ damage: String) async throws {
        let (scene, served) = try await rotated()
        let path = scene.state + "/certs.sqlite"
        // What is only in the write-ahead log would be lost with it.
        try await tool(
            "python3", "-c",
            "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute('PRAGMA wal_checkpoint(TRUNCATE)')", path)
        for suffix in ["-wal", "-shm"] { try? FileManager.default.removeItem(atPath: path + suffix) }
        var bytes = try Data(contentsOf: URL(filePath: path))
        switch damage {
        case "garbage": bytes = Data((0..<8192).map { UInt8(truncatingIfNeeded: $0 &* 31) })
        case "truncated": bytes = bytes.prefix(bytes.count / 2 - 100)
        case "empty": bytes = Data()
        default: bytes.replaceSubrange(100..<4096, with: Data(repeating: 0x5a, count: 3996))
        }
        try bytes.write(to: URL(filePath: path))
        if damage != "empty" {
            let run = try await scene.certs("rotate", "messenger")
            #expect(run.status == 1, "\(run.all)")
            #expect((run.text + run.errors).contains("--rebuild"), "\(run.all)")
            #expect((run.text + run.errors).contains(path), "\(run.all)")
        }
        #expect(try await scene.served() == served)
        try await scene.certs("status", "--rebuild", exits: 0)
        let status = try await scene.status()
        #expect(status.sha256 == served)
        #expect(status.revision == 1)
        #expect(try await scene.history().map(\.outcome) == ["committed"])
        try await scene.certs("rotate", "messenger", exits: 0)
        #expect(try await scene.expectOneTruth().revision == 2)
    }

    @Test func `a database whose making was interrupted is made to its end`() async throws {
        let scene = try await RotationScene.make()
        try FileManager.default.createDirectory(
            atPath: scene.state, withIntermediateDirectories: false, attributes: [.posixPermissions: 0o700])
        // The first thing that is ever written to it, in a transaction of its own.
        let script = """
            import sqlite3, sys
            database = sqlite3.connect(sys.argv[1])
            database.execute("CREATE TABLE grdb_migrations (identifier TEXT NOT NULL PRIMARY KEY)")
            database.commit()
            """
        try await tool("python3", "-c", script, scene.state + "/certs.sqlite")
        try await scene.certs("rotate", exits: 0)
        #expect(try await scene.expectOneTruth().revision == 1)
    }

    @Test func `a database that another program has locked`() async throws {
        let (scene, served) = try await rotated()
        let script = """
            import sqlite3, sys, os, time
            database = sqlite3.connect(sys.argv[1], isolation_level=None)
            database.execute("BEGIN EXCLUSIVE")
            open(sys.argv[2], "w").close()
            while not os.path.exists(sys.argv[3]): time.sleep(0.02)
            """
        let (ready, stop) = (scene.directory.path("ready"), scene.directory.path("stop"))
        async let holder = Program(
            arguments: [
                "python3", try scene.directory.write(script, to: "lock.py"), scene.state + "/certs.sqlite", ready, stop,
            ]
        ).run()
        #expect(try await eventually { FileManager.default.fileExists(atPath: ready) })
        let run = try await scene.certs("rotate", "messenger", exits: 1)
        #expect((run.text + run.errors).contains("locked by another process"), "\(run.all)")
        #expect(run.seconds < 45)
        try scene.directory.write("", to: "stop")
        #expect(try await holder.status == 0)
        #expect(try await scene.served() == served)
        try await scene.certs("rotate", "messenger", exits: 0)
        try await scene.expectOneTruth()
    }
}

/// A small file system of its own over a directory, with the directory's contents.
struct Mount {
    let path: String

    init(over path: String, keeping: Bool) async throws {
        self.path = path
        let aside = path + ".aside"
        try await tool("cp", "-a", path, aside)
        try await tool("mount", "-t", "tmpfs", "-o", "size=2m,mode=0700", "tmpfs", path)
        if keeping { try await tool("/bin/sh", "-c", "cp -a \(aside)/. \(path)/") }
        try await tool("rm", "-r", aside)
    }

    func makeReadOnly() async throws { try await tool("mount", "-o", "remount,ro", path) }

    func end() async { _ = try? await tool("umount", "-l", path) }
}
