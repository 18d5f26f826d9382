import Synchronization

/// The sign of life of the planner's loop, and what it does in words.
///
/// A listener that answers proves nothing about the loop beside it: a service whose planner hangs would look healthy until
/// its certificates expire. So the loop beats here while it waits, and after each piece of work while it works; `/healthz`
/// and the watchdog of systemd ask here.
package final class Heartbeat: Sendable {
    private struct State {
        var lastBeat: SuspendingClock.Instant
        var status = "starting"
    }

    /// The longest silence of a loop that lives. Each step of a rotation has a deadline far below it.
    private let limit: Duration
    /// The time in which the machine was suspended is not silence.
    private let now: @Sendable () -> SuspendingClock.Instant
    private let state: Mutex<State>

    package init(
        limit: Duration = .seconds(3600), now: @escaping @Sendable () -> SuspendingClock.Instant = { .now }
    ) {
        self.limit = limit
        self.now = now
        state = Mutex(State(lastBeat: now()))
    }

    /// - Parameter status: what begins now; `nil`: what was said last goes on.
    package func beat(_ status: String? = nil) {
        state.withLock { state in
            state.lastBeat = now()
            if let status { state.status = status }
        }
    }

    /// How long nothing was heard.
    package var silence: Duration { now() - state.withLock { $0.lastBeat } }
    package var isAlive: Bool { silence <= limit }

    /// One line for people; a stalled loop is called that.
    package var status: String {
        let (said, silence) = (state.withLock { $0.status }, silence)
        guard silence > limit else { return said }
        return "stalled: nothing has moved for \(silence.components.seconds / 60) min since: \(said)"
    }
}
