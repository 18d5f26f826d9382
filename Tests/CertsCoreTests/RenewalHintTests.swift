import CertsCore
import Foundation
import Testing

@Suite struct RenewalHintTests {
    static let now = Date(timeIntervalSince1970: 1_800_000_000)
    static let leaf: Fingerprint = {
        guard let leaf = Fingerprint(hex: String(repeating: "ab", count: 32)) else { preconditionFailure("a constant") }
        return leaf
    }()

    static func window(from start: TimeInterval, to end: TimeInterval, why: String? = nil) -> SuggestedWindow {
        SuggestedWindow(
            start: now.addingTimeInterval(start), end: now.addingTimeInterval(end), explanationURL: why,
            checkAt: now.addingTimeInterval(21600))
    }

    @Test(arguments: [(0.0, 100.0), (0.25, 125), (1, 200), (-3, 100), (7, 200)])
    func picksOneTimeWithinTheWindow(random: Double, seconds: Double) throws {
        let hint = try #require(
            RenewalHint.updated(from: Self.window(from: 100, to: 200), previous: nil, leaf: Self.leaf) { random })
        #expect(hint.pick == Self.now.addingTimeInterval(seconds))
    }

    @Test func thePickStaysWhileTheWindowDoes() throws {
        let window = Self.window(from: 100, to: 200)
        let first = try #require(RenewalHint.updated(from: window, previous: nil, leaf: Self.leaf) { 0.3 })
        var again = window
        again.checkAt = Self.now.addingTimeInterval(99999)
        again.explanationURL = "https://ca.example/why"
        let second = try #require(RenewalHint.updated(from: again, previous: first, leaf: Self.leaf) { 0.9 })
        #expect(second.pick == first.pick)
        #expect(second.checkAt == again.checkAt)
        #expect(second.explanationURL == "https://ca.example/why")
    }

    @Test(arguments: [(100.0, 201.0), (99, 200), (-200, -100)])
    func thePickMovesWithTheWindow(start: Double, end: Double) throws {
        let first = RenewalHint.updated(from: Self.window(from: 100, to: 200), previous: nil, leaf: Self.leaf) { 0 }
        let moved = try #require(
            RenewalHint.updated(from: Self.window(from: start, to: end), previous: first, leaf: Self.leaf) { 1 })
        #expect(moved.pick == Self.now.addingTimeInterval(end))
    }

    @Test func anotherLeafHasAPickOfItsOwn() throws {
        let window = Self.window(from: 100, to: 200)
        let first = RenewalHint.updated(from: window, previous: nil, leaf: Self.leaf) { 0 }
        let other = try #require(Fingerprint(hex: String(repeating: "cd", count: 32)))
        let second = try #require(RenewalHint.updated(from: window, previous: first, leaf: other) { 1 })
        #expect(second.pick == window.end)
        #expect(second.leaf == other)
    }

    @Test(arguments: [(100.0, 100.0), (200, 100)])
    func aWindowThatEndsBeforeItBeginsIsNoAnswer(start: Double, end: Double) {
        let window = Self.window(from: start, to: end)
        #expect(RenewalHint.updated(from: window, previous: nil, leaf: Self.leaf) { 0.5 } == nil)
    }

    @Test func failuresThatMayPassAreTriedAgainLaterAndLater() {
        var check = HintCheck(leaf: Self.leaf, at: Self.now)
        var delays: [TimeInterval] = []
        for _ in 0..<12 {
            check.fail(CertsError(.http, "503", retry: .later), now: Self.now)
            delays.append(check.at.timeIntervalSince(Self.now))
        }
        #expect(delays.prefix(4) == [60, 120, 240, 480])
        #expect(delays.last == 21600)
        #expect(delays == delays.sorted())
        check.succeed(nextAt: Self.now)
        #expect(check == HintCheck(leaf: Self.leaf, at: Self.now))
    }

    @Test(arguments: [
        (CertsError.Retry.never, 21600.0), (.after(RenewalHintTests.now.addingTimeInterval(3600)), 3600),
        (.after(RenewalHintTests.now), 60), (.after(RenewalHintTests.now.addingTimeInterval(1e6)), 86400),
    ])
    func otherFailuresWaitAsTheySay(retry: CertsError.Retry, seconds: Double) {
        var check = HintCheck(leaf: Self.leaf, at: Self.now)
        check.fail(CertsError(.issuerRefused, "no", retry: retry), now: Self.now)
        #expect(check.at == Self.now.addingTimeInterval(seconds))
        #expect(check.problem?.contains("no") == true)
    }

    // MARK: In the plan

    private func item(_ pick: TimeInterval, leaf: Fingerprint? = nil) throws -> PlanItem {
        let declaration = try PlannerTests.declaration()
        var state = PlannerTests.state(declaration, lifetime: 90 * 86400)
        let at = PlannerTests.issued.addingTimeInterval(pick)
        state.hint = RenewalHint(
            start: at, end: at, pick: at, checkAt: at, explanationURL: "https://ca.example/why", leaf: leaf ?? Self.leaf
        )
        return Planner(timerInterval: 86400).item(for: declaration, state: state, at: PlannerTests.issued)
    }

    @Test func anEarlierPickDecidesAndIsExplained() throws {
        let item = try item(10 * 86400)
        #expect(item.reason == .issuerHint)
        #expect(item.dueAt == PlannerTests.issued.addingTimeInterval(10 * 86400))
        #expect(item.explanationURL == "https://ca.example/why")
        #expect(!item.due)
    }

    @Test func aLaterPickNeverPostpones() throws {
        let item = try item(80 * 86400)
        #expect(item.reason == .beforeExpiry)
        #expect(item.dueAt == PlannerTests.issued.addingTimeInterval(60 * 86400))
        #expect(item.explanationURL == nil)
    }

    @Test(arguments: [-5000.0, 0.0, 72000.0])
    func aPickThatThePlannerWouldSleepThroughIsDueNow(pick: Double) throws {
        #expect(try item(pick).due)
    }

    @Test func theHintOfAnotherLeafCountsForNothing() throws {
        let other = try #require(Fingerprint(hex: String(repeating: "cd", count: 32)))
        #expect(try item(0, leaf: other).reason == .beforeExpiry)
    }
}
