import CertsCore
import Foundation
import Testing

@Suite struct PlannerTests {
    static let day: TimeInterval = 86400
    static let issued = Date(timeIntervalSince1970: 1_800_000_000)

    static func declaration(_ name: String = "messenger", before: TimeInterval = 30 * day) throws
        -> CertificateDeclaration
    {
        CertificateDeclaration(
            name: try Name(name), names: [.dns("messenger.example.com")], issuer: try Name("local"),
            renewal: RenewalPolicy(before: before))
    }

    static func state(_ declaration: CertificateDeclaration, lifetime: TimeInterval, from start: Date = issued)
        -> CertificateState
    {
        var record = CertificateRecord()
        record.notBefore = start
        record.notAfter = start.addingTimeInterval(lifetime)
        record.sha256 = String(repeating: "ab", count: 32)
        var state = CertificateState(name: declaration.name)
        (state.revision, state.issuedRevision) = (1, 1)
        (state.record, state.currentRecord) = (record, record)
        state.requested = declaration.requested
        return state
    }

    @Test(arguments: [
        (6.0, 3.0, PlanReason.halfOfLifetime), (47, 47.0 / 3, .thirdOfLifetime), (64, 64.0 / 3, .thirdOfLifetime),
        (90, 30, .beforeExpiry), (200, 30, .beforeExpiry), (398, 30, .beforeExpiry), (10, 10.0 / 3, .thirdOfLifetime),
        (1, 0.5, .halfOfLifetime),
    ])
    func isDueByTheRuleOfItsLifetime(days: Double, daysBefore: Double, reason: PlanReason) throws {
        let declaration = try Self.declaration()
        let state = Self.state(declaration, lifetime: days * Self.day)
        let item = Planner(timerInterval: Self.day).item(for: declaration, state: state, at: Self.issued)
        let expected = Self.issued.addingTimeInterval((days - daysBefore) * Self.day)
        #expect(abs(item.dueAt.timeIntervalSince(expected)) < 1)
        #expect(item.reason == reason)
        #expect(item.purpose == .issue)
    }

    // MARK: Windows

    /// Sundays, 02:00 to 04:00 UTC; `issued` is a Friday, 08:00.
    private static func waiting() throws -> CertificateDeclaration {
        var declaration = try declaration()
        declaration.window = WindowDeclaration(.standard, schedule: JobSchedule(.weekly([0], 120)), duration: 7200)
        return declaration
    }

