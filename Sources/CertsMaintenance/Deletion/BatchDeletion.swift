package import CertsCore
import Foundation

/// Deletes rows in batches, one transaction each, of a size that leaves the parallel load alone.
///
/// Rows that somebody has locked are left for a later batch; one that a constraint or a trigger holds is found by halving
/// the batch, set aside, and the rest goes on. What is committed stays committed, whatever comes after. Blocking.
package struct BatchDeletion {
    /// How it ended.
    package struct Outcome: Sendable {
        package var rows = 0
        package var lockTimeouts = 0
        package var bytesFreed = 0
        /// Rows that would have to go and are still there; counted up to 100,000.
        package var backlog = 0
        package var quarantined = 0
        package var quarantine: [QuarantinedRow] = []
        /// Why it ended before everything was done; `nil`: all is done.
        package var reason: String?

        package init() {}
    }

    let session: PostgresSession
    let deletion: Deletion
    let control: JobControl
    var quarantine: Quarantine
    /// What was done so far.
    package private(set) var outcome = Outcome()
    private var size: BatchSize

    /// What is counted of a backlog at most.
    private static let countLimit = 100_000
    /// One statement never runs longer than this.
    private static let statementLimit: Duration = .seconds(30)
    /// Failures in a row that may pass: locks, timeouts, deadlocks.
    private static let patience = 5

    package init(
        _ deletion: Deletion, in session: PostgresSession, quarantine known: [QuarantinedRow] = [],
        control: JobControl
    ) {
        self.session = session
        self.deletion = deletion
        self.control = control
        quarantine = Quarantine(known, isKept: deletion.hasStableKey, now: control.now())
        size = BatchSize()
    }

    /// Deletes until nothing is left, a cap is reached, or time is up.
    ///
    /// - Throws: ``PostgresFailure`` when the server cannot be worked with; `job.refused` when a guard holds it back.
    ///   ``outcome`` then has what was committed before.
    package mutating func run() throws {
        try deletion.refuseTooLargeShare(in: session, within: control.left)
        try deleteAll()
        try retryQuarantined()
        try conclude()
    }

    private mutating func deleteAll() throws {
        var failures = 0
        var passes = 0
        while outcome.reason == nil {
            if control.isOver { return outcome.reason = control.ending }
            let limit = min(size.rows, deletion.limits.rows - outcome.rows)
            guard limit > 0 else { return outcome.reason = "the cap of \(deletion.limits.rows) rows is reached" }
            do {
                let begin = ContinuousClock.now
                let count = try session.run(
                    deletion.deleteBatch(limit: limit, excluded: quarantine.excluded), within: Self.statementLimit
                ).affected
                let seconds = (ContinuousClock.now - begin) / .seconds(1)
                (failures, outcome.rows) = (0, outcome.rows + count)
                size.adapt(deleted: count, seconds: seconds)
                if count > 0 {
                    passes = 0
                    // On a quick server a full batch takes 0.1 s: a longer pause would be half of the time.
                    control.pause(max(0.02, seconds * 0.1))
                } else if try !hasLockedRows(after: &passes) {
                    return
                }
            } catch let failure as PostgresFailure {
                try cope(with: failure, limit: limit, &failures)
            }
        }
    }

    /// Nothing was deleted: because nothing is left, or because others hold what is.
    /// - Returns: whether to look once more.
    private mutating func hasLockedRows(after passes: inout Int) throws -> Bool {
        let left = try session.run(deletion.count(limit: 1, excluded: quarantine.excluded), within: Self.statementLimit)
        guard left.integer != 0 else { return false }
        passes += 1
        guard passes < Self.patience else {
            outcome.reason = "rows are locked by others"
            return false
        }
        control.pause(0.2 * Double(passes))
        return true
    }

    private mutating func cope(with failure: PostgresFailure, limit: Int, _ failures: inout Int) throws {
        if failure.isAboutRows {
            let before = (outcome.rows, quarantine.found.count)
            // Where each row takes long, only so few are reached in the time of one transaction.
            try bisect(limit: max(1, min(limit, 256) >> (2 * failures)))
            guard (outcome.rows, quarantine.found.count) == before, outcome.reason == nil else { return failures = 0 }
            failures += 1
            guard failures <= Self.patience else { throw failure }
            return control.pause(0.2 * Double(failures))
        }
        guard failure.isLockTimeout || failure.isCancelled || failure.isTransient else { throw failure }
        if failure.isLockTimeout { outcome.lockTimeouts += 1 }
        failures += 1
        guard failures <= Self.patience else { throw failure }
        size.shrink()
        control.pause(0.2 * Double(failures))
    }

    /// Deletes what can go of the next rows, and sets aside what cannot; in one transaction.
    /// - Parameter only: the keys to try; `nil`: the oldest rows.
    private mutating func bisect(limit: Int, only: [String]? = nil) throws {
        guard !quarantine.isFull else {
            outcome.reason =
                "\(Quarantine.limit) rows cannot be deleted, the first because: "
                + (quarantine.found.min { $0.key < $1.key }?.value ?? "unknown")
            return
        }
        let selection = deletion.candidates(
            "t.ctid::text, \(deletion.key)", limit: limit, excluded: only == nil ? quarantine.excluded : [], only: only)
        let session = session
        let halving = try session.transaction {
            // What would only fail at the commit must fail where it can be told which row it is.
            try session.run("SET CONSTRAINTS ALL IMMEDIATE")
            let rows = try session.run("\(selection) FOR UPDATE OF t SKIP LOCKED").rows
            var halving = Halving(session: session, deletion: deletion)
            try halving.remove(rows.map { ($0[0] ?? "", $0[1] ?? "") })
            return halving
        }
        outcome.rows += halving.deleted.count
        for key in halving.deleted { quarantine.remove(key) }
        for (key, reason) in halving.held { quarantine.add(key, reason) }
    }

    /// A row may have been held by another that is gone by now: once more, as long as that helps.
    private mutating func retryQuarantined() throws {
        while !control.isOver, !quarantine.found.isEmpty, !quarantine.isFull {
            let before = quarantine.found.count
            let keys = quarantine.found.keys.sorted()
            for start in stride(from: 0, to: keys.count, by: 256) where !control.isOver {
                let left = deletion.limits.rows - outcome.rows
                guard left > 0 else { return }
                try bisect(limit: min(256, left), only: Array(keys[start..<min(start + 256, keys.count)]))
            }
            if quarantine.found.count == before { return }
        }
    }

    private mutating func conclude() throws {
        // Also after the deadline: what is left is what the next run is for.
        outcome.backlog =
            try session.run(deletion.count(limit: Self.countLimit), within: Self.statementLimit).integer ?? 0
        outcome.quarantined = quarantine.count
        outcome.quarantine = quarantine.rows(now: control.now())
        if outcome.reason == nil, let held = quarantine.found.min(by: { $0.key < $1.key }) {
            outcome.reason = "\(quarantine.count) rows cannot be deleted, one of them because: \(held.value)"
        }
    }
}

