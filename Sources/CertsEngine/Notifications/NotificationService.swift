import AsyncAlgorithms
import CertsCore
import ServiceLifecycle

/// Sends what waits, beside the planner, to each channel by itself: one that hangs holds up nothing but itself, and not the
/// end of the service.
package struct NotificationService: Service {
    private let notifier: Notifier
    private let interval: Duration

    package init(_ notifier: Notifier, interval: Duration = .seconds(1)) {
        self.notifier = notifier
        self.interval = interval
    }

    package func run() async throws {
        let (notifier, interval) = (notifier, interval)
        _ = await cancelWhenGracefulShutdown {
            await withTaskGroup(of: Void.self) { group in
                for channel in notifier.channelNames {
                    group.addTask {
                        for await _ in AsyncTimerSequence(interval: interval, clock: .continuous) {
                            await notifier.deliver(to: channel)
                        }
                    }
                }
            }
        }
    }
}
