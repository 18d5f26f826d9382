import CertsCore
import CertsStore
import Foundation
import Testing

@Suite(.timeLimit(.minutes(5))) struct JobLedgerTests {
    private func run(_ id: String, _ job: Name, minute: Double = 0) -> JobRun {
        JobRun(
            id: id, job: job, occurrence: Sample.start, startedAt: Sample.start.addingTimeInterval(minute * 60),
            source: .timer, runner: "host:1")
    }

    @Test func aRunIsOpenUntilItEndsAndCountsOnce() async throws {
        let place = try TemporaryDirectory()
        let ledger = try await Database.open(in: try await place.state())
        let job = try Name("messages")
        var run = run("a", job)
        try await ledger.begin(run)
        #expect(try await ledger.openRuns() == [run])
        run.endedAt = run.startedAt.addingTimeInterval(2)
        run.result = .succeeded
        run.rows = 7
        run.counts = [JobCounter(job: job, kind: .rowsDeleted, table: "messages", value: 7)]
        try await ledger.finish(run)
        // A second report of the same end changes nothing.
        try await ledger.finish(run)
        #expect(try await ledger.openRuns() == [])
        #expect(try await ledger.jobTallies() == [JobTally(job: job, result: .succeeded, count: 1, seconds: 2)])
        #expect(try await ledger.jobCounters() == run.counts)
        #expect(try await ledger.runs(of: job, limit: 5).map(\.rows) == [7])
    }

    @Test func theCountersOutliveTheRuns() async throws {
        let place = try TemporaryDirectory()
        let ledger = try await Database.open(in: try await place.state())
        let job = try Name("messages")
        for minute in 0..<3 {
            var run = run("run-\(minute)", job, minute: Double(minute))
            run.result = .succeeded
            run.counts = [JobCounter(job: job, kind: .rowsDeleted, table: "messages", value: 10)]
            try await ledger.finish(run)
        }
        try await ledger.begin(self.run("open", job))
        try await ledger.forgetRuns(before: Sample.start.addingTimeInterval(90))
        #expect(try await ledger.runs(of: nil, limit: 10).map(\.id) == ["run-2", "open"])
        #expect(try await ledger.jobCounters().map(\.value) == [30])
        #expect(try await ledger.jobTallies().map(\.count) == [3])
    }

    @Test func whatComesNextAndWhatIsSetAsideIsKept() async throws {
        let place = try TemporaryDirectory()
        let state = try await place.state()
        let job = try Name("messages")
        let success = Sample.start + 5
        let kept = JobState(
            job: job, lastOccurrence: Sample.start, nextRunAt: Sample.start + 60, lastSuccessAt: success, backlog: 3)
        let row = QuarantinedRow(key: "7", reason: "it is referenced", failures: 2, retryAt: Sample.start)
        do {
            let ledger = try await Database.open(in: state)
            try await ledger.plan(job, lastOccurrence: Sample.start, nextRunAt: Sample.start + 60)
            try await ledger.note(job, successAt: success, backlog: 3, now: Sample.start + 9)
            // What a run came to does not touch the plan, and the other way round.
            try await ledger.note(job, successAt: nil, backlog: nil, now: Sample.start + 9)
            try await ledger.save([row], of: job)
        }
        let ledger = try await Database.open(in: state)
        #expect(try await ledger.jobState(of: job) == kept)
        #expect(try await ledger.jobStates() == [kept])
        #expect(try await ledger.quarantine(of: job) == [row])
        try await ledger.save([], of: job)
        #expect(try await ledger.quarantine(of: job) == [])
    }

    @Test func aJobIsLockedForOthers() async throws {
        let place = try TemporaryDirectory()
        let state = try await place.state()
        let job = try Name("messages")
        let lock = try await state.lock(job: job)
        await #expect(throws: CertsError(.lockHeld, "")) { try await state.lock(job: job) }
        _ = try await state.lock(job: try Name("other"))
        lock.release()
        _ = try await state.lock(job: job)
    }
}
