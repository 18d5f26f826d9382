import AsyncAlgorithms
import CertsCore
import ServiceLifecycle

/// Sends what waits, beside the planner: a channel that hangs holds up nothing but itself.
package struct NotificationService: Service {
    private let notifier: Notifier
    private let interval: Duration

    package init(_ notifier: Notifier, interval: Duration = .seconds(1)) {
        self.notifier = notifier
        self.interval = interval
    }

    package func run() async throws {
        for await _ in AsyncTimerSequence(interval: interval, clock: .continuous).cancelOnGracefulShutdown() {
            await notifier.deliver()
        }
    }
}
