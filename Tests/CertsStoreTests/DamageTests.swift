import CertsCore
import CertsStore
import Foundation
import Testing

/// A child that opens the database and holds `BEGIN EXCLUSIVE` until it is killed.
private func exclusiveHolder(of path: String) throws -> Process {
    let script = """
        import sqlite3, sys, time
        c = sqlite3.connect(sys.argv[1], isolation_level=None)
        c.execute("BEGIN EXCLUSIVE")
        print("held", flush=True)
        time.sleep(600)
        """
    let process = Process()
    let output = Pipe()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = ["python3", "-c", script, path]
    process.standardOutput = output
    try process.run()
    guard String(decoding: output.fileHandleForReading.availableData, as: UTF8.self).hasPrefix("held") else {
        throw ShellFailure(text: "the other process did not lock the database")
    }
    return process
}

private func sql(_ path: String, _ statement: String) throws {
    try run(
        "/usr/bin/env", "python3", "-c",
        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute(sys.argv[2]); c.commit(); c.close()", path,
        statement)
}

@Suite(.timeLimit(.minutes(15))) struct `A damaged, locked or foreign database` {
    let place: TemporaryDirectory
    let state: StateDirectory
    let name: Name

    init() async throws {
        place = try TemporaryDirectory()
        state = try await place.state()
        name = try Name("messenger")
    }

    var path: String { "\(state.path)/certs.sqlite" }

    private func filled() async throws -> [CertificateState] {
        let database = try await Database.open(in: state)
        for number in 1...40 {
            try await database.save(try Sample.state(try Name("c\(number)"), number: number))
            try await database.record(try Sample.failed(id: "r\(number)", name))
        }
        return try await database.states()
    }

    /// Reads everything.
    private func use() async throws -> [CertificateState] {
        let database = try await Database.open(in: state)
        try await database.checkIntegrity()
        _ = try await database.openRotations()
        _ = try await database.history(of: nil, limit: 1000)
        _ = try await database.tallies()
        try await database.save(TaskRecord(name: "t"))
        return try await database.states()
    }

    @Test(arguments: 0..<16) func `overwritten at one of 16 places is reported or still whole, and is made again`(
        part: Int
    ) async throws {
        let before = try await filled()
        var bytes = try Data(contentsOf: URL(fileURLWithPath: path))
        let size = bytes.count
        let offset = size / 16 * part
        for index in offset..<min(size, offset + 256) { bytes[index] = UInt8(truncatingIfNeeded: index &* 31 &+ 7) }
        try bytes.write(to: URL(fileURLWithPath: path))
        do {
            // 256 bytes within one value's text cannot be told from other text: then at least the count is right.
            #expect(try await use().count == before.count)
        } catch {
            let error = CertsError.wrapping(error)
            #expect(error.code == .stateCorrupt, "\(error)")
            #expect(error.hint?.contains("certs status --rebuild") == true)
        }
        let rebuilt = try await Database.rebuild(in: state, now: Sample.start)
        #expect(try await rebuilt.database.states() == [])
        #expect(rebuilt.movedAside.map { access($0, F_OK) } == 0)
    }

    @Test(arguments: [
        "garbage that is no database at all, but long enough for its header to be looked at by everyone ......",
        "SQLite format 3\0",
    ])
    func `that is something else is reported`(text: String) async throws {
        try put(text, at: path)
        let error = await failure { _ = try await use() }
        #expect(error?.code == .stateCorrupt)
        #expect(try await Database.rebuild(in: state, now: Sample.start).certificates == 0)
    }

    @Test func `that was truncated is reported`() async throws {
        _ = try await filled()
        // The connection closes with its last reference, and writes its log into the file then.
        for _ in 0..<1000 where access(path + "-wal", F_OK) == 0 { try await Task.sleep(for: .milliseconds(10)) }
        truncate(path, 5000)
        let error = await failure { _ = try await use() }
        #expect(error?.code == .stateCorrupt)
    }

    @Test func `that is empty is a new one`() async throws {
        try put("", at: path)
        #expect(try await use() == [])
    }

    @Test func `of another program is left alone`() async throws {
        try sql(path, "CREATE TABLE theirs (x)")
        let error = await failure { _ = try await use() }
        #expect(error?.code == .stateCorrupt)
        #expect(error?.message.contains("another program") == true)
    }

    @Test func `of a newer version is left alone`() async throws {
        _ = try await filled()
        try sql(path, "INSERT INTO grdb_migrations VALUES ('99')")
        let error = await failure { _ = try await use() }
        #expect(error?.code == .stateNewer)
        #expect(error?.message.contains(path) == true)
    }

    @Test func `with rows that cannot be read is reported, without their contents`() async throws {
        _ = try await filled()
        try sql(path, "UPDATE certificate SET packed = x'0102030405060708ffffffffffffffff'")
        let error = await failure { _ = try await use() }
        #expect(error?.code == .stateCorrupt)
    }

    @Test func `locked by another process is busy, and free again when that one is killed`() async throws {
        _ = try await filled()
        let holder = try exclusiveHolder(of: path)
        let opening = await failure {
            let database = try await Database.open(in: state, patience: .milliseconds(50))
            try await database.record(try Sample.rotation(id: "secret-id", name))
        }
        #expect(opening?.code == .stateBusy)
        #expect(opening?.retry == .later)
        #expect(opening?.description.contains("secret-id") == false)
        kill(holder.processIdentifier, SIGKILL)
        holder.waitUntilExit()
        #expect(try await use().count == 40)
    }
}

