import CertsCore
import Foundation
import Logging
import Synchronization

extension Notifier {
    /// When it was last decided, and until when nothing can follow from deciding again.
    struct Decision: Sendable {
        /// When somebody last looked whether to decide.
        var lookedAt: ContinuousClock.Instant
        var decidedAt: Date
        /// Of the state database; `nil`: the decision failed.
        var changeCount: Int?
        /// When time alone makes news; `nil`: never.
        var next: Date?
    }

    /// Looks at the inventory, and keeps the messages that follow from it.
    package func decide() async {
        guard hasChannels else { return }
        let lookedAt = ContinuousClock.now
        var decision = Decision(lookedAt: lookedAt, decidedAt: context.now)
        do {
            decision = try await store.decide { [self] in try decide(in: $0, lookedAt) }
        } catch {
            context.logger.error("no notification could be made: \(CertsError.wrapping(error))")
        }
        lastDecision.withLock { [decision] in $0 = decision }
    }

    /// Between two ticks: other processes change the inventory too. Where nothing has changed, it is not read.
    package func decideIfStale(after interval: Duration = .seconds(15)) async {
        guard hasChannels else { return }
        let last = lastDecision.withLock { $0 }
        if let last {
            if ContinuousClock.now - last.lookedAt < interval { return }
            if await isStillTrue(last) { return lastDecision.withLock { $0?.lookedAt = .now } }
        }
        await decide()
    }

    private func isStillTrue(_ last: Decision) async -> Bool {
        let now = context.now
        guard let known = last.changeCount, now >= last.decidedAt, now < last.next ?? .distantFuture else {
            return false
        }
        return (try? await store.changeCount()) == known
    }

    private func decide(in ledger: any NotificationLedger, _ lookedAt: ContinuousClock.Instant) throws -> Decision {
        let now = context.now
        var decision = Decision(lookedAt: lookedAt, decidedAt: now)
        try ledger.declare(Set(channelNames), at: now)
        let records = Dictionary(
            try ledger.records().map { ($0.channel, $0) }, uniquingKeysWith: { first, _ in first })
        let counts = declaration.channels.contains { isDigestDue($0, records[$0.name], now) }
        let standings = try standings(in: ledger, all: counts, now, next: &decision.next)
        for channel in declaration.channels {
            let record = records[channel.name] ?? ChannelRecord(channel: channel.name)
            try decideDigest(for: channel, standings, record, now, in: ledger, next: &decision.next)
            try decideChanges(for: channel, standings, now, in: ledger, next: &decision.next)
        }
        decision.changeCount = try ledger.changeCount()
        return decision
    }

    /// - Parameter all: also those that are well: only a digest counts them.
    private func standings(
        in ledger: any NotificationLedger, all: Bool, _ now: Date, next: inout Date?
    ) throws -> [Standing] {
        let handOffs = Set(
            context.declarations.issuers.filter { if case .handOff = $0.kind { true } else { false } }.map(\.name))
        // A daily timer that runs as planned is never late; two hours are for its random delay and for slow issuers.
        let schedule = context.declarations.schedule
        let grace = max(schedule.timerInterval, schedule.tick + schedule.jitter) + 7200
        return try ledger.compactMapStates { state in
            guard let declared = context.declared[state.name] else { return nil }
            let isHandOff = declared.issuers.contains(where: handOffs.contains)
            let standing = Standing(state, isHandOff: isHandOff, grace: grace, at: now)
            next = Self.earlier(next, standing.nextChangeAt)
            return all || !standing.troubles.isEmpty ? standing : nil
        }
    }

    private func decideChanges(
        for channel: ChannelDeclaration, _ standings: [Standing], _ now: Date, in ledger: any NotificationLedger,
        next: inout Date?
    ) throws {
        if let last = lastMessages.withLock({ $0[channel.name] }), now < last.addingTimeInterval(pause), now >= last {
            next = Self.earlier(next, last.addingTimeInterval(pause))
            return
        }
        let plan = NotificationPlan(
            events: channel.events, told: try ledger.told(to: channel.name),
            standings: standings.filter { !$0.troubles.isEmpty },
            declared: { self.context.declared[$0] != nil })
        guard let message = plan.message(id: UUID().uuidString.lowercased(), at: now, host: host) else {
            if !plan.told.isEmpty { try ledger.setTold(plan.told, to: channel.name) }
            return
        }
        // While one waits, the next one gathers: what came and went meanwhile is not told.
        let pending = PendingMessage(channel: channel.name, message: message, told: plan.told, nextAttemptAt: now)
        if try ledger.enqueue(pending, isReplacing: false) { lastMessages.withLock { $0[channel.name] = now } }
    }

    private func decideDigest(
        for channel: ChannelDeclaration, _ standings: [Standing], _ record: ChannelRecord, _ now: Date,
        in ledger: any NotificationLedger, next: inout Date?
    ) throws {
        guard channel.events.contains(.digest) else { return }
        next = Self.earlier(next, declaration.digestTime(before: now).addingTimeInterval(86400))
        // The first is due at the next hour of the digest, not at once. A time in the future is of a clock that was ahead.
        guard let last = record.digestAt, last <= now else { return try ledger.setDigest(now, of: channel.name) }
        guard isDigestDue(channel, record, now) else { return }
        let message = NotificationPlan.digest(standings, id: UUID().uuidString.lowercased(), at: now, host: host)
        // Yesterday's, if it still waits, says nothing that today's does not say better.
        _ = try ledger.enqueue(
            PendingMessage(channel: channel.name, message: message, nextAttemptAt: now), isReplacing: true)
        try ledger.setDigest(now, of: channel.name)
    }

    private func isDigestDue(_ channel: ChannelDeclaration, _ record: ChannelRecord?, _ now: Date) -> Bool {
        guard channel.events.contains(.digest), let last = record?.digestAt, last <= now else { return false }
        return last < declaration.digestTime(before: now)
    }

    private static func earlier(_ one: Date?, _ other: Date?) -> Date? { [one, other].compactMap(\.self).min() }
}
