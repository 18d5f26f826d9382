import CertsCore
import CertsStore
import Foundation
import Testing

@Suite struct `Opening the state directory` {
    let place: TemporaryDirectory
    init() throws { place = try TemporaryDirectory() }

    @Test func `makes it with mode 0700`() async throws {
        let state = try await place.state()
        #expect(try mode(state.path) == 0o700)
        _ = try await StateDirectory.open(at: state.path + "/", create: false)
    }

    @Test func `says how to make one that is missing`() async throws {
        let error = await failure { _ = try await StateDirectory.open(at: place / "none", create: false) }
        #expect(error?.code == .fileMissing)
        #expect(error?.hint?.contains("certs init") == true)
    }

    @Test func `says that the parent is missing`() async throws {
        let error = await failure { _ = try await StateDirectory.open(at: place / "a/b/c", create: true) }
        #expect(error?.code == .fileMissing)
        #expect(error?.message.contains(place / "a/b") == true)
    }

    @Test(arguments: [0o755, 0o750, 0o701, 0o777, 0o720])
    func `refuses access by group or others, with the command that closes it`(bits: Int) async throws {
        _ = try await place.state()
        chmod(place / "state", mode_t(bits))
        let error = await failure { _ = try await StateDirectory.open(at: place / "state", create: true) }
        #expect(error?.code == .stateInsecure)
        #expect(error?.hint?.contains("chmod 700 \(place / "state")") == true)
    }

    @Test(arguments: ["", "/", "//"])
    func `refuses a link, also with a trailing slash`(ending: String) async throws {
        _ = try await place.state()
        symlink(place / "state", place / "link")
        let error = await failure { _ = try await StateDirectory.open(at: place / "link" + ending, create: true) }
        #expect(error?.code == .stateInsecure)
        #expect(error?.message.contains(place / "link") == true)
    }

    @Test func `refuses a file in its place`() async throws {
        try put("x", at: place / "state")
        let error = await failure { _ = try await StateDirectory.open(at: place / "state", create: true) }
        #expect(error?.code == .stateInsecure)
    }

    @Test func `refuses the directory of another user`() async throws {
        try #require(geteuid() == 0, "this test changes an owner and needs root")
        _ = try await place.state()
        chown(place / "state", 65534, 65534)
        let error = await failure { _ = try await StateDirectory.open(at: place / "state", create: false) }
        #expect(error?.code == .stateInsecure)
        #expect(error?.message.contains("65534") == true)
    }

    @Test(arguments: ["live", "authorities", "accounts", "handoff"])
    func `refuses a link below it`(name: String) async throws {
        let state = try await place.state()
        mkdir(place / "outside", 0o700)
        symlink(place / "outside", "\(state.path)/\(name)")
        let error = await failure { _ = try await StateDirectory.open(at: state.path, create: false) }
        #expect(error?.code == .stateInsecure)
        #expect(error?.message.contains("\(state.path)/\(name)") == true)
    }

    @Test(arguments: ["relative/path", "", "/"])
    func `refuses a path that cannot be one`(path: String) async throws {
        let error = await failure { _ = try await StateDirectory.open(at: path, create: true) }
        #expect(error?.code == .configurationInvalid)
    }
}

@Suite struct `Revisions on disk` {
    let place: TemporaryDirectory
    let state: StateDirectory
    let name: Name

    init() async throws {
        place = try TemporaryDirectory()
        state = try await place.state()
        name = try Name("messenger")
    }

    var live: String { "\(state.path)/live/messenger" }

