import CertsCore
import CertsStore
import Foundation
import Testing

@Suite(.timeLimit(.minutes(15))) struct `Live files` {
    let place: TemporaryDirectory
    let files = DiskFiles()
    init() throws { place = try TemporaryDirectory() }

    @Test func `are made 0600 and replaced with the attributes that they had`() async throws {
        let path = place / "server.pem"
        #expect(try await files.read(path, limit: 100) == nil)
        try await files.install(Secret("one"), at: path, attributes: nil)
        #expect(try mode(path) == 0o600)
        chmod(path, 0o640)
        if geteuid() == 0 { chown(path, 65534, 65533) }
        try await files.install(Secret("two"), at: path, attributes: nil)
        let live = try #require(try await files.read(path, limit: 100))
        #expect(live.contents.text == "two")
        #expect(live.attributes.mode == 0o640)
        if geteuid() == 0 { #expect(live.attributes == FileAttributes(mode: 0o640, owner: 65534, group: 65533)) }
        #expect(try entries(place.path) == ["server.pem"])
    }

    @Test func `get the attributes that are asked for`() async throws {
        let path = place / "server.pem"
        let wanted = FileAttributes(mode: 0o604, owner: geteuid(), group: getegid())
        try await files.install(Secret("x"), at: path, attributes: wanted)
        #expect(try await files.read(path, limit: 100)?.attributes == wanted)
    }

    @Test func `behind a link are replaced in their own place, and the link stays`() async throws {
        mkdir(place / "real", 0o700)
        try put("old", at: place / "real/server-1.pem")
        symlink("real/server-1.pem", place / "server.pem")
        try await files.install(Secret("new"), at: place / "server.pem", attributes: nil)
        #expect(try FileManager.default.destinationOfSymbolicLink(atPath: place / "server.pem") == "real/server-1.pem")
        #expect(try text(at: place / "real/server-1.pem") == "new")
        #expect(try await files.read(place / "server.pem", limit: 100)?.contents.text == "new")
        #expect(try entries(place.path) == ["real", "server.pem"])
    }

    @Test func `behind a link that leads nowhere are refused`() async throws {
        symlink("nowhere.pem", place / "server.pem")
        let error = await failure { try await files.install(Secret("new"), at: place / "server.pem", attributes: nil) }
        #expect(error?.code == .fileUnwritable)
        #expect(try await files.read(place / "server.pem", limit: 100) == nil)
        #expect(try entries(place.path) == ["server.pem"])
    }

    @Test func `are removed, also when they are gone already`() async throws {
        try await files.install(Secret("one"), at: place / "a.pem", attributes: nil)
        try await files.remove(place / "a.pem")
        try await files.remove(place / "a.pem")
        try await files.remove(place / "none/a.pem")
        #expect(try entries(place.path) == [])
    }

    @Test func `of another kind are refused without waiting`() async throws {
        mkfifo(place / "fifo", 0o600)
        mkdir(place / "directory", 0o700)
        for name in ["fifo", "directory"] {
            let reading = await failure { _ = try await files.read(place / name, limit: 100) }
            #expect(reading?.code == .fileUnreadable)
            let writing = await failure { try await files.install(Secret("x"), at: place / name, attributes: nil) }
            #expect(writing?.code == .fileUnwritable)
        }
        let device = await failure { _ = try await files.read("/dev/zero", limit: 100) }
        #expect(device?.code == .fileUnreadable)
    }

    @Test func `are read up to the limit`() async throws {
        try put(String(repeating: "x", count: 100), at: place / "a")
        #expect(try await files.read(place / "a", limit: 100)?.contents.count == 100)
        let error = await failure { _ = try await files.read(place / "a", limit: 99) }
        #expect(error?.code == .fileTooLarge)
    }

    @Test func `in a missing directory name the directory`() async throws {
        let error = await failure {
            try await files.install(Secret("x"), at: place / "no/such/server.pem", attributes: nil)
        }
        #expect(error?.code == .fileUnwritable)
        #expect(error?.hint?.contains("mkdir -p \(place / "no/such")") == true)
        #expect(try await files.read(place / "no/such/server.pem", limit: 10) == nil)
    }

    @Test(arguments: ["relative", "", "/tmp/", "/tmp/a\0b"]) func `have absolute paths`(path: String) async throws {
        let error = await failure { _ = try await files.read(path, limit: 10) }
        #expect(error?.code == .configurationInvalid)
    }

    @Test func `replace what a dead writer left, and leave no trace of it`() async throws {
        try put("half a k", at: place / ".server.pem.tmp")
        try await files.install(Secret("whole"), at: place / "server.pem", attributes: nil)
        #expect(try text(at: place / "server.pem") == "whole")
        try put("half a k", at: place / ".server.pem.tmp")
        try await files.removeLeftover(of: place / "server.pem")
        try await files.removeLeftover(of: place / "server.pem")
        #expect(try entries(place.path) == ["server.pem"])
    }

    @Test func `are whole at every instant under 8 writers and a reader`() async throws {
        let path = place / "server.pem"
        let contents = (0..<8).map { String(repeating: String($0), count: 40_000 + $0) }
        try await files.install(Secret(contents[0]), at: path, attributes: nil)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for content in contents {
                group.addTask {
                    for _ in 0..<15 { try await files.install(Secret(content), at: path, attributes: nil) }
                }
            }
            group.addTask {
                for _ in 0..<200 {
                    let seen = try #require(try await files.read(path, limit: 100_000))
                    #expect(contents.contains(seen.contents.text))
                }
            }
            try await group.waitForAll()
        }
        #expect(contents.contains(try text(at: path)))
        #expect(try entries(place.path) == ["server.pem"])
    }
}

