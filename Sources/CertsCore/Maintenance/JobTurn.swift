package import Foundation

/// What becomes of occurrences that were missed.
package enum CatchUp: Sendable, Hashable {
    /// The last of them is made up for, if it is not older than this; in seconds.
    case latest(within: TimeInterval)
    case none
    /// The last so many of them, each by a run of its own.
    case all(Int)
}

/// What becomes of an occurrence while the job still runs.
package enum Overlap: String, Sendable, Hashable, CaseIterable {
    case skip
    /// One waits; further ones are skipped.
    case queueOne = "queue-one"
}

/// What is to be done for a job now: which occurrences run, which are given up and why, and when to look again.
package struct JobTurn: Sendable {
    package var due: [Date] = []
    /// The last of those that are given up, how many they are, and why.
    package var skipped: (last: Date, count: Int, reason: String)?
    /// The occurrence after all that came to pass.
    package var next: Date?
    /// To be kept: what lies before it is dealt with.
    package var last: Date

    /// How late an occurrence may begin and still be on time, in seconds.
    package static let grace: TimeInterval = 60
    /// A clock that was put back by less than this does not make a fixed local time come again.
    static let fixedTimeStep: TimeInterval = 3 * 3600

    /// - Parameters:
    ///   - last: what was kept of the turn before; `nil` for a job that is new: it begins with its next occurrence.
    ///   - delay: by how much each start is put off.
    package init(_ schedule: JobSchedule, catchUp: CatchUp, last known: Date?, delay: TimeInterval = 0, now: Date) {
        // An occurrence has come when its delay has passed, too.
        let reached = now.addingTimeInterval(-delay)
        guard var start = known else {
            last = reached
            next = schedule.next(after: reached)
            return
        }
        let ahead = start.timeIntervalSince(reached)
        // The clock was put back: what follows the time that passes goes on from here.
        if ahead > (schedule.followsRealTime ? 1 : Self.fixedTimeStep) { start = reached }
        let limit = if case .all(let count) = catchUp { max(1, count) } else { 1 }
        // One more than can run: the last of those that cannot.
        let (found, count) = schedule.occurrences(after: start, through: reached, limit: limit + 1)
        let occurrences = Array(found.suffix(limit))
        last = occurrences.last ?? start
        next = schedule.next(after: last)
        guard let newest = occurrences.last else { return }
        let lateness = reached.timeIntervalSince(newest)
        switch catchUp {
        case .all: due = occurrences
        case .none: due = lateness <= Self.grace ? [newest] : []
        case .latest(let window): due = lateness <= max(window, Self.grace) ? [newest] : []
        }
        let left = count - due.count
        guard left > 0, let lastLeft = due.isEmpty ? newest : found.first else { return }
        let reason =
            due.isEmpty
            ? "missed by \(Int(lateness)) s, more than is made up for" : "missed; a later one is made up for"
        skipped = (lastLeft, left, reason)
    }

}
