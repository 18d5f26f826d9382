import CertsCore
import Foundation
import Testing

@Suite struct IssuerChangeTests {
    static let now = Date(timeIntervalSince1970: 1_800_000_000)
    let first: Name
    let second: Name

    init() throws {
        first = try Name("first")
        second = try Name("second")
    }

    private func issuing() throws -> Rotation {
        var rotation = Rotation(
            id: "r", certificate: try Name("messenger"), revision: 1, purpose: .issue, reason: .notIssued,
            issuer: first,
            deployments: [], startedAt: Self.now)
        while rotation.step != .issue { rotation.complete(at: Self.now) }
        return rotation
    }

    @Test func anotherIssuerIsAskedAnewAndTheReasonStays() throws {
        var rotation = try issuing()
        rotation.hold(ResumeHandle("order-1"))
        let error = CertsError(.issuerUnavailable, "it is down", retry: .later)
        rotation.changeIssuer(from: first, to: second, because: error, at: Self.now)
        #expect(rotation.step == .issue)
        #expect(rotation.issuer == second)
        #expect(rotation.resumeHandles.isEmpty, "a handle belongs to its issuer")
        #expect(rotation.resumeAt == nil)
        let change = try #require(rotation.issuerChanges.first)
        #expect((change.from, change.to, change.code) == (first, second, .issuerUnavailable))
        #expect(change.message == "it is down")
        #expect(rotation.failure == nil)
        while !rotation.isFinished { rotation.complete(at: Self.now) }
        #expect(rotation.outcome == .committed)
        #expect(rotation.issuerChanges == [change])
        let stored = try StoredJSON.encode(rotation)
        #expect(try StoredJSON.decode(Rotation.self, from: stored) == rotation)
    }

    @Test func eachKeyHasItsOwnHandle() throws {
        var rotation = try issuing()
        rotation.complete(.pending(ResumeHandle("order-1"), slot: .ecdsa, retryAt: nil), at: Self.now)
        rotation.complete(.pending(ResumeHandle("order-2"), slot: .rsa, retryAt: nil), at: Self.now)
        #expect(rotation.resumeHandles[.ecdsa] == ResumeHandle("order-1"))
        #expect(rotation.resumeHandles[.rsa] == ResumeHandle("order-2"))
        #expect(rotation.resumeHandles[nil] == nil)
        #expect(rotation.isWaiting)
    }

    @Test func aJournalOfYesterdayIsRead() throws {
        let stored = try StoredJSON.encode(try issuing())
        var fields = try #require(JSONSerialization.jsonObject(with: stored) as? [String: Any])
        for field in ["issuer", "changes", "handles"] { fields[field] = nil }
        let rotation = try StoredJSON.decode(Rotation.self, from: try JSONSerialization.data(withJSONObject: fields))
        #expect(rotation.step == .issue)
        #expect(rotation.issuer == nil)
        #expect(rotation.issuerChanges.isEmpty)
    }

    @Test func thatAllRefuseTellsTheReasonOfEach() throws {
        let at = Self.now.addingTimeInterval(3600)
        let change = IssuerChange(
            from: first, to: second, because: CertsError(.issuerLimited, "300 new orders", retry: .after(at)),
            at: Self.now)
        let last = CertsError(.issuerRefused, "not for you", retry: .never)
        let error = CertsError.noIssuer([change], last: second, last)
        #expect(error.details == ["first: 300 new orders [issuer.limited]", "second: not for you [issuer.refused]"])
        #expect(error.retry == .after(at), "as soon as one of them allows it")
        var rotation = try issuing()
        rotation.fail(error, at: Self.now)
        #expect(rotation.failure?.message.contains("second: not for you") == true)
    }

    @Test(arguments: [
        (CertsError.Code.issuerRefused, true), (.challengeFailed, true), (.http, true), (.dnsFailed, true),
        (.fileUnwritable, false), (.openSSL, false), (.cancelled, false), (.internal, false),
    ])
    func onlyFailuresOfTheIssuerLeadToAnother(code: CertsError.Code, isOfIssuer: Bool) {
        #expect(CertsError(code, "").isOfIssuer == isOfIssuer)
    }

    @Test func aCertificateOfTheSecondChoiceStaysUntilItIsRenewed() throws {
        var declaration = try PlannerTests.declaration()
        declaration.issuer = first
        declaration.otherIssuers = [second]
        var state = PlannerTests.state(declaration, lifetime: 90 * 86400)
        state.requested = declaration.requested(from: second)
        let planner = Planner(timerInterval: 86400)
        #expect(planner.item(for: declaration, state: state, at: PlannerTests.issued).reason == .beforeExpiry)
        declaration.otherIssuers = []
        #expect(planner.item(for: declaration, state: state, at: PlannerTests.issued).reason == .issuerChanged)
    }
}
