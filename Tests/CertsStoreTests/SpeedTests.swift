import CertsCore
import CertsStore
import Foundation
import Testing

/// The budgets are those of a release build; a debug build gets twenty times as much: there only a change of
/// the order of growth fails.
@Suite(.serialized) struct `Ten thousand certificates` {
    #if DEBUG
        static let factor = 20
    #else
        static let factor = 1
    #endif
    static let count = 10_000

    /// The median of five runs.
    private func median(_ body: () async throws -> Void) async rethrows -> Duration {
        var times: [Duration] = []
        for _ in 0..<5 { times.append(try await ContinuousClock().measure(body)) }
        return times.sorted()[2]
    }

    @Test func `are read from the inventory within 150 ms if scanned, 200 ms if managed`() async throws {
        let place = try TemporaryDirectory()
        let database = try await Database.open(in: try await place.state())
        let stamp = FileStamp(device: 1, inode: 2, size: 3, modified: 4, changed: 5)
        let files = (0..<Self.count).map {
            ScannedFile(path: "/etc/ssl/sites/site\($0).pem", stamp: stamp, record: Sample.record($0))
        }
        let writing = try await ContinuousClock().measure {
            try await database.replaceScannedFiles(below: "/etc/ssl", changed: files, removed: [])
        }
        // As an inventory is: nearly all deployed and healthy, one in a hundred failing with all that is known of it.
        let states = try (0..<Self.count).map { number in
            var state = try Sample.state(try Name("site\(number)"), number: number)
            if number % 100 != 0 {
                state.currentRecord = state.record
                state.lastFailure = nil
            }
            return state
        }
        try await database.save(states)
        var found = 0
        let scanned = try await median { found += try await database.scannedFiles().count }
        let managed = try await median { found += try await database.states().count }
        let due = try await median { found += try await database.due(by: Sample.start.addingTimeInterval(9)).count }
        let check = try await median { try await database.checkIntegrity() }
        #expect(found == 5 * (2 * Self.count + 10))
        print("10,000 rows: write \(writing), scanned \(scanned), managed \(managed), due \(due), quick_check \(check)")
        #expect(scanned < .milliseconds(150 * Self.factor))
        #expect(managed < .milliseconds(200 * Self.factor))
        #expect(due < .milliseconds(5 * Self.factor))
    }

    @Test func `are found unchanged by a second scan within 200 ms`() async throws {
        let place = try TemporaryDirectory()
        for folder in 0..<10 {
            mkdir(place / "d\(folder)", 0o700)
            for index in 0..<Self.count / 10 { try put("x", at: place / "d\(folder)/site\(index).pem") }
        }
        let walker = FileWalker()
        let first = try await walker.walk(place.path, suffixes: [".pem"], limits: WalkLimits())
        let known = Dictionary(uniqueKeysWithValues: first.files.map { ($0.path, $0.stamp) })
        var changed = 0
        let took = try await median {
            let tree = try await walker.walk(place.path, suffixes: [".pem"], limits: WalkLimits())
            for file in tree.files where known[file.path] != file.stamp { changed += 1 }
        }
        #expect(known.count == Self.count)
        #expect(changed == 0)
        print("10,000 files: walk and comparison \(took)")
        #expect(took < .milliseconds(200 * Self.factor))
    }
}
