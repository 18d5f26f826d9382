package import CertsCore
package import Foundation

/// Which message follows from what a channel was told and how the certificates stand now. Pure.
///
/// One message lists everything that has changed: a thousand certificates that fail together are one message.
package struct NotificationPlan: Sendable, Hashable {
    package var changes: [NotificationMessage.Change] = []
    /// What then counts as told, also where the channel does not want to hear it.
    package var told: [ToldChange] = []

    /// Lines in one message; the rest is counted.
    package static let listLimit = 2000

    /// - Parameters:
    ///   - standings: of the declared certificates that have troubles; of others, too, if the caller likes.
    ///   - declared: a certificate that was taken out of the configuration is forgotten, and nobody is told.
    package init(
        events: Set<NotificationEvent>, told before: [Name: Set<Trouble>], standings: [Standing],
        declared: (Name) -> Bool
    ) {
        var seen: Set<Name> = []
        for standing in standings {
            seen.insert(standing.certificate)
            compare(standing, with: before[standing.certificate] ?? [], events)
        }
        for (name, troubles) in before.sorted(by: { $0.key < $1.key }) where !seen.contains(name) {
            told.append(ToldChange(certificate: name, troubles: []))
            if declared(name) { recovered(name, from: troubles, standing: nil, events) }
        }
    }

    private mutating func compare(_ standing: Standing, with before: Set<Trouble>, _ events: Set<NotificationEvent>) {
        var after = standing.troubles
        let (known, now) = (Self.failing(before), Self.failing(after))
        if let now, let known, Self.rank(known) > Self.rank(now) {
            // A rollback that is followed by another failure is not told a second time.
            after.remove(now)
            after.insert(known)
        }
        guard after != before else { return }
        told.append(ToldChange(certificate: standing.certificate, troubles: after))
        let new = Trouble.allCases.filter { after.contains($0) && !before.contains($0) && events.contains($0.event) }
        changes += new.map(standing.change)
        if after.isDisjoint(with: Self.serious) {
            recovered(standing.certificate, from: before, standing: standing, events)
        }
    }

    /// Told only to who heard of the trouble. That a hand-off has ended is no recovery.
    private mutating func recovered(
        _ name: Name, from before: Set<Trouble>, standing: Standing?, _ events: Set<NotificationEvent>
    ) {
        let heard = before.intersection(Self.serious).filter { events.contains($0.event) }
        guard !heard.isEmpty, events.contains(.recovered) else { return }
        changes.append(
            .init(
                certificate: name, event: .recovered, message: "all is well again", notAfter: standing?.notAfter,
                dueAt: standing?.dueAt))
    }

    private static let serious: Set<Trouble> = [.failed, .rolledBack, .rollbackFailed, .overdue]
    private static let ranks: [Trouble] = [.failed, .rolledBack, .rollbackFailed]

    private static func failing(_ troubles: Set<Trouble>) -> Trouble? { ranks.last(where: troubles.contains) }
    private static func rank(_ trouble: Trouble) -> Int { ranks.firstIndex(of: trouble) ?? -1 }
}

extension NotificationPlan {
    /// The message, if there is something to say.
    package func message(id: String, at now: Date, host: String) -> NotificationMessage? {
        guard !changes.isEmpty else { return nil }
        return NotificationMessage(
            id: id, kind: .changes, at: now, host: host, summary: Self.summary(changes),
            changes: Array(changes.prefix(Self.listLimit)), omitted: max(0, changes.count - Self.listLimit))
    }

    /// `messenger: failed`, or `1000 failed, 2 overdue`.
    static func summary(_ changes: [NotificationMessage.Change]) -> String {
        if changes.count == 1, let only = changes.first { return "\(only.certificate): \(word(only.event))" }
        let counts = Dictionary(grouping: changes, by: \.event).mapValues(\.count)
        return NotificationEvent.allCases.compactMap { event in counts[event].map { "\($0) \(word(event))" } }
            .joined(separator: ", ")
    }

    private static func word(_ event: NotificationEvent) -> String {
        switch event {
        case .failed: "failed"
        case .rolledBack: "rolled back"
        case .overdue: "overdue"
        case .handOffWaiting: "waiting for a certificate"
        case .recovered: "recovered"
        case .digest: "digest"
        }
    }

    /// How everything is: the counts, and each certificate with a trouble.
    package static func digest(_ standings: [Standing], id: String, at now: Date, host: String) -> NotificationMessage {
        var digest = NotificationMessage.Digest()
        var changes: [NotificationMessage.Change] = []
        for standing in standings.sorted(by: { $0.certificate < $1.certificate }) {
            digest.certificates += 1
            if standing.isExpired { digest.expired += 1 }
            if standing.troubles.contains(.overdue) { digest.overdue += 1 }
            if standing.troubles.contains(.handOffWaiting) { digest.waiting += 1 }
            if failing(standing.troubles) != nil { digest.failing += 1 }
            if standing.troubles.isEmpty { digest.healthy += 1 }
            if let at = standing.lastSuccessAt, at > now.addingTimeInterval(-86400) { digest.renewed += 1 }
            if let end = standing.notAfter, end < digest.soonestNotAfter ?? .distantFuture {
                (digest.soonest, digest.soonestNotAfter) = (standing.certificate.rawValue, end)
            }
            changes += Trouble.allCases.filter(standing.troubles.contains).map(standing.change)
        }
        let troubled = digest.certificates - digest.healthy
        let summary =
            troubled == 0
            ? "all \(digest.certificates) certificates are well"
            : "\(troubled) of \(digest.certificates) certificates need attention"
        return NotificationMessage(
            id: id, kind: .digest, at: now, host: host, summary: summary, changes: Array(changes.prefix(listLimit)),
            omitted: max(0, changes.count - listLimit), digest: digest)
    }
}
