import CertsCore
import Foundation
import Testing

@Suite struct StaplePlannerTests {
    static let day: TimeInterval = 86400
    static let now = PlannerTests.issued.addingTimeInterval(10 * day)

    /// In days from now; `nil`: none.
    struct Case: Sendable, CustomTestStringConvertible {
        let refresh: Double?
        let end: Double?
        let isDue: Bool
        var testDescription: String { "\(String(describing: refresh)) to \(String(describing: end))" }
    }

    private func item(
        _ staple: StapleDates?, at now: Date = now, change: (inout CertificateDeclaration) -> Void = { _ in }
    )
        throws -> PlanItem
    {
        var declaration = try PlannerTests.declaration()
        declaration.staple = true
        declaration.targets = [try Name("loadbalancer")]
        change(&declaration)
        var state = PlannerTests.state(declaration, lifetime: 90 * Self.day)
        state.staple = staple
        state.targets = try [
            TargetObservation(node: NodeID(Name("loadbalancer")), state: .verified, endpoints: [])
        ]
        return Planner(timerInterval: Self.day).item(for: declaration, state: state, at: now)
    }

    @Test(arguments: [
        Case(refresh: nil, end: nil, isDue: true), Case(refresh: -1, end: 3, isDue: true),
        Case(refresh: 3.5, end: 7, isDue: false), Case(refresh: 0.5, end: 1, isDue: true),
        Case(refresh: 1.5, end: nil, isDue: false), Case(refresh: 0.6, end: 2, isDue: false),
    ])
    func isFetchedAnewBeforeItEnds(_ one: Case) throws {
        let dates = one.refresh.map { refresh in
            StapleDates(
                refreshAt: Self.now.addingTimeInterval(refresh * Self.day),
                nextUpdate: one.end.map { Self.now.addingTimeInterval($0 * Self.day) })
        }
        let item = try item(dates)
        #expect((item.reason == .staple) == one.isDue)
        #expect(item.due == one.isDue)
        #expect(item.purpose == (one.isDue ? .deploy : .issue))
    }

    /// No responder that is away may keep a certificate from being renewed.
    @Test func comesAfterTheRenewal() throws {
        let item = try item(nil, at: PlannerTests.issued.addingTimeInterval(60 * Self.day))
        #expect(item.reason == .beforeExpiry)
        #expect(item.purpose == .issue && item.due)
    }

    @Test func isNotWantedWhereNothingServesIt() throws {
        #expect(try item(nil) { $0.staple = false }.reason == .beforeExpiry)
        #expect(try item(nil) { $0.targets = [] }.reason == .beforeExpiry)
    }
}