@Suite struct `A database made again from the files` {
    @Test func `knows what it knew, and quarantines what it cannot read`() async throws {
        let place = try TemporaryDirectory()
        let state = try await place.state()
        let database = try await Database.open(in: state)
        var expected: [CertificateState] = []
        for (number, text) in ["alpha", "beta"].enumerated() {
            let name = try Name(text)
            var known = CertificateState(name: name)
            for revision in 1...3 {
                let rotation = Sample.committed(id: "\(text)-\(revision)", name, revision: revision)
                var manifest = RevisionManifest(
                    certificate: name, revision: revision, requested: try Sample.requested(),
                    records: [Sample.record(number * 10 + revision)], issuedAt: Sample.start)
                if revision < 3 { manifest.rotation = rotation }
                try await state.write(try manifest.encoded(), to: .manifest, of: name, revision: revision)
                known.issuedRevision = revision
                known.record = manifest.record
                known.requested = manifest.requested
                if revision < 3 {
                    try await state.makeCurrent(revision, of: name)
                    known.revision = revision
                    known.currentRecord = manifest.record
                    known.lastSuccessAt = rotation.endedAt
                    try await database.close(rotation, state: known)
                }
            }
            try await database.save(known)
            expected.append(known)
        }
        let history = try await database.history(of: nil, limit: 100)
        let broken = "\(state.path)/live/gamma"
        try await state.write(Secret("{"), to: .manifest, of: try Name("gamma"), revision: 1)
        let beta = try await state.read(.manifest, of: try Name("beta"), revision: 1)
        try await state.write(try #require(beta), to: .manifest, of: try Name("gamma"), revision: 2)
        symlink("nothing", "\(broken)/current")
        try await state.write(Secret("key only"), to: .key(nil), of: try Name("delta"), revision: 1)

        let rebuilt = try await Database.rebuild(in: state, now: Sample.start)
        #expect(try await rebuilt.database.states() == expected)
        #expect(try await rebuilt.database.history(of: nil, limit: 100) == history)
        #expect(rebuilt.certificates == 2)
        #expect(rebuilt.revisions == 6)
        #expect(
            rebuilt.quarantined.map(\.path) == [
                "\(broken)/1/revision.json", "\(broken)/2/revision.json", "\(broken)/current",
            ])
        #expect(rebuilt.quarantined.allSatisfy { !$0.reason.isEmpty })
        #expect(rebuilt.movedAside == "\(state.path)/certs.sqlite.corrupt-1800000000")
        let error = await failure { try await database.save(expected[0]) }
        #expect(error?.code == .stateBusy)
        let again = try await Database.rebuild(in: state, now: Sample.start)
        #expect(again.movedAside == "\(state.path)/certs.sqlite.corrupt-1800000000-2")
        #expect(try await again.database.states() == expected)
    }

