import CertsCore
import CertsStore
import CertsTesting
import Foundation
import Synchronization
import Testing

@testable import CertsEngine

/// What is kept of channels and messages: across runs, clocks, configurations and processes.
@Suite(.timeLimit(.minutes(5))) struct NotifierStateTests {
    typealias Scene = NotifierTests.Scene
    typealias Channel = NotifierTests.Channel

    @Test func `what is new follows in the same run what waited from an earlier one`() async throws {
        let scene = try await Scene(certificates: ["a", "b"])
        scene.world.issuer.behaviour = .fails(.later)
        scene.channel.isBroken = true
        _ = await scene.engine.rotate([try Name("a")])
        await scene.notifier().tellBeforeEnd(pauses: [])
        // The next day's run of the timer.
        scene.world.clock.advance(by: 86400)
        scene.channel.isBroken = false
        _ = await scene.engine.rotate([try Name("b")])
        await scene.notifier().tellBeforeEnd(pauses: [])
        #expect(scene.channel.messages.map(\.summary) == ["a: failed", "b: failed"])
    }

    @Test func `a digest that is not taken gives way to the next, and none is lost`() async throws {
        let scene = try await Scene(events: [.digest])
        try await scene.failToIssue()
        await scene.notifier().tellBeforeEnd(pauses: [])
        scene.channel.isBroken = true
        for _ in 0..<2 {
            scene.world.clock.advance(by: 86400)
            await scene.notifier().tellBeforeEnd(pauses: [])
        }
        let waiting = try #require(try await scene.world.database.pendingMessages(by: nil).first)
        scene.channel.isBroken = false
        scene.world.clock.advance(by: 86400)
        let now = scene.world.clock.now.wall
        await scene.notifier().tellBeforeEnd(pauses: [])
        #expect(scene.channel.messages.map(\.at) == [now])
        // Somebody who was sending the old one meanwhile changes nothing about the new one.
        scene.world.clock.advance(by: 86400)
        await scene.notifier().decide()
        let next = try await scene.world.database.pendingMessages(by: nil).map(\.message.id)
        try await scene.world.database.confirm(waiting, at: now)
        try await scene.world.database.postpone(waiting, because: "late", at: now, until: nil)
        #expect(try await scene.world.database.pendingMessages(by: nil).map(\.message.id) == next)
        #expect(next.count == 1)
    }

    @Test func `a clock that was ahead silences no channel`() async throws {
        let scene = try await Scene(certificates: ["a", "b"], events: NotificationEvent.usual.union([.digest]))
        let clock = scene.world.clock
        scene.world.issuer.behaviour = .fails(.later)
        scene.channel.isBroken = true
        clock.advance(by: 400 * 86400)
        _ = await scene.engine.rotate([try Name("a")])
        let notifier = scene.notifier(pause: 60)
        await notifier.decide()
        await notifier.deliver()
        clock.advance(by: -400 * 86400)
        scene.channel.isBroken = false
        await notifier.deliver()
        #expect(scene.channel.messages.map(\.summary).first == "a: failed", "it rested until a time that is far away")
        _ = await scene.engine.rotate([try Name("b")])
        await notifier.decideIfStale(after: .zero)
        await notifier.deliver()
        #expect(scene.channel.messages.map(\.summary).contains("b: failed"))
        clock.advance(by: 86400)
        await notifier.decide()
        await notifier.deliver()
        #expect(scene.channel.messages.contains { $0.kind == .digest })
    }

    @Test func `a message of a clock that was ahead is not tried for ever`() throws {
        let message = NotificationMessage(
            id: "1", kind: .changes, at: Date(timeIntervalSince1970: 5_000_000_000), host: "host", summary: "")
        let now = Date(timeIntervalSince1970: 1_800_000_000)
        var pending = PendingMessage(channel: EngineWorld.name, message: message, nextAttemptAt: now)
        #expect(Notifier.nextAttempt(pending, now: now) == now.addingTimeInterval(30))
        pending.attempts = 60
        #expect(Notifier.nextAttempt(pending, now: now) == nil)
    }

    @Test func `two configurations on one state directory do not forget each other's channels`() async throws {
        let scene = try await Scene()
        try await scene.failToIssue()
        await scene.notifier().tellBeforeEnd()
        var declarations = scene.declarations
        let added = try Name("new")
        declarations.notifications.channels = [
            ChannelDeclaration(name: added, kind: .command(["x"], timeout: 1))
        ]
        let channel = Channel()
        let state = scene.world.state
        let other = Notifier(
            context: scene.world.engine(declarations: declarations).context, store: scene.world.database,
            channels: [added: channel], host: "host", lock: { try await state.lockNotifications(to: $0, deadline: $1) })
        for _ in 0..<3 {
            await other.tellBeforeEnd()
            await scene.notifier().tellBeforeEnd()
            scene.world.clock.advance(by: 86400)
        }
        #expect(channel.messages.map(\.summary) == ["messenger: failed"], "a new one hears what is wrong")
        #expect(scene.channel.messages.map(\.summary) == ["messenger: failed"], "once")
        // Nobody declares the first any longer.
        for _ in 0..<10 {
            scene.world.clock.advance(by: 10 * 86400)
            await other.tellBeforeEnd()
        }
        #expect(try await scene.world.database.channelRecords().map(\.channel) == [added])
    }

    @Test func `what waits for a channel that comes back is told as it is by then`() async throws {
        let scene = try await Scene()
        scene.channel.isBroken = true
        try await scene.failToIssue()
        await scene.notifier().tellBeforeEnd(pauses: [])
        scene.world.clock.advance(by: 30 * 86400)
        scene.channel.isBroken = false
        try await scene.succeed()
        await scene.notifier().tellBeforeEnd(pauses: [])
        #expect(scene.channel.messages.isEmpty)
        #expect(try await scene.world.database.pendingMessages(by: nil).isEmpty)
    }

    @Test func `of many processes none tells twice what others have told, and none misses a change`() async throws {
        let scene = try await Scene()
        let stores = try await [0, 1, 2].asyncMap { _ in try await Database.open(in: scene.world.state) }
        let failing = try await {
            try await scene.failToIssue()
            return try #require(try await scene.world.certificateState())
        }()
        var well = failing
        (well.consecutiveFailures, well.lastFailure) = (0, nil)
        for round in 0..<60 {
            let state = round.isMultiple(of: 2) ? failing : well
            await withTaskGroup(of: Void.self) { group in
                for store in stores {
                    group.addTask { await scene.notifier(store: store).tellBeforeEnd(pauses: []) }
                }
                group.addTask { try? await scene.world.database.save(state) }
            }
            await scene.notifier().tellBeforeEnd(pauses: [])
            let expected = (0...round).map { $0.isMultiple(of: 2) ? "messenger: failed" : "messenger: recovered" }
            try #require(scene.channel.messages.map(\.summary) == expected)
        }
    }

    @Test func `a test that succeeds ends the failure of the channel`() async throws {
        let scene = try await Scene()
        scene.channel.isBroken = true
        try await scene.failToIssue()
        await scene.notifier().tellBeforeEnd(pauses: [])
        func metrics() async throws -> String {
            PrometheusText.render(
                NotificationMetrics.families(
                    scene.declarations.notifications, try await scene.world.database.channelRecords()))
        }
        #expect(try await metrics().contains("certs_notification_consecutive_failures{channel=\"ops\"} 1"))
        await #expect(throws: CertsError.self) { try await scene.notifier().test(Name("ops")) }
        #expect(try await scene.record()?.consecutiveFailures == 1)
        scene.channel.isBroken = false
        try await scene.notifier().test(Name("ops"))
        #expect(try await scene.record()?.consecutiveFailures == 0)
        #expect(try await scene.engine.channelStatus().map(\.lastError) == [nil])
        #expect(try await metrics().contains("certs_notification_consecutive_failures{channel=\"ops\"} 0"))
        #expect(try await metrics().contains("certs_notification_failures_total{channel=\"ops\"} 1"))
        // What rested is due now.
        await scene.notifier().deliver()
        #expect(scene.channel.messages.map(\.kind) == [.test, .changes])
    }

    /// A database that counts the decisions made in it.
    final class CountingStore: NotificationStore {
        let database: Database
        private let count = Mutex(0)
        var decisions: Int { count.withLock { $0 } }

        init(_ database: Database) { self.database = database }

        func decide<Value: Sendable>(
            _ body: @escaping @Sendable (any NotificationLedger) throws -> Value
        ) async throws -> Value {
            count.withLock { $0 += 1 }
            return try await database.decide(body)
        }
        func changeCount() async throws -> Int { try await database.changeCount() }
        func channelRecords() async throws -> [ChannelRecord] { try await database.channelRecords() }
        func pendingMessages(to channel: Name?, by date: Date?) async throws -> [PendingMessage] {
            try await database.pendingMessages(to: channel, by: date)
        }
        func confirm(_ message: PendingMessage, at date: Date) async throws {
            try await database.confirm(message, at: date)
        }
        func postpone(
            _ message: PendingMessage, because reason: String, at date: Date, until next: Date?
        ) async throws { try await database.postpone(message, because: reason, at: date, until: next) }
        func markWorking(_ channel: Name, at date: Date) async throws {
            try await database.markWorking(channel, at: date)
        }
    }

    @Test func `the inventory is read again only when there may be news`() async throws {
        let scene = try await Scene(events: NotificationEvent.usual.union([.digest]))
        try await scene.succeed()
        let store = CountingStore(scene.world.database)
        let notifier = scene.notifier(pause: 60, store: store)
        func looks(_ why: Comment? = nil, _ expected: Int) async {
            let before = store.decisions
            for _ in 0..<4 { await notifier.decideIfStale(after: .zero) }
            #expect(store.decisions - before == expected, why)
        }
        await looks("nothing was decided yet", 1)
        scene.world.clock.advance(by: 30)
        await looks("nothing has happened", 0)
        try await scene.failToIssue()
        await looks("another process saved a certificate", 1)
        await notifier.deliver()
        await looks("a message is gone: what gathered meanwhile may follow", 1)
        scene.world.clock.advance(by: 61)
        await looks("the pause between two messages is over", 1)
        scene.world.clock.advance(by: 86400)
        await looks("a digest is due", 1)
        scene.world.clock.advance(by: -3600)
        await looks("the clock was set back", 1)
        let end = try #require(try await scene.world.certificateState()?.currentRecord?.notAfter)
        scene.world.clock.advance(by: end.timeIntervalSince(scene.world.clock.now.wall) + 1)
        await looks("it has expired meanwhile", 1)
    }
}

extension Sequence {
    fileprivate func asyncMap<Value>(_ transform: (Element) async throws -> Value) async rethrows -> [Value] {
        var values: [Value] = []
        for element in self { values.append(try await transform(element)) }
        return values
    }
}
