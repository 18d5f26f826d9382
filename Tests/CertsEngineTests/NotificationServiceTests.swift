import CertsCore
import CertsStore
import CertsTesting
import Foundation
import Logging
import ServiceLifecycle
import Synchronization
import Testing

@testable import CertsEngine

/// The service that sends, with a channel that hangs.
@Suite(.timeLimit(.minutes(5))) struct NotificationServiceTests {
    /// Takes nothing for an hour, and notices no cancellation.
    final class Hanging: NotificationChannel {
        private let begun = Mutex(0)
        var attempts: Int { begun.withLock { $0 } }

        func send(_ message: NotificationMessage) async throws {
            begun.withLock { $0 += 1 }
            await Task.detached { try? await Task.sleep(for: .seconds(3600)) }.value
        }
    }

    @Test func `a channel that hangs holds up no other channel, no other process and not the end`() async throws {
        let scene = try await NotifierTests.Scene(channels: ["good", "stuck"])
        let (good, stuck) = (try #require(scene.channels[try Name("good")]), Hanging())
        let notifier = try notifier(of: scene, good, stuck)
        let group = ServiceGroup(
            services: [NotificationService(notifier, interval: .milliseconds(20))],
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        let service = Task { try await group.run() }
        try await scene.failToIssue()
        await notifier.decide()
        #expect(try await isSoon { stuck.attempts == 1 && good.messages.count == 1 })
        try await scene.succeed()
        await notifier.decide()
        #expect(try await isSoon { good.messages.count == 2 }, "the other one still hangs")
        // Another process.
        try await scene.failToIssue()
        let other = try self.notifier(of: scene, good, stuck)
        await other.decide()
        await other.deliver()
        #expect(try await isSoon { good.messages.count == 3 })
        #expect(stuck.attempts == 1, "who sends to it holds its lock")
        await group.triggerGracefulShutdown()
        try await service.value
        let pending = try await scene.world.database.pendingMessages(by: nil)
        #expect(pending.map(\.channel.rawValue) == ["stuck"], "it waits for the next start")
        #expect(pending.map(\.attempts) == [0], "that the service ended is no failure of the channel")
    }

    private func notifier(of scene: NotifierTests.Scene, _ good: NotifierTests.Channel, _ stuck: Hanging) throws
        -> Notifier
    {
        let state = scene.world.state
        return Notifier(
            context: scene.engine.context, store: scene.world.database,
            channels: [try Name("good"): good, try Name("stuck"): stuck], host: "host",
            lock: { try await state.lockNotifications(to: $0, deadline: $1) })
    }

    private func isSoon(_ condition: () -> Bool) async throws -> Bool {
        for _ in 0..<2000 {
            if condition() { return true }
            try await Task.sleep(for: .milliseconds(20))
        }
        return condition()
    }
}