/// Finds the rows of a batch that cannot be deleted by halving it, within one transaction.
struct Halving {
    let session: PostgresSession
    let deletion: Deletion
    private(set) var deleted: [String] = []
    private(set) var held: [String: String] = [:]
    private let begin = ContinuousClock.now

    /// Locks are held for as long as it takes: what is not reached by then comes with the next batch.
    private static let limit: Duration = .milliseconds(800)

    init(session: PostgresSession, deletion: Deletion) {
        self.session = session
        self.deletion = deletion
    }

    mutating func remove(_ rows: [(place: String, key: String)]) throws {
        guard !rows.isEmpty, ContinuousClock.now - begin < Self.limit else { return }
        try session.run("SAVEPOINT half")
        do {
            try session.run(deletion.delete(places: rows.map(\.place)))
            try session.run("RELEASE SAVEPOINT half")
            deleted += rows.map(\.key)
        } catch let failure as PostgresFailure where failure.isAboutRows {
            try session.run("ROLLBACK TO SAVEPOINT half")
            try session.run("RELEASE SAVEPOINT half")
            if rows.count == 1 {
                held[rows[0].key] = failure.description
            } else {
                try remove(Array(rows[..<(rows.count / 2)]))
                try remove(Array(rows[(rows.count / 2)...]))
            }
        }
    }
}
