import CertsCore
import CertsMaintenance
import CertsStore
import CertsTesting
import Foundation
import Testing

@Suite(.timeLimit(.minutes(10))) struct WindowGateTests {
    /// Runs the scheduler while `body` goes on.
    private func scheduled(_ shop: WindowShop, _ body: () async throws -> Void) async throws {
        let scheduler = JobScheduler(
            shop.maintenance.jobs, runner: shop.runner, logger: WindowShop.logger, host: "host", gate: shop.gate)
        let task = Task { await scheduler.run() }
        defer { task.cancel() }
        try await body()
        task.cancel()
        await task.value
    }

    private func record(_ shop: WindowShop, for seconds: TimeInterval, runsTasks: Bool = false) -> WindowRecord {
        let now = shop.now()
        return WindowRecord(
            id: UUID().uuidString, type: .emergency, plannedAt: nil, openedAt: now,
            endsAt: now.addingTimeInterval(seconds), openedBy: "ops@host", source: .command, runsTasks: runsTasks)
    }

    private func waitForRun(_ shop: WindowShop) async throws -> JobRun? {
        for _ in 0..<600 {
            if let run = try await shop.database.runs(of: nil, limit: 20).first(where: { $0.result == .succeeded }) {
                return run
            }
            try await Task.sleep(for: .milliseconds(50))
        }
        return nil
    }

    @Test func aJobWaitsForItsWindowAndTheOccurrenceIsNotLost() async throws {
        let shop = try await WindowShop.make([("work", ["/bin/true"])])
        let occurrence = shop.now().addingTimeInterval(-40 * 86400)
        try await shop.database.plan(shop.maintenance.jobs[0].name, lastOccurrence: occurrence, nextRunAt: nil)
        try await scheduled(shop) {
            try await Task.sleep(for: .seconds(3))
            #expect(try await shop.database.runs(of: nil, limit: 5).isEmpty)
            let state = try await shop.database.jobState(of: shop.maintenance.jobs[0].name)
            #expect(state.map { abs($0.lastOccurrence.timeIntervalSince(occurrence)) < 1 } == true)
            let window = record(shop, for: 3600)
            try await shop.database.open(window)
            let run = try #require(try await waitForRun(shop))
            #expect(run.window == window.id)
            #expect(run.source == .timer)
        }
    }

    @Test func aWindowWithTooLittleTimeLeftIsNotForTheJob() async throws {
        let shop = try await WindowShop.make([("work", ["/bin/true"])])
        let job = shop.maintenance.jobs[0]
        try await shop.database.open(record(shop, for: 30))
        // It has never run: its deadline (60 s) counts.
        let early = try await shop.gate.admit(job, at: shop.now(), byTimer: true)
        #expect(early.reason?.contains("it takes about 60 s") == true)
        for (index, seconds) in [2.0, 4, 200].enumerated() {
            let start = shop.now().addingTimeInterval(Double(index) * 300 - 3600)
            try await shop.database.finish(
                JobRun(
                    id: "run\(index)", job: job.name, occurrence: nil, startedAt: start,
                    endedAt: start.addingTimeInterval(seconds), result: .succeeded, source: .timer, runner: "host:1"))
        }
        #expect(try await shop.gate.expectedDuration(of: job) == 4)
        #expect(try await shop.gate.admit(job, at: shop.now(), byTimer: true).opening != nil)
    }

    @Test func whatAWindowRunsByItselfIsNotRunByTheTimerToo() async throws {
        let shop = try await WindowShop.make([("work", ["/bin/true"])])
        try await shop.database.open(record(shop, for: 3600, runsTasks: true))
        let job = shop.maintenance.jobs[0]
        #expect(try await shop.gate.admit(job, at: shop.now(), byTimer: true).opening == nil)
        #expect(try await shop.gate.admitByHand(job, at: shop.now()) != nil)
    }

    @Test func byHandAJobIsRefusedOutsideOfItsWindowWithTheNextStep() async throws {
        let shop = try await WindowShop.make([("work", ["/bin/true"])]) { maintenance in
            maintenance.windows.append(
                WindowDeclaration(.major, schedule: JobSchedule(.daily([0])), duration: 60))
            maintenance.jobs[0].window = .major
        }
        let noon = Date(timeIntervalSince1970: 1_764_849_600)
        let error = await #expect(throws: CertsError.self) {
            try await shop.gate.admitByHand(shop.maintenance.jobs[0], at: noon)
        }
        #expect(error?.code == .jobRefused)
        #expect(error?.hint?.contains("2025-12-05 00:00 UTC") == true)
        #expect(error?.hint?.contains("--yes") == true)
    }

    @Test func aPlannedWindowIsRecordedOnceAndEndsWithTheLastJobThatBeganInIt() async throws {
        let shop = try await WindowShop.make([("work", ["/bin/true"])]) { maintenance in
            let start = Date().addingTimeInterval(-600)
            let minute = Int(start.timeIntervalSince1970) % 86400 / 60
            maintenance.windows = [
                WindowDeclaration(.standard, schedule: JobSchedule(.daily([minute])), duration: 3600)
            ]
            maintenance.jobs[0].window = .standard
        }
        let watch = WindowWatch(
            shop.maintenance, mode: shop.mode, jobs: shop.database, host: "host", logger: WindowShop.logger)
        try await watch.look()
        try await watch.look()
        let window = try #require(try await shop.database.windows(limit: 5).first)
        #expect(try await shop.database.windows(limit: 5).count == 1)
        #expect(window.plannedAt != nil && window.openedBy == "certs@host")
        #expect(try await shop.metrics().contains("certs_maintenance_window_active{type=\"standard\"} 1\n"))
        var run = JobRun(
            id: "run", job: shop.maintenance.jobs[0].name, occurrence: nil, startedAt: shop.now(), source: .timer,
            runner: "host:1", window: window.id)
        try await shop.database.begin(run)
        shop.advance(by: 3700)
        try await watch.look()
        #expect(try await shop.database.openWindows().map(\.id) == [window.id])
        run.endedAt = window.endsAt.addingTimeInterval(150)
        run.result = .succeeded
        try await shop.database.finish(run)
        try await watch.look()
        let closed = try #require(try await shop.database.window(window.id))
        #expect(abs(closed.overrun(at: shop.now()) - 150) < 0.01)
    }

    @Test func quartersMonthsAndWeeksHaveTheirNextWindows() throws {
        let start = Date(timeIntervalSince1970: 1_764_806_400)
        func next(_ type: WindowType) -> String? {
            let window = WindowDeclaration(
                type, schedule: type.usualRule.map { JobSchedule($0) }, duration: type.usualDuration)
            return window.next(after: start).map {
                "\(ISO8601DateFormatter().string(from: $0.start)) \(Int($0.duration))"
            }
        }
        #expect(next(.standard) == "2025-12-07T02:00:00Z 7200")
        #expect(next(.major) == "2026-01-01T02:00:00Z 14400")
        #expect(next(.security) == "2025-12-15T02:00:00Z 3600")
        #expect(next(.emergency) == nil)
        let berlin = try #require(TimeZone(identifier: "Europe/Berlin"))
        let window = WindowDeclaration(
            .standard, schedule: JobSchedule(.weekly([0], 150), zone: berlin), duration: 7200)
        // 29 March 2026: 02:30 does not exist; it begins after the gap, at 01:00 UTC.
        let spring = try #require(window.next(after: Date(timeIntervalSince1970: 1_774_656_000)))
        #expect(ISO8601DateFormatter().string(from: spring.start) == "2026-03-29T01:00:00Z")
        #expect(window.occurrence(at: spring.start)?.start == spring.start)
        #expect(window.occurrence(at: spring.end) == nil)
        #expect(window.occurrence(at: spring.end.addingTimeInterval(-1))?.start == spring.start)
    }
}
