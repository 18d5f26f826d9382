import CertsCore
package import Foundation

/// What holds a run in bounds: its deadline, and who tells it to stop.
package struct JobControl: Sendable {
    package var deadline: ContinuousClock.Instant
    package var interrupt: JobInterrupt
    /// The wall clock, for what is kept.
    package var now: @Sendable () -> Date

    package init(
        deadline: ContinuousClock.Instant = .now + .seconds(600), interrupt: JobInterrupt = JobInterrupt(),
        now: @escaping @Sendable () -> Date
    ) {
        self.deadline = deadline
        self.interrupt = interrupt
        self.now = now
    }

    package var isOver: Bool { interrupt.isSet || ContinuousClock.now >= deadline }
    package var left: Duration { max(.zero, deadline - .now) }

    /// Why it is over, for the ledger.
    var ending: String { interrupt.isSet ? "it was told to stop" : "its deadline has passed" }

    /// Waits on the thread, in short steps; at most until it is over.
    func pause(_ seconds: Double) {
        let end = min(ContinuousClock.now + .seconds(seconds), deadline)
        while !interrupt.isSet, ContinuousClock.now < end { usleep(10_000) }
    }
}
