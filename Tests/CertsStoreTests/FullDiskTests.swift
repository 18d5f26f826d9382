import CertsCore
import CertsStore
import Foundation
import Testing

/// A small file system of its own, unmounted and removed when the value is released. Without root the test fails.
final class SmallDisk {
    let place: TemporaryDirectory
    var path: String { place / "disk" }

    init(options: String) throws {
        place = try TemporaryDirectory()
        mkdir(place / "disk", 0o700)
        try run("/bin/mount", "-t", "tmpfs", "-o", "mode=700,\(options)", "tmpfs", place / "disk")
    }

    func fill() {
        let file = open("\(path)/filler", O_WRONLY | O_CREAT, 0o600)
        let block = [UInt8](repeating: 1, count: 512)
        while write(file, block, block.count) > 0 {}
        close(file)
    }

    deinit { try? run("/bin/umount", "-l", path) }
}

@Suite(.serialized) struct `A disk that takes nothing more` {
    @Test func `when full, keeps the old file and leaves no temporary one`() async throws {
        let disk = try SmallDisk(options: "size=64k")
        let path = disk.path + "/server.pem"
        try await DiskFiles().install(Secret("old"), at: path, attributes: nil)
        disk.fill()
        let error = await failure {
            try await DiskFiles().install(Secret(String(repeating: "n", count: 20_000)), at: path, attributes: nil)
        }
        #expect(error?.code == .fileUnwritable)
        #expect(error?.retry == .later)
        #expect(error?.message.contains(path) == true)
        #expect(error?.message.contains("no space") == true)
        #expect(error?.hint?.contains("df ") == true)
        #expect(try text(at: path) == "old")
        #expect(try entries(disk.path) == ["filler", "server.pem"])
    }

    @Test func `when out of inodes, keeps the old file`() async throws {
        let disk = try SmallDisk(options: "size=1m,nr_inodes=3")
        try await DiskFiles().install(Secret("old"), at: disk.path + "/a", attributes: nil)
        try put("x", at: disk.path + "/b")
        let error = await failure {
            try await DiskFiles().install(Secret("new"), at: disk.path + "/a", attributes: nil)
        }
        #expect(error?.code == .fileUnwritable)
        #expect(error?.hint?.contains("df -i") == true)
        #expect(try text(at: disk.path + "/a") == "old")
    }

    @Test func `when full, lets no journal entry be reported as recorded`() async throws {
        let disk = try SmallDisk(options: "size=512k")
        let state = try await StateDirectory.open(at: disk.path, create: false)
        let database = try await Database.open(in: state)
        let name = try Name("messenger")
        try await database.record(try Sample.rotation(id: "first", name))
        disk.fill()
        var refused: CertsError?
        var recorded = 1
        for index in 0..<200 where refused == nil {
            do {
                try await database.record(try Sample.rotation(id: "r\(index)", name))
                recorded += 1
            } catch {
                refused = CertsError.wrapping(error)
            }
        }
        #expect(refused?.code == .fileUnwritable)
        #expect(try await database.openRotations().count == recorded)
        unlink(disk.path + "/filler")
        try await database.record(try Sample.rotation(id: "after", name))
        #expect(try await database.openRotations().count == recorded + 1)
    }

    @Test func `when read-only, refuses the state directory and the live file`() async throws {
        let disk = try SmallDisk(options: "size=2m")
        let state = try await StateDirectory.open(at: disk.path, create: false)
        let name = try Name("messenger")
        try await state.write(Secret("old"), to: .key(nil), of: name, revision: 1)
        let database = try await Database.open(in: state)
        try await database.record(try Sample.rotation(id: "first", name))
        // SQLite has the file open for writing, so that a plain remount would be refused as busy.
        _ = consume database
        try await remountReadOnly(disk)
        let opening = await failure { _ = try await StateDirectory.open(at: disk.path, create: true) }
        let writing = await failure { try await state.write(Secret("new"), to: .key(nil), of: name, revision: 1) }
        let installing = await failure {
            try await DiskFiles().install(Secret("x"), at: disk.path + "/a", attributes: nil)
        }
        let indexing = await failure { _ = try await Database.open(in: state) }
        for error in [opening, writing, installing, indexing] { #expect(error?.code == .fileUnwritable) }
        #expect(opening?.message.contains("read-only") == true)
        #expect(try await state.read(.key(nil), of: name, revision: 1)?.text == "old")
    }

    private func remountReadOnly(_ disk: SmallDisk) async throws {
        // A child that another test starts holds our open files until its exec: the mount is busy for a moment.
        for _ in 0..<100 {
            if (try? run("/bin/mount", "-o", "remount,ro", disk.path)) != nil { return }
            try await Task.sleep(for: .milliseconds(50))
        }
        try run("/bin/mount", "-o", "remount,ro", disk.path)
    }

    @Test func `when immutable, says how to look at it`() async throws {
        let place = try TemporaryDirectory()
        let state = try await place.state()
        try run("/usr/bin/chattr", "+i", state.path)
        let error = await failure { _ = try await StateDirectory.open(at: state.path, create: false) }
        try run("/usr/bin/chattr", "-i", state.path)
        #expect(error?.code == .fileUnwritable)
        #expect(error?.hint?.contains("lsattr") == true)
    }
}
