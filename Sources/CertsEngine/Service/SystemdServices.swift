import AsyncAlgorithms
import CertsCore
import ServiceLifecycle

/// Tells systemd what the planner does, and that it lives: only while it does, so that a service whose planner hangs is
/// started anew.
///
/// The first of the service group: it ends last, after the rotation that is brought to its end.
package struct SystemdReports: Service {
    private let notifier: SystemdNotifier
    private let heartbeat: Heartbeat
    private let pollInterval: Duration

    /// - Parameter pollInterval: how soon a change of the status is told.
    package init(_ notifier: SystemdNotifier, heartbeat: Heartbeat, pollInterval: Duration = .seconds(1)) {
        self.notifier = notifier
        self.heartbeat = heartbeat
        self.pollInterval = pollInterval
    }

    package func run() async throws {
        var (told, lastSign) = ("", SuspendingClock.Instant?.none)
        // systemd advises half of the period; a third leaves room for a busy machine.
        let period = notifier.watchdog.map { $0 / 3 }
        let interval = period.map { min($0, pollInterval) } ?? pollInterval
        for await _ in AsyncTimerSequence(interval: interval, clock: .suspending).cancelOnGracefulShutdown() {
            let status = heartbeat.status
            if status != told {
                notifier.say(status)
                told = status
            }
            guard let period, heartbeat.isAlive else { continue }
            let now = SuspendingClock.now
            if let lastSign, now - lastSign < period { continue }
            notifier.alive()
            lastSign = now
        }
    }
}

/// Tells systemd that the end has begun. The last of the service group: it is the first to hear of it.
package struct SystemdFarewell: Service {
    private let notifier: SystemdNotifier

    package init(_ notifier: SystemdNotifier) { self.notifier = notifier }

    package func run() async throws {
        try await gracefulShutdown()
        notifier.stopping()
    }
}