    @Test func `come back as they were written, 0600 in 0700 directories`() async throws {
        let target = try Name("lb")
        let files: [RevisionFile] = [
            .key(nil), .request(nil), .certificate(nil), .chain(nil), .bundle(nil), .manifest, .key(.rsa),
            .bundle(.ecdsa), .companion(.ocsp, nil), .companion(.issuer, .rsa), .previous(NodeID(target), 0),
            .previous(NodeID(target, node: target), 0), .previous(NodeID(target, node: target), 1),
        ]
        umask(0)
        for file in files {
            try await state.write(Secret("content of \(file.fileName)"), to: file, of: name, revision: 7)
        }
        for file in files {
            #expect(try await state.read(file, of: name, revision: 7)?.text == "content of \(file.fileName)")
            #expect(try mode("\(live)/7/\(file.fileName)") == 0o600)
        }
        #expect(try mode(live) == 0o700)
        #expect(try mode("\(live)/7") == 0o700)
        #expect(try entries("\(live)/7").count == files.count)
        umask(0o022)
    }

    @Test func `are nothing where nothing was written`() async throws {
        #expect(try await state.revisions(of: name) == [])
        #expect(try await state.currentRevision(of: name) == nil)
        #expect(try await state.read(.key(nil), of: name, revision: 1) == nil)
    }

    @Test func `are listed in numerical order, and other entries are ignored`() async throws {
        for revision in [10, 2, 1] { try await state.write(Secret("x"), to: .key(nil), of: name, revision: revision) }
        mkdir("\(live)/03", 0o700)
        mkdir("\(live)/+4", 0o700)
        try put("x", at: "\(live)/5")
        #expect(try await state.revisions(of: name) == [1, 2, 10])
    }

    @Test func `become current by one switch, again and again`() async throws {
        for revision in 1...3 { try await state.write(Secret("x"), to: .key(nil), of: name, revision: revision) }
        for revision in [1, 3, 2] {
            try await state.makeCurrent(revision, of: name)
            #expect(try await state.currentRevision(of: name) == revision)
            #expect(try FileManager.default.destinationOfSymbolicLink(atPath: "\(live)/current") == String(revision))
        }
        #expect(try entries(live) == ["1", "2", "3", "current"])
    }

    @Test func `become current although a dead process left its temporary link`() async throws {
        try await state.write(Secret("x"), to: .key(nil), of: name, revision: 1)
        symlink("99", "\(live)/.current.tmp")
        try await state.makeCurrent(1, of: name)
        #expect(try await state.currentRevision(of: name) == 1)
        #expect(try entries(live) == ["1", "current"])
    }

    @Test func `that do not exist do not become current`() async throws {
        let error = await failure { try await state.makeCurrent(4, of: name) }
        #expect(error?.code == .nameUnknown)
    }

    @Test(arguments: [
        "0", "-1", "x", "1/../../../etc", "01", "/etc", "99999999999999999999", String(repeating: "1", count: 200),
    ])
    func `are corrupt when 'current' leads to no number`(destination: String) async throws {
        try await state.write(Secret("x"), to: .key(nil), of: name, revision: 1)
        symlink(destination, "\(live)/current")
        let error = await failure { _ = try await state.currentRevision(of: name) }
        #expect(error?.code == .stateCorrupt)
    }

    @Test func `are corrupt when 'current' is a file`() async throws {
        try await state.write(Secret("x"), to: .key(nil), of: name, revision: 1)
        try put("1", at: "\(live)/current")
        let error = await failure { _ = try await state.currentRevision(of: name) }
        #expect(error?.code == .stateCorrupt)
    }

    @Test func `are discarded whole, but never the current one`() async throws {
        for revision in 1...2 { try await state.write(Secret("x"), to: .key(nil), of: name, revision: revision) }
        try put("half", at: "\(live)/2/.bundle.pem.tmp")
        try await state.makeCurrent(1, of: name)
        try await state.discard(2, of: name)
        try await state.discard(2, of: name)
        let error = await failure { try await state.discard(1, of: name) }
        #expect(error != nil)
        #expect(try await state.revisions(of: name) == [1])
        #expect(try await state.read(.key(nil), of: name, revision: 1)?.text == "x")
    }

