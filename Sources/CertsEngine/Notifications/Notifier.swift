package import CertsCore
package import Foundation
import Logging
import Synchronization

/// Tells people what has changed: decides from the inventory, keeps messages in the state database, sends them.
///
/// Nothing here can fail or delay a rotation: it is called after it, and every failure ends in the log and in the record
/// of the channel.
package final class Notifier: Sendable {
    private let context: EngineContext
    private let store: any NotificationStore
    private let channels: [Name: any NotificationChannel]
    /// Taken while sending, so that of several processes one sends.
    private let lock: @Sendable (Duration) async throws -> any HeldLock
    private let host: String
    private let lastDecision = Mutex<ContinuousClock.Instant?>(nil)
    /// When each channel was last given a message.
    private let lastMessages = Mutex<[Name: Date]>([:])
    /// Messages whose sending could not be recorded, with the time before which nothing more is done about them: a disk that
    /// is full must not make one message a hundred.
    private let unrecorded = Mutex<[String: (isSent: Bool, rest: ContinuousClock.Instant)]>([:])
    private static let rest = Duration.seconds(60)
    /// The shortest time between two messages to one channel, in seconds; what happens meanwhile is in the next one.
    private let pause: TimeInterval

    package init(
        context: EngineContext, store: any NotificationStore, channels: [Name: any NotificationChannel], host: String,
        pause: TimeInterval = 0, lock: @escaping @Sendable (Duration) async throws -> any HeldLock
    ) {
        self.context = context
        self.store = store
        self.channels = channels
        self.host = host
        self.pause = pause
        self.lock = lock
    }

    private var declaration: NotificationsDeclaration { context.declarations.notifications }
    package var hasChannels: Bool { !declaration.channels.isEmpty }

    // MARK: Decide

    /// Looks at the inventory, and keeps the messages that follow from it.
    package func decide() async {
        guard hasChannels else { return }
        lastDecision.withLock { $0 = .now }
        do {
            try await store.forgetChannels(except: Set(declaration.channels.map(\.name)))
            let records = Dictionary(
                try await store.channelRecords().map { ($0.channel, $0) }, uniquingKeysWith: { first, _ in first })
            let now = context.now
            let counts = declaration.channels.contains { isDigestDue($0, records[$0.name], now) }
            let standings = try await standings(all: counts)
            for channel in declaration.channels {
                try await decide(for: channel, standings, records[channel.name] ?? ChannelRecord(channel: channel.name))
            }
        } catch {
            context.logger.error("no notification could be made: \(CertsError.wrapping(error))")
        }
    }

    /// Between two ticks: other processes change the inventory too.
    package func decideIfStale(after interval: Duration = .seconds(15)) async {
        if let last = lastDecision.withLock({ $0 }), ContinuousClock.now - last < interval { return }
        await decide()
    }

    /// - Parameter all: also those that are well: only a digest counts them.
    private func standings(all: Bool) async throws -> [Standing] {
        let (context, now) = (context, context.now)
        let handOffs = Set(
            context.declarations.issuers.filter { if case .handOff = $0.kind { true } else { false } }.map(\.name))
        // A daily timer that runs as planned is never late; two hours are for its random delay and for slow issuers.
        let schedule = context.declarations.schedule
        let grace = max(schedule.timerInterval, schedule.tick + schedule.jitter) + 7200
        return try await context.inventory.compactMapStates { state in
            guard let declared = context.declared[state.name] else { return nil }
            let isHandOff = declared.issuers.contains(where: handOffs.contains)
            let standing = Standing(state, isHandOff: isHandOff, grace: grace, at: now)
            return all || !standing.troubles.isEmpty ? standing : nil
        }
    }

    private func decide(for channel: ChannelDeclaration, _ standings: [Standing], _ record: ChannelRecord) async throws
    {
        let now = context.now
        try await decideDigest(for: channel, standings, record, now)
        if let last = lastMessages.withLock({ $0[channel.name] }), now < last.addingTimeInterval(pause), now >= last {
            return
        }
        let plan = NotificationPlan(
            events: channel.events, told: try await store.told(to: channel.name),
            standings: standings.filter { !$0.troubles.isEmpty },
            declared: { self.context.declared[$0] != nil })
        guard let message = plan.message(id: UUID().uuidString.lowercased(), at: now, host: host) else {
            if !plan.told.isEmpty { try await store.setTold(plan.told, to: channel.name) }
            return
        }
        // While one waits, the next one gathers: what came and went meanwhile is not told.
        let pending = PendingMessage(channel: channel.name, message: message, told: plan.told, nextAttemptAt: now)
        if try await store.enqueue(pending) { lastMessages.withLock { $0[channel.name] = now } }
    }

    private func decideDigest(
        for channel: ChannelDeclaration, _ standings: [Standing], _ record: ChannelRecord, _ now: Date
    ) async throws {
        guard channel.events.contains(.digest) else { return }
        // The first is due at the next hour of the digest, not at once.
        if record.digestAt == nil { return try await store.setDigest(now, of: channel.name) }
        guard isDigestDue(channel, record, now) else { return }
        let message = NotificationPlan.digest(standings, id: UUID().uuidString.lowercased(), at: now, host: host)
        _ = try await store.enqueue(PendingMessage(channel: channel.name, message: message, nextAttemptAt: now))
        try await store.setDigest(now, of: channel.name)
    }

    private func isDigestDue(_ channel: ChannelDeclaration, _ record: ChannelRecord?, _ now: Date) -> Bool {
        guard channel.events.contains(.digest), let last = record?.digestAt else { return false }
        return last < declaration.digestTime(before: now)
    }

    // MARK: Send

    /// Sends what is due.
    /// - Parameters:
    ///   - patience: how long to wait for another process that sends.
    ///   - isForced: also what rests after an attempt that failed.
    /// - Returns: whether nothing waits any longer.
    @discardableResult
    package func deliver(patience: Duration = .zero, isForced: Bool = false) async -> Bool {
        guard hasChannels else { return true }
        do {
            guard !(try await store.pendingMessages(by: isForced ? nil : context.now)).isEmpty else { return true }
            let held = try await lock(patience)
            defer { held.release() }
            // Read again: who held the lock before may have sent them.
            let due = try await store.pendingMessages(by: isForced ? nil : context.now)
            let sent = await concurrently(due, width: 8) { await self.send($0) }
            return sent.allSatisfy { $0 }
        } catch {
            let error = CertsError.wrapping(error)
            if error.code != .lockHeld { context.logger.error("notifications could not be sent: \(error)") }
            return error.code == .lockHeld
        }
    }

    private func send(_ pending: PendingMessage) async -> Bool {
        guard let channel = channels[pending.channel] else { return true }
        let id = pending.message.id
        let known = unrecorded.withLock { $0[id] }
        if let known, known.rest > .now { return known.isSent }
        if known?.isSent != true {
            do {
                try await channel.send(pending.message)
            } catch {
                await failed(pending, CertsError.wrapping(error))
                return false
            }
        }
        do {
            try await store.confirm(pending, at: context.now)
            unrecorded.withLock { $0[id] = nil }
            context.logger.info(
                "notified: \(pending.message.summary)", metadata: ["channel": "\(pending.channel)"])
        } catch {
            unrecorded.withLock { $0[id] = (true, .now + Self.rest) }
            context.logger.error(
                "a notification was sent, which cannot be recorded; after a restart it will be sent again: \(CertsError.wrapping(error))",
                metadata: ["channel": "\(pending.channel)"])
        }
        return true
    }

    private func failed(_ pending: PendingMessage, _ error: CertsError) async {
        context.logger.warning(
            "a notification could not be sent: \(error)", metadata: ["channel": "\(pending.channel)"])
        let now = context.now
        let next = Self.nextAttempt(pending, now: now)
        do {
            try await store.postpone(
                pending, because: TerminalText.sanitized(error.description, limit: 1000), at: now, until: next)
            unrecorded.withLock { $0[pending.message.id] = nil }
        } catch {
            unrecorded.withLock { $0[pending.message.id] = (false, .now + Self.rest) }
            context.logger.error("the failure of a channel could not be recorded: \(CertsError.wrapping(error))")
        }
    }

    /// 30 s, 2 min, 10 min, then every half hour. After a day the message is dropped: what is still true by then is told
    /// by a new one.
    static func nextAttempt(_ pending: PendingMessage, now: Date) -> Date? {
        let age = now.timeIntervalSince(pending.message.at)
        guard age < 86400 else { return nil }
        let pauses: [TimeInterval] = [30, 120, 600]
        return now.addingTimeInterval(pauses.indices.contains(pending.attempts) ? pauses[pending.attempts] : 1800)
    }

    /// For a command that ends: decides, sends whatever waits, and tries again a few times; what is left then waits for
    /// the next run.
    package func tellBeforeEnd(pauses: [Duration] = [.seconds(2), .seconds(6)]) async {
        guard hasChannels else { return }
        await decide()
        let begin = ContinuousClock.now
        if await deliver(patience: .seconds(15), isForced: true) { return }
        for pause in pauses where ContinuousClock.now - begin < .seconds(20) {
            try? await Task.sleep(for: pause)
            if await deliver(isForced: true) { return }
        }
    }

    /// Sends a message that says nothing but that the channel works.
    package func test(_ channel: Name) async throws {
        guard let sender = channels[channel] else {
            let known = declaration.channels.map(\.name.rawValue).joined(separator: ", ")
            throw CertsError(
                .nameUnknown, "no channel named '\(channel)' is declared",
                hint: known.isEmpty ? "declare one below 'notifications:'" : "declared: \(known)")
        }
        try await sender.send(
            NotificationMessage(
                id: UUID().uuidString.lowercased(), kind: .test, at: context.now, host: host,
                summary: "a test of the channel \(channel)"))
    }
}
