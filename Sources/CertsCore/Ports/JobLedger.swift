package import Foundation

/// What is kept of the maintenance jobs across restarts: each run, what comes next, the counters, the rows that could
/// not be deleted. Implemented in CertsStore.
package protocol JobLedger: Sendable {
    func jobStates() async throws -> [JobState]
    func jobState(of job: Name) async throws -> JobState?
    /// Keeps what is dealt with and what comes next, all or nothing; durable before anything is started.
    func plan(_ jobs: [JobPlan]) async throws
    /// Keeps what a run came to; `nil` changes nothing.
    func note(_ job: Name, successAt: Date?, backlog: Int?, now: Date) async throws
    /// Records that the run has begun; durable before the work begins.
    func begin(_ run: JobRun) async throws
    /// Records the end, and adds to the counters in the same transaction.
    func finish(_ run: JobRun) async throws
    /// Runs that have begun and not ended.
    func openRuns() async throws -> [JobRun]
    /// Newest first.
    func runs(of job: Name?, limit: Int) async throws -> [JobRun]
    func jobTallies() async throws -> [JobTally]
    /// The sums of what the runs have counted.
    func jobCounters() async throws -> [JobCounter]
    /// What the last runs measured.
    func jobMeasures() async throws -> [Name: [JobMeasure]]
    /// Replaces what the job measured before.
    func save(measures: [JobMeasure], of job: Name) async throws
    /// Forgets ended runs that began before `date`; the counters stay.
    func forgetRuns(before date: Date) async throws
    func quarantine(of job: Name) async throws -> [QuarantinedRow]
    /// Replaces what is known of the job.
    func save(_ rows: [QuarantinedRow], of job: Name) async throws
}

/// What a job has dealt with, and what comes next.
package struct JobPlan: Sendable, Hashable {
    package var job: Name
    package var lastOccurrence: Date
    package var nextRunAt: Date?

    package init(_ job: Name, lastOccurrence: Date, nextRunAt: Date?) {
        self.job = job
        self.lastOccurrence = lastOccurrence
        self.nextRunAt = nextRunAt
    }
}

extension JobLedger {
    package func plan(_ job: Name, lastOccurrence: Date, nextRunAt: Date?) async throws {
        try await plan([JobPlan(job, lastOccurrence: lastOccurrence, nextRunAt: nextRunAt)])
    }
}

/// What a job has to remember.
package struct JobState: Sendable, Hashable, Codable {
    package var job: Name
    /// Every occurrence up to this one is dealt with.
    package var lastOccurrence: Date
    package var nextRunAt: Date?
    package var lastSuccessAt: Date?
    /// Of the last run that could tell: what is left to do.
    package var backlog: Int?

    package init(
        job: Name, lastOccurrence: Date, nextRunAt: Date? = nil, lastSuccessAt: Date? = nil, backlog: Int? = nil
    ) {
        self.job = job
        self.lastOccurrence = lastOccurrence
        self.nextRunAt = nextRunAt
        self.lastSuccessAt = lastSuccessAt
        self.backlog = backlog
    }
}

/// One run of a job, or why there was none.
package struct JobRun: Sendable, Hashable, Codable {
    package enum Result: String, Sendable, Hashable, Codable, CaseIterable {
        case succeeded
        /// A part was done: a cap, a deadline or rows that cannot go ended it.
        case incomplete
        case failed
        /// It never began: another one ran, or it was too late.
        case skipped
        /// A guard held it back.
        case refused
        /// Its process died.
        case lost
    }

    package enum Source: String, Sendable, Hashable, Codable {
        case timer, command
    }

    package var id: String
    package var job: Name
    /// The time that it was planned for; `nil`: by hand.
    package var occurrence: Date?
    package var startedAt: Date
    package var endedAt: Date?
    /// `nil`: it goes on.
    package var result: Result?
    /// Deleted, archived or told; what the job is about.
    package var rows: Int
    package var quarantined: Int
    /// Why it ended as it did, in one sentence.
    package var reason: String?
    package var source: Source
    /// `HOST:PID` of who ran it.
    package var runner: String
    package var attempt: Int
    /// The window that it ran in.
    package var window: String?
    /// What to add to the counters; not kept with the run.
    package var counts: [JobCounter] = []

    enum CodingKeys: String, CodingKey {
        case id, job, occurrence, startedAt, endedAt, result, rows, quarantined, reason, source, runner, attempt, window
    }

    package init(
        id: String, job: Name, occurrence: Date?, startedAt: Date, endedAt: Date? = nil, result: Result? = nil,
        rows: Int = 0, quarantined: Int = 0, reason: String? = nil, source: Source, runner: String, attempt: Int = 1,
        window: String? = nil
    ) {
        self.id = id
        self.job = job
        self.occurrence = occurrence
        self.startedAt = startedAt
        self.endedAt = endedAt
        self.result = result
        self.rows = rows
        self.quarantined = quarantined
        self.reason = reason
        self.source = source
        self.runner = runner
        self.attempt = attempt
        self.window = window
    }
}

/// How many runs of a job ended in one way, and how long they took together.
package struct JobTally: Sendable, Hashable {
    package let job: Name
    package let result: JobRun.Result
    package let count: Int
    package let seconds: Double

    package init(job: Name, result: JobRun.Result, count: Int, seconds: Double) {
        self.job = job
        self.result = result
        self.count = count
        self.seconds = seconds
    }
}

/// One number that only grows.
package struct JobCounter: Sendable, Hashable {
    package enum Kind: String, Sendable, Hashable {
        case rowsDeleted, bytesFreed, lockTimeouts, noticesSent, expiredMessages, prekeyNotices
        /// Its `table` is the kind of objects.
        case dockerBytes
    }

    package var job: Name
    package var kind: Kind
    /// The table it is about; empty: none.
    package var table: String
    package var value: Int

    package init(job: Name, kind: Kind, table: String = "", value: Int) {
        self.job = job
        self.kind = kind
        self.table = table
        self.value = value
    }
}

/// A row that cannot be deleted: left alone until `retryAt`.
package struct QuarantinedRow: Sendable, Hashable {
    /// Its primary key, as the job spells it.
    package var key: String
    package var reason: String
    package var failures: Int
    package var retryAt: Date

    package init(key: String, reason: String, failures: Int, retryAt: Date) {
        self.key = key
        self.reason = reason
        self.failures = failures
        self.retryAt = retryAt
    }
}

/// Keeps two runs of one job apart where there is no database to ask; implemented in CertsStore.
package protocol JobLocks: Sendable {
    /// - Throws: `lock.held`.
    func lock(job: Name) async throws -> any HeldLock
}
