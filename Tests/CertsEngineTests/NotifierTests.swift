import CertsCore
import CertsStore
import CertsTesting
import Foundation
import Synchronization
import Testing

@testable import CertsEngine

/// From the state of the certificates to what the channels get, on a real store.
@Suite(.timeLimit(.minutes(5))) struct NotifierTests {
    /// Keeps what it gets, or refuses it.
    final class Channel: NotificationChannel {
        private struct State {
            var messages: [NotificationMessage] = []
            var attempts: [String] = []
            var isBroken = false
        }
        private let state = Mutex(State())

        var messages: [NotificationMessage] { state.withLock { $0.messages } }
        /// The ids of the messages that it was to send.
        var attempts: [String] { state.withLock { $0.attempts } }
        var isBroken: Bool {
            get { state.withLock { $0.isBroken } }
            set { state.withLock { $0.isBroken = newValue } }
        }

        func send(_ message: NotificationMessage) async throws {
            try state.withLock { state in
                state.attempts.append(message.id)
                if state.isBroken { throw CertsError(.notificationFailed, "it is\u{7} broken", retry: .later) }
                state.messages.append(message)
            }
        }
    }

    /// A world whose declarations have channels.
    struct Scene {
        let world: EngineWorld
        let declarations: Declarations
        let channels: [Name: Channel]

        init(
            certificates: [String] = ["messenger"], events: Set<NotificationEvent> = NotificationEvent.usual,
            channels names: [String] = ["ops"]
        ) async throws {
            world = try await EngineWorld(certificates: certificates)
            var declarations = world.declarations
            declarations.notifications.channels = try names.map {
                ChannelDeclaration(name: try Name($0), kind: .command(["x"], timeout: 1), events: events)
            }
            self.declarations = declarations
            channels = Dictionary(
                uniqueKeysWithValues: declarations.notifications.channels.map { ($0.name, Channel()) })
        }

        var channel: Channel { channels.values.first ?? Channel() }
        var engine: RotationEngine { world.engine(declarations: declarations) }

        /// As a new process would make it.
        /// - Parameter store: instead of the database.
        func notifier(pause: TimeInterval = 0, store: (any NotificationStore)? = nil) -> Notifier {
            let state = world.state
            return Notifier(
                context: engine.context, store: store ?? world.database, channels: channels, host: "host", pause: pause,
                lock: { try await state.lockNotifications(to: $0, deadline: $1) })
        }

        func record() async throws -> ChannelRecord? { try await world.database.channelRecords().first }

        /// One rotation that its issuer fails.
        func failToIssue() async throws {
            world.issuer.behaviour = .fails(.later)
            _ = await engine.rotate(declarations.certificates.map(\.name))
        }

        func succeed() async throws {
            world.issuer.behaviour = .honest
            _ = await engine.rotate(declarations.certificates.map(\.name))
        }
    }

    @Test func `a failure is told once, and its end once`() async throws {
        let scene = try await Scene()
        try await scene.succeed()
        await scene.notifier().tellBeforeEnd()
        #expect(scene.channel.messages.isEmpty, "nothing is wrong")
        try await scene.failToIssue()
        for _ in 0..<3 { await scene.notifier().tellBeforeEnd() }
        #expect(scene.channel.messages.map(\.summary) == ["messenger: failed"])
        let change = try #require(scene.channel.messages.first?.changes.first)
        #expect(change.event == .failed)
        #expect(change.code != nil && change.notAfter != nil)
        try await scene.failToIssue()
        await scene.notifier().tellBeforeEnd()
        #expect(scene.channel.messages.count == 1, "it fails as it did before")
        try await scene.succeed()
        for _ in 0..<2 { await scene.notifier().tellBeforeEnd() }
        #expect(scene.channel.messages.map(\.summary) == ["messenger: failed", "messenger: recovered"])
        #expect(try await scene.record()?.sent == 2)
    }

    @Test func `a rollback is told as one`() async throws {
        let scene = try await Scene()
        try await scene.succeed()
        scene.world.targets[0].live.failing = ["verify"]
        _ = await scene.engine.rotate([EngineWorld.name])
        await scene.notifier().tellBeforeEnd()
        #expect(scene.channel.messages.map(\.summary) == ["messenger: rolled back"])
    }

    @Test func `a thousand failures are one message`() async throws {
        let names = (0..<1000).map { "c\($0)" }
        let scene = try await Scene(certificates: names)
        let failure = try JSONDecoder().decode(
            Rotation.Failure.self,
            from: Data(#"{"step":"issue","code":"issuer.unavailable","message":"down","retry":{"later":{}}}"#.utf8))
        try await scene.world.database.save(
            names.map {
                var state = CertificateState(name: try Name($0))
                (state.consecutiveFailures, state.lastFailure) = (1, failure)
                return state
            })
        await scene.notifier().tellBeforeEnd()
        #expect(scene.channel.messages.map(\.summary) == ["1000 failed"])
        #expect(scene.channel.messages.first?.changes.count == 1000)
        await scene.notifier().tellBeforeEnd()
        #expect(scene.channel.messages.count == 1)
    }

    @Test func `a channel that fails keeps one message, and is seen`() async throws {
        let scene = try await Scene(channels: ["broken", "good"])
        let broken = try #require(scene.channels[try Name("broken")])
        let good = try #require(scene.channels[try Name("good")])
        broken.isBroken = true
        try await scene.failToIssue()
        await scene.notifier().tellBeforeEnd(pauses: [])
        #expect(good.messages.count == 1, "one that fails holds up no other")
        #expect(broken.attempts.count == 1)
        let status = try await scene.engine.channelStatus()
        #expect(status.map(\.consecutiveFailures) == [1, 0])
        #expect(status.map(\.pending) == [1, 0])
        #expect(status[0].lastError?.contains("it is\\u{7} broken") == true)
        let metrics = PrometheusText.render(
            NotificationMetrics.families(
                scene.declarations.notifications, try await scene.world.database.channelRecords()))
        #expect(metrics.contains("certs_notification_failures_total{channel=\"broken\"} 1"))
        #expect(metrics.contains("certs_notification_failures_total{channel=\"good\"} 0"))

        // It rests, then the same message is tried again.
        await scene.notifier().deliver()
        #expect(broken.attempts.count == 1)
        scene.world.clock.advance(by: 31)
        await scene.notifier().deliver()
        #expect(Set(broken.attempts).count == 1 && broken.attempts.count == 2)
        // What came and went while it was broken is not told.
        try await scene.succeed()
        try await scene.failToIssue()
        await scene.notifier().decide()
        broken.isBroken = false
        scene.world.clock.advance(by: 121)
        await scene.notifier().deliver()
        await scene.notifier().tellBeforeEnd()
        #expect(broken.messages.map(\.summary) == ["messenger: failed"])
        #expect(try await scene.engine.channelStatus().map(\.consecutiveFailures) == [0, 0])
        #expect(try await scene.engine.channelStatus()[0].lastError == nil)
    }

    @Test func `after a day a message is dropped for one that is still true`() async throws {
        let scene = try await Scene()
        scene.channel.isBroken = true
        try await scene.failToIssue()
        let notifier = scene.notifier()
        await notifier.decide()
        for _ in 0..<60 {
            await notifier.deliver()
            scene.world.clock.advance(by: 1801)
        }
        #expect(try await scene.world.database.pendingMessages(by: nil).isEmpty)
        #expect(scene.channel.attempts.count > 40)
        scene.channel.isBroken = false
        try await scene.succeed()
        await notifier.tellBeforeEnd()
        #expect(scene.channel.messages.isEmpty, "nobody has heard of the trouble that is over")
    }

    @Test func `what was interrupted before it was sent is told by the next process`() async throws {
        let scene = try await Scene()
        // As if killed after the failure was recorded, before anything was decided.
        try await scene.failToIssue()
        await scene.notifier().tellBeforeEnd()
        #expect(scene.channel.messages.count == 1)
        try await scene.succeed()
        // As if killed after deciding, before sending.
        await scene.notifier().decide()
        #expect(try await scene.world.database.pendingMessages(by: nil).count == 1)
        await scene.notifier().tellBeforeEnd()
        #expect(scene.channel.messages.map(\.summary) == ["messenger: failed", "messenger: recovered"])
        // As if killed after sending, before that was recorded: told again, under the same id.
        try await scene.failToIssue()
        await scene.notifier().decide()
        let pending = try #require(try await scene.world.database.pendingMessages(by: nil).first)
        try await scene.channel.send(pending.message)
        await scene.notifier().tellBeforeEnd()
        #expect(scene.channel.messages.count == 4)
        #expect(scene.channel.messages[2].id == scene.channel.messages[3].id)
    }

    @Test func `of two processes one sends`() async throws {
        let scene = try await Scene()
        try await scene.failToIssue()
        await withTaskGroup(of: Void.self) { group in
            for _ in 0..<8 { group.addTask { await scene.notifier().tellBeforeEnd() } }
        }
        #expect(scene.channel.attempts.count == 1)
        #expect(scene.channel.messages.count == 1)
    }

    @Test func `a service gathers what happens within its pause`() async throws {
        let scene = try await Scene(certificates: ["a", "b"])
        let notifier = scene.notifier(pause: 60)
        scene.world.issuer.behaviour = .fails(.later)
        _ = await scene.engine.rotate([try Name("a")])
        await notifier.decide()
        await notifier.deliver()
        _ = await scene.engine.rotate([try Name("b")])
        await notifier.decide()
        await notifier.deliver()
        #expect(scene.channel.messages.map(\.summary) == ["a: failed"])
        scene.world.clock.advance(by: 61)
        await notifier.decide()
        await notifier.deliver()
        #expect(scene.channel.messages.map(\.summary) == ["a: failed", "b: failed"])
    }

    @Test func `a digest comes once a day, at its hour`() async throws {
        let scene = try await Scene(events: [.digest])
        try await scene.failToIssue()
        let notifier = scene.notifier()
        for _ in 0..<(3 * 24) {
            await notifier.decide()
            await notifier.deliver()
            scene.world.clock.advance(by: 3600)
        }
        #expect(scene.channel.messages.count == 3)
        #expect(scene.channel.messages.allSatisfy { $0.kind == .digest })
        let hours = scene.channel.messages.map { Int($0.at.timeIntervalSince1970) % 86400 / 3600 }
        #expect(hours == [7, 7, 7])
        #expect(scene.channel.messages.first?.digest?.failing == 1)
    }

    @Test func `the timer decides after its tick, and no channel can make it fail`() async throws {
        let scene = try await Scene(certificates: ["a", "b", "c"])
        scene.world.issuer.behaviour = .fails(.later)
        scene.channel.isBroken = true
        let published = PublishedSnapshot()
        let context = scene.engine.context
        let publisher = SnapshotPublisher(context: context, published: published, version: "1")
        let notifier = scene.notifier(pause: 60)
        let timer = RenewalTimer(engine: RotationEngine(context), publisher: publisher, notifier: notifier)
        await timer.tick()
        #expect(try await scene.world.database.pendingMessages(by: nil).map(\.message.summary) == ["3 failed"])
        await notifier.deliver()
        await publisher.publish()
        let metrics = String(decoding: published.current.metricsText, as: UTF8.self)
        #expect(metrics.contains("certs_notification_failures_total{channel=\"ops\"} 1"))
    }
}
