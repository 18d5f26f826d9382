import CertsCore
import CertsStore
import Foundation
import Testing

@Suite(.timeLimit(.minutes(15))) struct `The database` {
    let place: TemporaryDirectory
    let state: StateDirectory
    let database: Database
    let name: Name

    init() async throws {
        place = try TemporaryDirectory()
        state = try await place.state()
        database = try await Database.open(in: state)
        name = try Name("messenger")
    }

    @Test func `is 0600, whatever the umask`() throws {
        #expect(try mode(database.path) == 0o600)
        #expect(try mode(database.path + "-wal") == 0o600)
    }

    @Test func `keeps an open rotation as it was recorded last, oldest first`() async throws {
        var rotation = try Sample.rotation(id: "b", name, startedAt: Sample.start.addingTimeInterval(5))
        try await database.record(rotation)
        try await database.record(try Sample.rotation(id: "a", name))
        rotation.complete(at: Sample.start)
        rotation.hold(ResumeHandle("https://ca.example.com/order/1"))
        try await database.record(rotation)
        let other = try await Database.open(in: state)
        #expect(try await other.openRotations().map(\.id) == ["a", "b"])
        #expect(try await other.openRotations().last == rotation)
    }

    @Test func `closes a rotation together with the state of its certificate`() async throws {
        let rotation = try Sample.failed(id: "a", name)
        try await database.record(try Sample.rotation(id: "a", name))
        let known = try Sample.state(name)
        try await database.close(rotation, state: known)
        #expect(try await database.openRotations() == [])
        #expect(try await database.history(of: name, limit: 5) == [rotation])
        #expect(try await database.state(of: name) == known)
    }

    @Test func `tells history newest first, of one or of all, up to the limit`() async throws {
        let other = try Name("other")
        for index in 0..<6 {
            let start = Sample.start.addingTimeInterval(Double(index))
            try await database.record(
                try Sample.failed(id: "r\(index)", index % 2 == 0 ? name : other, startedAt: start))
        }
        #expect(try await database.history(of: nil, limit: 3).map(\.id) == ["r5", "r4", "r3"])
        #expect(try await database.history(of: name, limit: 10).map(\.id) == ["r4", "r2", "r0"])
        #expect(try await database.history(of: name, limit: -1) == [])
    }

    @Test func `counts rotations by how they ended`() async throws {
        for index in 0..<3 { try await database.record(try Sample.failed(id: "f\(index)", name)) }
        try await database.record(Sample.committed(id: "c", name, revision: 1))
        try await database.record(try Sample.rotation(id: "o", name))
        let tallies = Set(try await database.tallies())
        #expect(
            tallies == [
                RotationTally(certificate: name, purpose: .issue, outcome: .failed, failedStep: .request, count: 3),
                RotationTally(certificate: name, purpose: .issue, outcome: .committed, failedStep: nil, count: 1),
                RotationTally(certificate: name, purpose: .issue, outcome: nil, failedStep: nil, count: 1),
            ])
    }

    @Test func `gives back each state as it was saved, full and empty`() async throws {
        let full = try Sample.state(name)
        let empty = CertificateState(name: try Name("empty"))
        var same = try Sample.state(try Name("same"), number: 4)
        same.currentRecord = same.record
        for known in [full, same, empty] { try await database.save(known) }
        #expect(try await database.states() == [empty, full, same])
        #expect(try await database.state(of: try Name("none")) == nil)
    }

    @Test func `knows what is due, soonest first`() async throws {
        for (index, text) in ["c", "a", "b"].enumerated() {
            var known = CertificateState(name: try Name(text))
            known.dueAt = Sample.start.addingTimeInterval(Double(-index))
            try await database.save(known)
        }
        try await database.save(CertificateState(name: try Name("undated")))
        #expect(try await database.due(by: Sample.start).map(\.rawValue) == ["b", "a", "c"])
        #expect(try await database.due(by: Sample.start.addingTimeInterval(-1)).map(\.rawValue) == ["b", "a"])
        #expect(try await database.due(by: .distantPast) == [])
    }

    @Test func `keeps scanned files by path, and changes only those below the root`() async throws {
        let stamp = FileStamp(device: .max, inode: 1 << 63, size: 12, modified: .min, changed: 5)
        let facts = WatchedFacts(record: Sample.record(2), chainNotAfter: Sample.start, isChainValid: false)
        let source = try Name("legacy")
        let good = ScannedFile(
            path: "/a/one.pem", source: source, stamp: stamp, isSettled: false, digest: Data([1, 2]), facts: facts)
        let bad = ScannedFile(path: "/a/two.pem", stamp: stamp, facts: .init(problem: .malformed))
        let beside = ScannedFile(path: "/ab/x.pem", stamp: stamp, facts: .init(problem: .badPEM))
        func replace(_ root: String, _ changed: [ScannedFile], _ removed: [String] = [], bad: Int = 0) async throws {
            try await database.replaceScannedFiles(
                below: root, changed: changed, removed: removed,
                source: WatchSourceRecord(name: "legacy", isUp: true, lookedAt: Sample.start), errors: [.malformed: bad]
            )
        }
        try await replace("/a", [bad, good], bad: 1)
        try await replace("/ab/x.pem", [beside])
        #expect(try await database.scannedFiles() == [good, bad, beside])
        #expect(try await database.scannedFiles(at: ["/ab/x.pem", "/none"]) == [beside])
        #expect(try await database.knownFiles()["/a/two.pem"]?.problem == .malformed)
        #expect(try await database.knownFiles()["/a/one.pem"]?.isSettled == false)
        try await replace("/a/", [], ["/a/two.pem"], bad: 2)
        let error = await failure { try await replace("/a", [], ["/ab/x.pem"]) }
        #expect(error != nil)
        #expect(try await database.scannedFiles() == [good, beside])
        #expect(try await database.watchErrors() == [.init(source: "legacy", reason: .malformed, count: 3)])
        #expect(try await database.watchSources().map(\.isUp) == [true])

        // Found by hand again: still the file of its source, and forgotten with it.
        var again = good
        again.source = nil
        try await replace("/a", [again])
        #expect(try await database.scannedFiles().first?.source == source)
        try await database.forgetWatched(except: [], endpoints: [])
        #expect(try await database.scannedFiles() == [beside])
    }

    @Test func `keeps what watched endpoints were last seen serving`() async throws {
        let seen = EndpointSighting(
            label: "host:443", address: "host:443", facts: WatchedFacts(record: Sample.record(3), isChainValid: true),
            stapled: .good, stapleNextUpdate: Sample.start, observedAt: Sample.start)
        let failed = EndpointSighting(
            label: "host:443/other", address: "host:443", facts: WatchedFacts(problem: .timeout),
            observedAt: Sample.start)
        let source = WatchSourceRecord(name: "endpoints", isUp: false, problem: .timeout, lookedAt: Sample.start)
        try await database.save([failed, seen], source: source, errors: [.timeout: 1])
        #expect(try await database.sightings() == [seen, failed])
        #expect(try await database.watchSources() == [source])
        try await database.forgetWatched(except: [], endpoints: ["host:443"])
        #expect(try await database.sightings() == [seen])
    }

    @Test func `remembers tasks and the clock`() async throws {
        #expect(try await database.lastClockReading() == nil)
        var task = TaskRecord(name: "renewal", nextRunAt: Sample.start, interval: 3600, duration: 1.5)
        try await database.save(task)
        task.lastRunAt = Sample.start
        task.lastSuccessAt = Sample.start
        try await database.save(task)
        try await database.save(TaskRecord(name: "backup"))
        for boot in ["one", "two"] {
            let reading = ClockReading(wall: Sample.start, sinceBoot: 12.5, bootID: boot)
            try await database.save(reading)
            #expect(try await database.lastClockReading() == reading)
        }
        #expect(try await database.task("renewal") == task)
        #expect(try await database.task("none") == nil)
        #expect(try await database.tasks().map(\.name) == ["backup", "renewal"])
    }

    @Test func `records although the task is cancelled`() async throws {
        let rotation = try Sample.rotation(id: "a", name)
        let task = Task {
            while !Task.isCancelled { await Task.yield() }
            try await database.record(rotation)
        }
        task.cancel()
        try await task.value
        #expect(try await database.openRotations() == [rotation])
    }

    @Test func `takes 8 writers at once, through two connections, and loses nothing`() async throws {
        let other = try await Database.open(in: state)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for writer in 0..<8 {
                group.addTask {
                    for index in 0..<10 {
                        let rotation = try Sample.rotation(id: "\(writer)-\(index)", name)
                        try await (writer % 2 == 0 ? database : other).record(rotation)
                    }
                }
            }
            try await group.waitForAll()
        }
        #expect(try await database.openRotations().count == 80)
        try await database.checkIntegrity()
    }

    @Test func `that was moved away while open takes no more writes`() async throws {
        rename(database.path, database.path + ".moved")
        let error = await failure { try await database.record(try Sample.rotation(id: "a", name)) }
        #expect(error?.code == .stateBusy)
    }
}