    @Test func `that were never issued and belong to no open rotation are orphans`() async throws {
        for revision in 1...4 { try await state.write(Secret("k"), to: .key(nil), of: name, revision: revision) }
        try await state.write(Secret("{}"), to: .manifest, of: name, revision: 1)
        try await state.makeCurrent(4, of: name)
        let open = try Sample.rotation(id: "r", name, revision: 3)
        let orphans = try await state.orphanedRevisions(openRotations: [open])
        #expect(orphans == [OrphanedRevision(certificate: name, revision: 2)])
    }

    @Test func `are not read beyond the size limit`() async throws {
        try await state.write(Secret("x"), to: .key(nil), of: name, revision: 1)
        try run("/usr/bin/truncate", "-s", "50M", "\(live)/1/key.pem")
        let error = await failure { _ = try await state.read(.key(nil), of: name, revision: 1) }
        #expect(error?.code == .fileTooLarge)
    }
}

@Suite struct `Links and devices planted in the state directory` {
    let place: TemporaryDirectory
    let state: StateDirectory
    let name: Name

    init() async throws {
        place = try TemporaryDirectory()
        state = try await place.state()
        name = try Name("messenger")
        try await state.write(Secret("secret"), to: .key(nil), of: name, revision: 1)
        mkdir(place / "outside", 0o700)
        mkdir(place / "outside/1", 0o700)
        try put("foreign", at: place / "outside/key.pem")
        try put("foreign", at: place / "outside/1/key.pem")
    }

    @Test(arguments: ["live", "live/messenger", "live/messenger/1"])
    func `are refused as a directory, by name, for reading and writing`(planted: String) async throws {
        let path = "\(state.path)/\(planted)"
        rename(path, place / "moved")
        symlink(place / "outside", path)
        let reading = await failure { _ = try await state.read(.key(nil), of: name, revision: 1) }
        let writing = await failure { try await state.write(Secret("x"), to: .bundle(nil), of: name, revision: 1) }
        for error in [reading, writing] {
            #expect(error?.code == .stateInsecure)
            #expect(error?.message.contains(path) == true)
        }
        #expect(try entries(place / "outside") == ["1", "key.pem"])
    }

    @Test func `are refused as a file for reading, and replaced by writing`() async throws {
        let path = "\(state.path)/live/messenger/1/key.pem"
        unlink(path)
        symlink(place / "outside/key.pem", path)
        let error = await failure { _ = try await state.read(.key(nil), of: name, revision: 1) }
        #expect(error?.code == .stateInsecure)
        try await state.write(Secret("new"), to: .key(nil), of: name, revision: 1)
        #expect(try await state.read(.key(nil), of: name, revision: 1)?.text == "new")
        #expect(try text(at: place / "outside/key.pem") == "foreign")
    }

    @Test func `are not written through as a temporary file`() async throws {
        symlink(place / "outside/key.pem", "\(state.path)/live/messenger/1/.key.pem.tmp")
        try await state.write(Secret("new"), to: .key(nil), of: name, revision: 1)
        #expect(try text(at: place / "outside/key.pem") == "foreign")
        #expect(try await state.read(.key(nil), of: name, revision: 1)?.text == "new")
    }

    @Test(.timeLimit(.minutes(15))) func `do not make a reader wait for a FIFO`() async throws {
        let path = "\(state.path)/live/messenger/1/key.pem"
        unlink(path)
        mkfifo(path, 0o600)
        let error = await failure { _ = try await state.read(.key(nil), of: name, revision: 1) }
        #expect(error?.code == .fileUnreadable)
    }

    @Test(.timeLimit(.minutes(15))) func `do not make a writer wait for a FIFO as temporary file`() async throws {
        mkfifo("\(state.path)/live/messenger/1/.key.pem.tmp", 0o600)
        try await state.write(Secret("new"), to: .key(nil), of: name, revision: 1)
        #expect(try await state.read(.key(nil), of: name, revision: 1)?.text == "new")
    }

    @Test func `do not survive in place of a hard-linked file's contents`() async throws {
        let path = "\(state.path)/live/messenger/1/key.pem"
        unlink(path)
        link(place / "outside/key.pem", path)
        try await state.write(Secret("new"), to: .key(nil), of: name, revision: 1)
        #expect(try text(at: place / "outside/key.pem") == "foreign")
    }

