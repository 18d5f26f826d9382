import CertsCore
import CertsMaintenance
import CertsTesting
import Foundation
import Testing

@Suite(.timeLimit(.minutes(10))) struct BackupRetentionTests {
    private static let day: TimeInterval = 86400
    /// 2026-11-25 02:00 UTC, a Wednesday.
    private static let newest = Date(timeIntervalSince1970: 1_795_572_000)

    @Test func ofDaysWeeksAndMonthsTheNewestIsKept() {
        let times = (0..<800).map { Self.newest.addingTimeInterval(-Double($0) * Self.day) }
        let kept = BackupRetention(daily: 7, weekly: 5, monthly: 12).kept(of: times).sorted(by: >)
        #expect(Array(kept.prefix(7)) == Array(times.prefix(7)))
        // The Sundays before, then the last days of months.
        let days = kept.map { Int(Self.newest.timeIntervalSince($0) / Self.day) }
        #expect(days == [0, 1, 2, 3, 4, 5, 6, 10, 17, 24, 25, 56, 86, 117, 148, 178, 209, 239, 270, 298, 329])
    }

    @Test func twoStayWhateverTheNumbersSay() {
        let times = (0..<5).map { Self.newest.addingTimeInterval(-Double($0) * 60) }
        #expect(BackupRetention(daily: 0, weekly: 0, monthly: 0).kept(of: times) == Set(times.prefix(2)))
        #expect(BackupRetention(daily: 1, weekly: 1, monthly: 1).kept(of: times) == Set(times.prefix(2)))
    }

    private func scene() async throws -> BackupScene {
        var scene = try await BackupScene.make("INSERT INTO users VALUES (1)")
        for days in [40.0, 3, 2, 1] { _ = try await scene.backedUp(-days * Self.day) }
        scene.backup.retention = BackupRetention(daily: 3, weekly: 0, monthly: 0)
        return scene
    }

    @Test func thePlanNamesWhatTheRunThenDeletes() async throws {
        let scene = try await scene()
        let before = try scene.catalogue.entries()
        let plan = try await scene.executor().plan(
            try scene.job(.backUp(scene.backup)), sample: 10, control: scene.control())
        #expect(try scene.catalogue.entries().count == 4)
        let done = try await scene.run()
        let after = Set(try scene.catalogue.entries().map(\.name))
        let gone = before.filter { !after.contains($0.name) }
        #expect(plan.last?.keys == gone.map(\.name).reversed() && plan.last?.count == 2)
        #expect(gone.map { Int((-$0.time.timeIntervalSinceNow / Self.day).rounded()) } == [3, 40])
        let bytes = gone.reduce(0) { $0 + ($1.manifest?.bytes ?? 0) }
        #expect(plan.last?.bytes == bytes)
        #expect(done.counts.map(\.value) == [bytes] && done.reason == nil)
    }

    @Test func aFailedBackupDeletesNothing() async throws {
        var scene = try await scene()
        scene.backup.clientDirectory = try scene.client(["pg_dump": "exit 1"])
        let error = await failure { try await scene.run() }
        #expect(error?.code == .jobFailed)
        #expect(try scene.catalogue.entries().count == 4)
    }

    @Test func nothingGoesWhenTheOneThatWouldBeLeftIsDamaged() async throws {
        let scene = try await scene()
        let last = try #require(try scene.catalogue.entries().first)
        try flip(last.path + "/database.dump", at: 300)
        let done = try await scene.run()
        #expect(done.reason?.contains("no old backup was deleted") == true && done.reason?.contains(last.name) == true)
        #expect(try scene.catalogue.entries().count == 5)
    }

    @Test func whatIsNotOursStays() async throws {
        let scene = try await scene()
        let oldest = try #require(try scene.catalogue.entries().last)
        try Data("mine".utf8).write(to: URL(filePath: oldest.path + "/notes.txt"))
        let done = try await scene.run()
        #expect(done.reason?.contains(oldest.name) == true)
        #expect(FileManager.default.fileExists(atPath: oldest.path + "/notes.txt"))
        #expect(try scene.catalogue.entries().map(\.name).contains(oldest.name))
    }

    @Test func aCopyElsewhereIsMadeAndItsFailureIsToldWithoutHarmToTheBackup() async throws {
        var scene = try await BackupScene.make("INSERT INTO users VALUES (1)")
        let elsewhere = try TemporaryDirectory(prefix: "certs-offsite")
        scene.backup.offsite = ["/usr/bin/cp", "-a", "-t", elsewhere.path]
        let done = try await scene.run()
        let entry = try #require(try scene.catalogue.entries().first)
        #expect(done.reason == nil && entry.copiedAt != nil)
        #expect(FileManager.default.fileExists(atPath: elsewhere.path("\(entry.name)/database.dump")))
        #expect(done.measures?.contains { $0.kind == .backupOffsite } == true)
        scene.backup.offsite = ["/bin/sh", "-c", "echo no route >&2; exit 7"]
        scene.shift = 60
        let failed = try await scene.run()
        #expect(failed.reason?.contains("the copy elsewhere failed") == true)
        #expect(failed.reason?.contains("no route") == true)
        #expect(failed.error == nil && failed.measures?.contains { $0.kind == .backupSuccess } == true)
        #expect(try scene.catalogue.entries().map(\.isGood) == [true, true])
    }
}

/// Flips one bit of a file.
func flip(_ path: String, at offset: Int, bit: Int = 3) throws {
    let file = try FileHandle(forUpdating: URL(filePath: path))
    defer { try? file.close() }
    try file.seek(toOffset: UInt64(offset))
    guard let byte = try file.read(upToCount: 1)?.first else { throw POSIXError(.EINVAL) }
    try file.seek(toOffset: UInt64(offset))
    try file.write(contentsOf: [byte ^ (1 << bit)])
}