@Suite struct `The walk of a scan` {
    let place: TemporaryDirectory
    let walker = FileWalker()
    init() throws { place = try TemporaryDirectory() }

    @Test func `finds the files by their endings, sorted, with the stamps of their contents`() async throws {
        mkdir(place / "b", 0o700)
        for name in ["z.pem", "b/a.crt", "b/notes.txt", ".pem"] { try put(name, at: place / name) }
        let tree = try await walker.walk(place.path, suffixes: [".pem", ".crt"], limits: WalkLimits())
        #expect(tree.files.map(\.path) == [place / "b/a.crt", place / "z.pem"])
        #expect(tree.problems == [])
        let read = try await walker.read(place / "z.pem", limit: 100)
        #expect(read.stamp == tree.files[1].stamp)
        #expect(read.contents.text == "z.pem")
        let all = try await walker.walk(place.path, suffixes: [], limits: WalkLimits())
        #expect(all.files.count == 4)
    }

    @Test func `sees each change of a file in its stamp`() async throws {
        let path = place / "a.pem"
        try put("one", at: path)
        let before = try await walker.walk(path, suffixes: [], limits: WalkLimits()).files
        #expect(try await walker.walk(path, suffixes: [], limits: WalkLimits()).files == before)
        try await DiskFiles().install(Secret("two"), at: path, attributes: nil)
        #expect(try await walker.walk(path, suffixes: [], limits: WalkLimits()).files != before)
    }

    @Test func `follows a link to a file, but none to a directory, and does not go round in circles`() async throws {
        mkdir(place / "in", 0o700)
        try put("xyz", at: place / "outside.pem")
        try put("x", at: place / "in/a.pem")
        symlink("../outside.pem", place / "in/link.pem")
        symlink("..", place / "in/loop")
        symlink("..", place / "in/loop.pem")
        symlink("in", place / "root")
        let tree = try await walker.walk(place / "root", suffixes: [], limits: WalkLimits())
        #expect(tree.files.map(\.path) == [place / "root/a.pem", place / "root/link.pem"])
        // The stamp is that of the file: the link does not change when the file does.
        #expect(tree.files[1].stamp.size == 3)
        #expect(try await walker.read(place / "in/link.pem", limit: 100).contents.text == "xyz")
        #expect(tree.directories == [place / "root"])
    }

    @Test func `tells what is named like a file and is none`() async throws {
        mkdir(place / "dir.pem", 0o700)
        try put("x", at: place / "dir.pem/in.pem")
        symlink("nowhere", place / "dangling.pem")
        symlink("round.pem", place / "round.pem")
        symlink("nowhere", place / "no-certificate")
        mkfifo(place / "fifo.pem", 0o600)
        try put("x", at: place / "new\nline.pem")
        let raw = Array((place.path + "/").utf8) + [0xff] + Array(".pem".utf8) + [0]
        close(
            raw.withUnsafeBufferPointer { bytes in
                bytes.withMemoryRebound(to: CChar.self) { open($0.baseAddress!, O_CREAT | O_WRONLY, 0o600) }
            })
        let tree = try await walker.walk(place.path, suffixes: [".pem"], limits: WalkLimits())
        #expect(tree.files.map(\.path) == [place / "dir.pem/in.pem"])
        let found = Dictionary(grouping: tree.problems, by: \.failure.reason).mapValues(\.count)
        #expect(found == [.notRegular: 2, .danglingLink: 2, .badName: 2])
        await #expect(throws: WatchFailure.self) { try await walker.read(place / "fifo.pem", limit: 100) }
        let flat = try await walker.walk(place.path, suffixes: [".pem"], limits: WalkLimits(isRecursive: false))
        #expect(flat.files.isEmpty)
    }

    @Test func `notifications tell of a change soon, and of nothing else`() async throws {
        let notifications = try DirectoryInotify()
        await notifications.watch([place.path, place / "none"])
        #expect(await !notifications.changed(within: .milliseconds(20)))
        try put("x", at: place / "a.pem")
        #expect(await notifications.changed(within: .seconds(5)))
        await notifications.watch([])
        _ = await notifications.changed(within: .milliseconds(20))
        try put("y", at: place / "b.pem")
        #expect(await !notifications.changed(within: .milliseconds(50)))
    }

    @Test func `ends at its limits and says so`() async throws {
        for depth in 1...4 { mkdir(place / Array(repeating: "d", count: depth).joined(separator: "/"), 0o700) }
        for index in 0..<20 { try put("x", at: place / "d/d/f\(index)") }
        let shallow = try await walker.walk(place.path, suffixes: [], limits: WalkLimits(entries: 100, depth: 1))
        #expect(shallow.files.isEmpty)
        #expect(shallow.problems.count == 1)
        let short = try await walker.walk(place.path, suffixes: [], limits: WalkLimits(entries: 10, depth: 9))
        #expect(short.files.count <= 10)
        #expect(short.problems.count == 1)
    }

    @Test func `says what is missing`() async throws {
        let tree = try await walker.walk(place / "none", suffixes: [], limits: WalkLimits())
        #expect(tree.rootFailure?.reason == .notFound)
        await #expect(throws: CertsError.self) {
            try await walker.walk("relative", suffixes: [], limits: WalkLimits())
        }
    }
}