    @Test func `are refused as a revision and as the database`() async throws {
        symlink(place / "outside/1", "\(state.path)/live/messenger/2")
        let listing = await failure { _ = try await state.revisions(of: name) }
        #expect(listing?.code == .stateInsecure)
        for suffix in ["", "-wal", "-shm", "-journal"] {
            let path = "\(state.path)/certs.sqlite\(suffix)"
            symlink(place / "outside/db", path)
            let error = await failure { _ = try await Database.open(in: state) }
            #expect(error?.code == .stateInsecure)
            unlink(path)
        }
        #expect(try entries(place / "outside") == ["1", "key.pem"])
    }
}

@Suite struct `Files of issuers` {
    let place: TemporaryDirectory
    let state: StateDirectory
    let name: Name

    init() async throws {
        place = try TemporaryDirectory()
        state = try await place.state()
        name = try Name("local")
    }

    @Test(arguments: IssuerArea.allCases)
    func `come back as written, and are gone when removed`(area: IssuerArea) async throws {
        #expect(try await state.read("root.pem", of: name, in: area) == nil)
        try await state.remove("root.pem", of: name, in: area)
        try await state.write(Secret("root"), to: "root.pem", of: name, in: area)
        #expect(try await state.read("root.pem", of: name, in: area)?.text == "root")
        #expect(try mode("\(state.path)/\(area.rawValue)/local/root.pem") == 0o600)
        try await state.remove("root.pem", of: name, in: area)
        #expect(try await state.read("root.pem", of: name, in: area) == nil)
    }

    @Test(arguments: [
        "", ".", "..", "../x", "a/b", "/etc/passwd", ".hidden", "a\0b", "ä.pem", String(repeating: "a", count: 101),
    ])
    func `have plain names`(file: String) async throws {
        let reading = await failure { _ = try await state.read(file, of: name, in: .authorities) }
        let writing = await failure { try await state.write(Secret("x"), to: file, of: name, in: .authorities) }
        let removing = await failure { try await state.remove(file, of: name, in: .authorities) }
        #expect([reading?.code, writing?.code, removing?.code] == [.nameInvalid, .nameInvalid, .nameInvalid])
    }
}

@Suite struct `Leftovers of dead processes` {
    @Test func `are removed at every level, and nothing else is`() async throws {
        let place = try TemporaryDirectory()
        let state = try await place.state()
        let name = try Name("messenger")
        try await state.write(Secret("x"), to: .key(nil), of: name, revision: 1)
        try await state.write(Secret("x"), to: "root.pem", of: name, in: .authorities)
        let kept = [
            "live/messenger/1/key.pem", "authorities/messenger/root.pem", "live/messenger/1/notes.tmp",
            "live/messenger/.hidden",
        ]
        for path in kept.suffix(2) { try put("mine", at: "\(state.path)/\(path)") }
        let left = [".x.tmp", "live/messenger/1/.key.pem.tmp", "authorities/messenger/.root.pem.tmp"]
        for path in left { try put("half", at: "\(state.path)/\(path)") }
        symlink("9", "\(state.path)/live/messenger/.current.tmp")
        let busy = "live/messenger/1/.bundle.pem.tmp"
        try put("being written", at: "\(state.path)/\(busy)")
        let writer = try LockHolder(directory: "\(state.path)/\(busy)")
        try await state.removeLeftovers()
        for path in kept + [busy] { #expect(access("\(state.path)/\(path)", F_OK) == 0, "\(path)") }
        for path in left { #expect(access("\(state.path)/\(path)", F_OK) != 0, "\(path)") }
        #expect(try entries("\(state.path)/live/messenger") == [".hidden", "1"])
        writer.die()
        try await state.removeLeftovers()
        #expect(access("\(state.path)/\(busy)", F_OK) != 0)
    }
}
