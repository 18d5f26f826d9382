import CertsCore
import Foundation
import Testing

@testable import CertsEngine

/// What is said follows from what was said before and from how things stand.
@Suite struct NotificationPlanTests {
    private let now = Date(timeIntervalSince1970: 1_800_000_000)
    private let name: Name

    init() throws { name = try Name("messenger") }

    private func standing(_ troubles: Set<Trouble>, _ name: Name? = nil) -> Standing {
        var standing = Standing(CertificateState(name: name ?? self.name), isHandOff: false, grace: 0, at: now)
        standing.troubles = troubles
        return standing
    }

    private func plan(
        _ before: Set<Trouble>, _ after: Set<Trouble>, on events: Set<NotificationEvent> = NotificationEvent.usual
    ) -> NotificationPlan {
        NotificationPlan(
            events: events, told: before.isEmpty ? [:] : [name: before],
            standings: after.isEmpty ? [] : [standing(after)], declared: { _ in true })
    }

    @Test(
        arguments: [
            ([], [.failed], [.failed]),
            ([], [.rolledBack], [.rolledBack]),
            ([.failed], [.rolledBack], [.rolledBack]),
            ([.rolledBack], [.rollbackFailed], [.rolledBack]),
            ([.failed], [.failed, .overdue], [.overdue]),
            ([], [.failed, .overdue], [.failed, .overdue]),
            ([], [.handOffWaiting], [.handOffWaiting]),
            ([.failed], [], [.recovered]),
            ([.overdue, .failed], [], [.recovered]),
            ([.failed], [.handOffWaiting], [.handOffWaiting, .recovered]),
            // What is not news.
            ([], [], []),
            ([.failed], [.failed], []),
            ([.rolledBack], [.failed], []),
            ([.rollbackFailed], [.rolledBack], []),
            ([.failed, .overdue], [.failed], []),
            ([.handOffWaiting], [], []),
        ] as [(Set<Trouble>, Set<Trouble>, [NotificationEvent])])
    func `each change is told once`(before: Set<Trouble>, after: Set<Trouble>, events: [NotificationEvent]) {
        let plan = plan(before, after)
        #expect(plan.changes.map(\.event) == events)
        // What was told is the beginning of the next comparison, which finds nothing.
        let told = plan.told.first?.troubles ?? before
        #expect(self.plan(told, after).changes.isEmpty)
        #expect(told.isSuperset(of: after.subtracting([.failed, .rolledBack])))
    }

    @Test func `a channel hears what it asked for, and of a recovery only if it heard of the trouble`() {
        #expect(plan([], [.failed], on: [.rolledBack, .recovered]).changes.isEmpty)
        #expect(
            plan([], [.failed], on: [.rolledBack, .recovered]).told == [.init(certificate: name, troubles: [.failed])])
        #expect(plan([.failed], [], on: [.rolledBack, .recovered]).changes.isEmpty)
        #expect(plan([.rolledBack], [], on: [.rolledBack, .recovered]).changes.map(\.event) == [.recovered])
        #expect(plan([.failed], [], on: [.failed]).changes.isEmpty)
    }

    @Test func `what is no longer declared is forgotten in silence`() {
        let plan = NotificationPlan(
            events: NotificationEvent.usual, told: [name: [.failed]], standings: [], declared: { _ in false })
        #expect(plan.changes.isEmpty)
        #expect(plan.told == [ToldChange(certificate: name, troubles: [])])
    }

    @Test func `thousands are one message that lists some and counts the rest`() throws {
        let many = try (0..<3000).map { standing([.failed], try Name("c\($0)")) }
        let plan = NotificationPlan(
            events: NotificationEvent.usual, told: [:], standings: many, declared: { _ in true })
        let message = try #require(plan.message(id: "1", at: now, host: "h"))
        #expect(message.summary == "3000 failed")
        #expect(message.changes.count == 2000)
        #expect(message.omitted == 1000)
        #expect(plan.told.count == 3000)
        #expect(try StoredJSON.encode(message).count < 1 << 20, "receivers cap what they read")
    }

    @Test func `a digest counts everything`() throws {
        var well = standing([], try Name("a"))
        well.lastSuccessAt = now.addingTimeInterval(-3600)
        well.notAfter = now.addingTimeInterval(86400)
        var ended = standing([.overdue], try Name("b"))
        (ended.isExpired, ended.notAfter) = (true, now.addingTimeInterval(-1))
        let message = NotificationPlan.digest([ended, well, standing([.rolledBack])], id: "1", at: now, host: "h")
        let digest = try #require(message.digest)
        #expect((digest.certificates, digest.healthy, digest.failing, digest.overdue) == (3, 1, 1, 1))
        #expect((digest.expired, digest.renewed, digest.soonest) == (1, 1, "b"))
        #expect(message.summary == "2 of 3 certificates need attention")
        #expect(message.changes.map(\.certificate.rawValue) == ["b", "messenger"])
    }

    @Test(arguments: [(0, -1), (6 * 3600, -1), (7 * 3600, 0), (23 * 3600, 0)])
    func `the hour of the digest is UTC`(second: Int, day: Int) {
        let midnight = Date(timeIntervalSince1970: 20_000 * 86400)
        let declaration = NotificationsDeclaration(digestMinute: 7 * 60)
        #expect(
            declaration.digestTime(before: midnight.addingTimeInterval(Double(second)))
                == midnight.addingTimeInterval(Double(day * 86400 + 7 * 3600)))
    }

    /// The state of a certificate whose rotation failed at `step`.
    private func state(_ step: Rotation.Step, target: Deployment.State) throws -> CertificateState {
        var state = CertificateState(name: name)
        state.consecutiveFailures = 1
        let failure = """
            {"step":"\(step.rawValue)","code":"internal","message":"why\\u001b[31m","retry":{"later":{}}}
            """
        state.lastFailure = try JSONDecoder().decode(Rotation.Failure.self, from: Data(failure.utf8))
        state.targets = [TargetObservation(node: NodeID(name), state: target, endpoints: [])]
        return state
    }

    @Test(arguments: [
        (Rotation.Step.issue, Deployment.State.verified, Trouble.failed), (.prepare, .failed, .failed),
        (.apply, .rolledBack, .rolledBack), (.verify, .verified, .rolledBack), (.verify, .failed, .rollbackFailed),
        (.commit, .rolledBack, .rolledBack),
    ])
    func `how it failed is read from the state`(step: Rotation.Step, target: Deployment.State, trouble: Trouble) throws
    {
        let standing = Standing(try state(step, target: target), isHandOff: false, grace: 0, at: now)
        #expect(standing.troubles == [trouble])
        #expect(standing.change(trouble).message.hasSuffix("why\\u{1b}[31m"), "nothing that a terminal obeys")
    }

    @Test func `late is what the timer should have done by now`() {
        var state = CertificateState(name: name)
        func troubles() -> Set<Trouble> { Standing(state, isHandOff: true, grace: 7200, at: now).troubles }
        state.dueAt = now.addingTimeInterval(-86400)
        #expect(troubles() == [], "never issued")
        var record = CertificateRecord()
        record.notAfter = now.addingTimeInterval(1000)
        state.record = record
        #expect(troubles() == [.overdue])
        state.dueAt = now.addingTimeInterval(-7100)
        #expect(troubles() == [])
        state.record?.notAfter = now
        #expect(troubles() == [.overdue], "expired")
        state.isWaiting = true
        #expect(troubles() == [.overdue, .handOffWaiting])
    }
}