    @Test func theRenewalWaitsForTheWindowButNotPastTheEmergencyFloor() throws {
        let declaration = try Self.waiting()
        let state = Self.state(declaration, lifetime: 90 * Self.day)
        let window = try #require(declaration.window)
        let dueAt = Self.issued.addingTimeInterval(60 * Self.day)
        let planner = Planner(timerInterval: 3600)
        let item = planner.item(for: declaration, state: state, at: dueAt)
        #expect(item.due)
        #expect(item.blockedUntil == window.next(after: dueAt)?.start)
        #expect(item.blockedBecause?.contains("standard window") == true)
        // Day 75 is the floor: the Sunday before it is the last that is waited for.
        let floor = dueAt.addingTimeInterval(15 * Self.day)
        let last = try #require(window.occurrences(from: dueAt, to: floor).last)
        #expect(planner.item(for: declaration, state: state, at: last.start).blockedUntil == nil)
        #expect(
            planner.item(for: declaration, state: state, at: last.start.addingTimeInterval(-1)).blockedUntil
                == last.start)
        #expect(planner.item(for: declaration, state: state, at: last.end).blockedUntil == nil)
        #expect(planner.item(for: declaration, state: state, at: last.end).due)
    }

    @Test func inAWindowWhatIsDueBeforeTheNextOneHasItsTurn() throws {
        let declaration = try Self.waiting()
        let state = Self.state(declaration, lifetime: 90 * Self.day)
        let window = try #require(declaration.window)
        let planner = Planner(timerInterval: 3600)
        let dueAt = Self.issued.addingTimeInterval(60 * Self.day)
        let before = try #require(window.occurrences(from: Self.issued, to: dueAt).last)
        let item = planner.item(for: declaration, state: state, at: before.start)
        #expect(item.due && item.blockedUntil == nil)
        #expect(!planner.item(for: declaration, state: state, at: before.start.addingTimeInterval(-1)).due)
        // Once renewed, it is not renewed again in the same window, however short its life.
        let short = Self.state(declaration, lifetime: 6 * Self.day, from: before.start)
        #expect(!planner.item(for: declaration, state: short, at: before.start.addingTimeInterval(3600)).due)
    }

    @Test func whatIsBrokenDoesNotWait() throws {
        let declaration = try Self.waiting()
        let planner = Planner(timerInterval: 3600)
        #expect(planner.item(for: declaration, state: nil, at: Self.issued).blockedUntil == nil)
        let state = Self.state(declaration, lifetime: 90 * Self.day)
        let late = planner.item(for: declaration, state: state, at: Self.issued.addingTimeInterval(91 * Self.day))
        #expect(late.due && late.blockedUntil == nil)
        // Another name is no hurry.
        var changed = declaration
        changed.names = [.dns("other.example.com")]
        let item = planner.item(for: changed, state: state, at: Self.issued)
        #expect(item.reason == .namesChanged && item.blockedUntil != nil)
    }

    @Test func theHintOfTheCACountsOnlyWhenItIsEarlier() throws {
        let policy = RenewalPolicy()
        let end = Self.issued.addingTimeInterval(90 * Self.day)
        let early = Self.issued.addingTimeInterval(10 * Self.day)
        #expect(policy.due(notBefore: Self.issued, notAfter: end, hint: early) == (early, .issuerHint))
        let late = Self.issued.addingTimeInterval(80 * Self.day)
        #expect(policy.due(notBefore: Self.issued, notAfter: end, hint: late).reason == .beforeExpiry)
    }

    @Test func whatBecomesDueBeforeTheNextRunIsDueNow() throws {
        let declaration = try Self.declaration()
        let state = Self.state(declaration, lifetime: 90 * Self.day)
        let planner = Planner(timerInterval: Self.day)
        let dueAt = Self.issued.addingTimeInterval(60 * Self.day)
        #expect(!planner.item(for: declaration, state: state, at: dueAt.addingTimeInterval(-27 * 3600)).due)
        #expect(planner.item(for: declaration, state: state, at: dueAt.addingTimeInterval(-25 * 3600)).due)
    }

    @Test func theFirstCheckThatFindsSomethingDecides() throws {
        let declaration = try Self.declaration()
        let planner = Planner(timerInterval: Self.day)
        let now = Self.issued.addingTimeInterval(Self.day)
        func reason(_ change: (inout CertificateDeclaration, inout CertificateState) throws -> Void) throws
            -> PlanReason
        {
            var declaration = declaration
            var state = Self.state(declaration, lifetime: 90 * Self.day)
            try change(&declaration, &state)
            let item = planner.item(for: declaration, state: state, at: now)
            #expect(item.due)
            return item.reason
        }
        #expect(planner.item(for: declaration, state: nil, at: now).reason == .notIssued)
        #expect(try reason { declaration, _ in declaration.issuer = try Name("other") } == .issuerChanged)
        #expect(try reason { declaration, _ in declaration.key.algorithms = [.rsa2048] } == .keyChanged)
        #expect(try reason { declaration, _ in declaration.names.append(.dns("www.example.com")) } == .namesChanged)
        #expect(try reason { declaration, _ in declaration.subject.organization = "X" } == .subjectChanged)
        #expect(try reason { _, state in state.record?.notAfter = now } == .expired)
        #expect(try reason { _, state in state.issuedRevision = 2 } == .undeployed)
        #expect(
            try reason { declaration, state in
                declaration.targets = [try Name("lb")]
                let other = try #require(Fingerprint(hex: String(repeating: "cd", count: 32)))
                state.targets = [
                    TargetObservation(
                        node: NodeID(try Name("lb")), state: .verified,
                        endpoints: [
                            EndpointObservation(endpoint: Endpoint(host: "h", port: 1), served: other, observedAt: now)
                        ])
                ]
            } == .notServed)
        #expect(try reason { declaration, _ in declaration.targets = [try Name("lb")] } == .undeployed)
    }

    @Test func theOrderOfNamesDoesNotMatter() throws {
        var declaration = try Self.declaration()
        declaration.names = [.dns("a.example"), .dns("b.example")]
        let state = Self.state(declaration, lifetime: 90 * Self.day)
        declaration.names.reverse()
        #expect(!Planner(timerInterval: Self.day).item(for: declaration, state: state, at: Self.issued).due)
    }

    @Test func restsAfterFailuresUntilTheBackoffIsOver() throws {
        let declaration = try Self.declaration()
        var state = Self.state(declaration, lifetime: 90 * Self.day)
        let now = Self.issued.addingTimeInterval(70 * Self.day)
        state.nextAttemptAt = now.addingTimeInterval(60)
        #expect(Planner(timerInterval: Self.day).item(for: declaration, state: state, at: now).blockedUntil != nil)
        #expect(
            Planner(timerInterval: Self.day).item(for: declaration, state: state, at: now.addingTimeInterval(61))
                .blockedUntil == nil)
    }

    @Test func plansSoonestFirst() throws {
        let planner = Planner(timerInterval: Self.day)
        let pairs = try [("c", 90.0), ("a", 6), ("b", 47)].map { name, days in
            let declaration = try Self.declaration(name)
            return (declaration: declaration, state: Optional(Self.state(declaration, lifetime: days * Self.day)))
        }
        #expect(planner.plan(pairs, at: Self.issued).map(\.certificate.rawValue) == ["a", "b", "c"])
    }

    /// A year of a daily timer with its random delay: the users' alert (`ssl_cert_expiry_days < 30` for an hour) must
    /// not fire in a healthy cycle.
    @Test(arguments: [90.0, 100, 180, 200, 398])
    func aDailyTimerNeverLeavesLessThanThirtyDaysForAnHour(days: Double) throws {
        let declaration = try Self.declaration()
        let planner = Planner(timerInterval: Self.day)
        var random = SystemRandomNumberGenerator()
        for _ in 0..<20 {
            var state = Self.state(declaration, lifetime: days * Self.day)
            var renewals = 0
            let offset = Double.random(in: 0..<Self.day, using: &random)
            for run in 0..<(days > 365 ? 800 : 400) {
                let now = Self.issued.addingTimeInterval(
                    offset + Double(run) * Self.day + Double.random(in: 0...3600, using: &random))
                // What the alert saw since the last run is judged by the last moment before this run's renewal.
                let left = try #require(state.record?.notAfter.timeIntervalSince(now)) / Self.day
                #expect(left > 30 - 1.0 / 24, "only \(left) days left at run \(run)")
                if planner.item(for: declaration, state: state, at: now).due {
                    state = Self.state(declaration, lifetime: days * Self.day, from: now)
                    renewals += 1
                }
            }
            #expect(renewals >= 1)
            // Not too eager either: the first renewal of a 90-day certificate is not before day 57.
            #expect(renewals <= Int(800 / max(days - 33, 1)) + 1)
        }
    }
}
