package import CertsCore
package import Foundation
import Logging
import Synchronization

/// Tells people what has changed: decides from the inventory, keeps messages in the state database, sends them.
///
/// Nothing here can fail or delay a rotation: it is called after it, and every failure ends in the log and in the record
/// of the channel.
package final class Notifier: Sendable {
    let context: EngineContext
    let store: any NotificationStore
    private let channels: [Name: any NotificationChannel]
    /// Taken while sending to a channel, so that of several processes one sends.
    private let lock: Lock
    let host: String
    let lastDecision = Mutex<Decision?>(nil)
    /// When each channel was last given a message.
    let lastMessages = Mutex<[Name: Date]>([:])
    /// Messages whose sending could not be recorded, with the time before which nothing more is done about them: a disk that
    /// is full must not make one message a hundred.
    private let unrecorded = Mutex<[String: (isSent: Bool, rest: ContinuousClock.Instant)]>([:])
    private static let rest = Duration.seconds(60)
    /// The shortest time between two messages to one channel, in seconds; what happens meanwhile is in the next one.
    let pause: TimeInterval

    /// Takes the lock of a channel, waiting so long for it.
    package typealias Lock = @Sendable (Name, Duration) async throws -> any HeldLock

    package init(
        context: EngineContext, store: any NotificationStore, channels: [Name: any NotificationChannel], host: String,
        pause: TimeInterval = 0, lock: @escaping Lock
    ) {
        self.context = context
        self.store = store
        self.channels = channels
        self.host = host
        self.pause = pause
        self.lock = lock
    }

    var declaration: NotificationsDeclaration { context.declarations.notifications }
    package var hasChannels: Bool { !declaration.channels.isEmpty }
    package var channelNames: [Name] { declaration.channels.map(\.name) }

    // MARK: Send

    /// Sends what is due, to each channel by itself.
    /// - Parameters:
    ///   - patience: how long to wait for another process that sends.
    ///   - isForced: also what rests after an attempt that failed.
    /// - Returns: whether nothing waits any longer.
    @discardableResult
    package func deliver(patience: Duration = .zero, isForced: Bool = false) async -> Bool {
        let names = channelNames
        let results = await concurrently(names, width: max(1, names.count)) {
            await self.deliver(to: $0, patience: patience, isForced: isForced)
        }
        return results.allSatisfy { $0 }
    }

    /// Sends what is due to one channel; ends early when its task is cancelled, and what was being sent then waits on.
    @discardableResult
    package func deliver(to channel: Name, patience: Duration = .zero, isForced: Bool = false) async -> Bool {
        do {
            guard try await !due(to: channel, isForced).isEmpty else { return true }
            let held = try await lock(channel, patience)
            defer { held.release() }
            var isDone = true
            // Read again: who held the lock before may have sent them.
            for pending in try await due(to: channel, isForced) where !Task.isCancelled {
                if await !send(pending) { isDone = false }
            }
            return isDone
        } catch {
            let error = CertsError.wrapping(error)
            if error.code != .lockHeld, !Task.isCancelled {
                context.logger.error(
                    "notifications could not be sent: \(error)", metadata: ["channel": "\(channel)"])
            }
            return error.code == .lockHeld
        }
    }

    private func due(to channel: Name, _ isForced: Bool) async throws -> [PendingMessage] {
        try await store.pendingMessages(to: channel, by: isForced ? nil : context.now)
    }

    private func send(_ pending: PendingMessage) async -> Bool {
        guard let channel = channels[pending.channel] else { return true }
        let id = pending.message.id
        let known = unrecorded.withLock { $0[id] }
        if let known, known.rest > .now { return known.isSent }
        if known?.isSent != true {
            do {
                try await untilCancelled { try await channel.send(pending.message) }
            } catch {
                if Task.isCancelled { return false }
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
    /// by a new one. By a clock that was ahead it seems to be younger than it is; the number of attempts bounds that.
    static func nextAttempt(_ pending: PendingMessage, now: Date) -> Date? {
        let age = now.timeIntervalSince(pending.message.at)
        guard age < 86400, pending.attempts < 60 else { return nil }
        let pauses: [TimeInterval] = [30, 120, 600]
        return now.addingTimeInterval(pauses.indices.contains(pending.attempts) ? pauses[pending.attempts] : 1800)
    }

    /// For a command that ends: decides, sends whatever waits, and tries again a few times; what is left then waits for
    /// the next run.
    package func tellBeforeEnd(pauses: [Duration] = [.seconds(2), .seconds(6)]) async {
        guard hasChannels else { return }
        await decide()
        let begin = ContinuousClock.now
        if await deliverAndFollow(patience: .seconds(15)) { return }
        for pause in pauses where ContinuousClock.now - begin < .seconds(20) {
            try? await Task.sleep(for: pause)
            if await deliverAndFollow(patience: .zero) { return }
        }
    }

    /// A message of an earlier run held back what is new: once it is sent, that follows, and not with the next run.
    private func deliverAndFollow(patience: Duration) async -> Bool {
        let isDone = await deliver(patience: patience, isForced: true)
        await decide()
        let isFollowed = await deliver()
        return isDone && isFollowed
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
        try await store.markWorking(channel, at: context.now)
    }
}