    /// What somebody went back from, and what was revoked, is not to be served because the database is new.
    @Test(arguments: [
        ("", 1, "rollback", 60.0, 1), ("", 1, "deploy", 60, 1), ("", 1, "rollback", 15, 3), ("", 1, "issue", 60, 3),
        ("3", 1, "issue", 15, 2), ("23", 1, "issue", 15, 1), ("123", 1, "issue", 15, 1), ("3", 2, "issue", 25, 2),
    ])
    func `has for issued what is to be served`(
        _ revoked: String, _ current: Int, _ purpose: String, _ endedAfter: Double, _ issued: Int
    ) async throws {
        let purpose = try #require(Rotation.Purpose(rawValue: purpose))
        let place = try TemporaryDirectory()
        let state = try await place.state()
        let name = try Name("alpha")
        for revision in 1...3 {
            let issuedAt = Sample.start.addingTimeInterval(Double(revision) * 10)
            var manifest = RevisionManifest(
                certificate: name, revision: revision, requested: try Sample.requested(),
                records: [Sample.record(revision)], issuedAt: issuedAt)
            if revision == current {
                var rotation = Rotation(
                    id: "a", certificate: name, revision: revision, purpose: purpose, reason: .requested,
                    deployments: [], startedAt: issuedAt)
                while !rotation.isFinished { rotation.complete(at: Sample.start.addingTimeInterval(endedAfter)) }
                manifest.rotation = rotation
            }
            if revoked.contains(String(revision)) {
                manifest.revocation = Revocation(at: Sample.start.addingTimeInterval(90), reason: .unspecified)
            }
            try await state.write(try manifest.encoded(), to: .manifest, of: name, revision: revision)
        }
        try await state.makeCurrent(current, of: name)
        let known = try #require(
            try await Database.rebuild(in: state, now: Sample.start).database.state(of: name))
        #expect((known.revision, known.issuedRevision) == (current, issued))
        #expect(known.record == Sample.record(issued))
    }

    /// As it was written while a certificate had one key and a target was one HAProxy.
    @Test func `reads a manifest of the earlier form`() async throws {
        let place = try TemporaryDirectory()
        let state = try await place.state()
        let name = try Name("alpha")
        let manifest = RevisionManifest(
            certificate: name, revision: 1, requested: try Sample.requested(), records: [Sample.record()],
            issuedAt: Sample.start)
        var json = try #require(
            try JSONSerialization.jsonObject(with: manifest.encoded().withBytes { Data($0) }) as? [String: Any])
        json["record"] = (json.removeValue(forKey: "records") as? [Any])?.first
        var requested = try #require(json["requested"] as? [String: Any])
        requested["keyAlgorithm"] = "rsa-2048"
        requested.removeValue(forKey: "keyAlgorithms")
        json["requested"] = requested
        json["rotation"] = ["id": "an older one"]
        let old = Secret(copying: try JSONSerialization.data(withJSONObject: json))
        try await state.write(old, to: .manifest, of: name, revision: 1)

        let rebuild = try await Database.rebuild(in: state, now: Sample.start)
        #expect(rebuild.quarantined.isEmpty)
        let known = try #require(try await rebuild.database.state(of: name))
        #expect(known.record == Sample.record())
        #expect(known.requested?.keyAlgorithms == [.rsa2048])
    }

    @Test(arguments: 0..<64) func `survives a flipped bit in a manifest`(place part: Int) async throws {
        let place = try TemporaryDirectory()
        let state = try await place.state()
        let name = try Name("alpha")
        var manifest = RevisionManifest(
            certificate: name, revision: 1, requested: try Sample.requested(), records: [Sample.record()],
            issuedAt: Sample.start)
        manifest.rotation = Sample.committed(id: "a", name, revision: 1)
        var bytes = try manifest.encoded().withBytes { Array($0) }
        bytes[bytes.count * part / 64] ^= UInt8(1 << (part % 7))
        try await state.write(Secret(copying: bytes), to: .manifest, of: name, revision: 1)
        let rebuilt = try await Database.rebuild(in: state, now: Sample.start)
        #expect(rebuilt.certificates + rebuilt.quarantined.count == 1)
        #expect(try await state.read(.manifest, of: name, revision: 1)?.count == bytes.count)
    }
}
