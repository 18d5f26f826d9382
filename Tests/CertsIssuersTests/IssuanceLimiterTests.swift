import CertsCore
import CertsIssuers
import CertsStore
import CertsTesting
import Foundation
import Testing

@Suite struct TokenBucketTests {
    static let now = Date(timeIntervalSince1970: 1_800_000_000)
    let rate = IssuanceLimits.Rate(5, per: 3600)

    @Test func givesAsManyAsItHoldsThenRefillsEvenly() {
        var bucket = TokenBucket()
        for taken in 0..<5 {
            #expect(bucket.left(rate, at: Self.now) == 5 - taken)
            #expect(bucket.nextToken(rate) <= Self.now)
            bucket.take(rate, at: Self.now)
        }
        #expect(bucket.left(rate, at: Self.now) == 0)
        #expect(bucket.nextToken(rate) == Self.now.addingTimeInterval(720))
        #expect(bucket.left(rate, at: Self.now.addingTimeInterval(719)) == 0)
        #expect(bucket.left(rate, at: Self.now.addingTimeInterval(720)) == 1)
        #expect(bucket.left(rate, at: Self.now.addingTimeInterval(3600)) == 5)
        #expect(bucket.left(rate, at: Self.now.addingTimeInterval(1e8)) == 5, "never more than it holds")
    }

    @Test func aClockThatWasSetBackKeepsNobodyLongerThanAnEmptyBucket() {
        var bucket = TokenBucket()
        bucket.take(rate, at: Self.now.addingTimeInterval(1e7))
        bucket.clamp(rate, at: Self.now)
        #expect(bucket.fullAt == Self.now.addingTimeInterval(3600))
    }

    @Test func isWrittenAsWholeSecondsRatherTooLate() throws {
        var bucket = TokenBucket()
        bucket.take(.init(7, per: 60), at: Self.now)
        let text = try StoredJSON.encode([bucket])
        let read = try #require(try StoredJSON.decode([TokenBucket].self, from: text).first)
        #expect(read.fullAt >= bucket.fullAt)
        #expect(read.fullAt.timeIntervalSince(bucket.fullAt) < 1)
        #expect(throws: DecodingError.self) {
            try StoredJSON.decode([TokenBucket].self, from: Data("[9999999999999999]".utf8))
        }
    }
}

@Suite struct IssuanceLimiterTests {
    static let now = Date(timeIntervalSince1970: 1_800_000_000)
    let directory: TemporaryDirectory
    let state: StateDirectory
    let issuer: Name

    init() async throws {
        directory = try TemporaryDirectory()
        state = try await StateDirectory.open(at: directory.path + "/state", create: true)
        issuer = try Name("letsencrypt")
    }

    private func limiter(_ limits: IssuanceLimits = .letsEncrypt) -> IssuanceLimiter {
        IssuanceLimiter(issuer: issuer, limits: limits, files: state)
    }

    private func isGranted(_ reservation: IssuanceLimiter.Reservation) -> Bool { reservation == .granted }

    @Test func takesNoMoreThanTheLimitAcrossProcessesAndRestarts() async throws {
        let limits = IssuanceLimits(newOrders: .init(3, per: 3600))
        // Each limiter is what a process of its own would make.
        let answers = await concurrently(Array(0..<12), width: 12) { index in
            try? await limiter(limits).reserveOrder(names: [.dns("h\(index).example.com")], kind: .new, now: Self.now)
        }
        #expect(answers.count { $0 == .granted } == 3)
        let late = Self.now.addingTimeInterval(1200)
        #expect(answers.allSatisfy { $0 == .granted || $0 == .wait(until: late, because: "3 in 1 hours new orders") })
        #expect(
            try await limiter(limits).reserveOrder(names: [.dns("x.example.com")], kind: .new, now: late) == .granted)
    }

    @Test func theSameNamesInAnyOrderAreOneSet() async throws {
        let limiter = limiter()
        let names: [AlternativeName] = [.dns("a.example.com"), .dns("b.example.com")]
        for _ in 0..<5 {
            #expect(try await limiter.reserveOrder(names: names, kind: .renewal, now: Self.now) == .granted)
        }
        let sixth = try await limiter.reserveOrder(names: names.reversed(), kind: .renewal, now: Self.now)
        #expect(
            sixth
                == .wait(
                    until: Self.now.addingTimeInterval(7 * 86400 / 5),
                    because: "5 in 7 days certificates for the same names"))
        #expect(try await limiter.reserveOrder(names: [names[0]], kind: .renewal, now: Self.now) == .granted)
    }

    @Test func onlyWhatIsNewCountsForOrdersAndDomains() async throws {
        let limits = IssuanceLimits(newOrders: .init(1, per: 3600), perDomain: .init(1, per: 3600))
        let limiter = limiter(limits)
        let name = AlternativeName.dns("www.example.com")
        #expect(try await limiter.reserveOrder(names: [name], kind: .new, now: Self.now) == .granted)
        #expect(try await limiter.reserveOrder(names: [name], kind: .renewal, now: Self.now) == .granted)
        #expect(try await limiter.reserveOrder(names: [name], isRenewalByARI: true, now: Self.now) == .granted)
        #expect(try await !isGranted(limiter.reserveOrder(names: [.dns("y.example.net")], kind: .new, now: Self.now)))
    }

    @Test(arguments: [
        ([AlternativeName.dns("a.example.co.uk")], [AlternativeName.dns("*.b.example.co.uk")], true),
        ([.dns("a.co.uk")], [.dns("b.co.uk")], false),
        ([.dns("x.github.io")], [.dns("y.github.io")], false),
        ([.dns("example.com")], [.dns("deep.down.example.com")], true),
    ])
    func countsByRegisteredDomain(one: [AlternativeName], other: [AlternativeName], areSame: Bool) async throws {
        let limiter = limiter(IssuanceLimits(perDomain: .init(1, per: 3600)))
        #expect(try await limiter.reserveOrder(names: one, kind: .new, now: Self.now) == .granted)
        #expect(try await isGranted(limiter.reserveOrder(names: other, kind: .new, now: Self.now)) == !areSame)
    }

    @Test func countsAnIPv6NetworkAsOneDomain() async throws {
        let limiter = limiter(IssuanceLimits(perDomain: .init(1, per: 3600)))
        let addresses = try ["2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"].map { try #require(IPAddress($0)) }
        #expect(try await limiter.reserveOrder(names: [.ip(addresses[0])], kind: .new, now: Self.now) == .granted)
        #expect(try await !isGranted(limiter.reserveOrder(names: [.ip(addresses[1])], kind: .new, now: Self.now)))
        #expect(try await limiter.reserveOrder(names: [.ip(addresses[2])], kind: .new, now: Self.now) == .granted)
    }

    @Test func failedValidationsStopTheNameAndTheOrdersWithIt() async throws {
        let limiter = limiter()
        let name = AlternativeName.dns("broken.example.com")
        for _ in 0..<5 {
            #expect(try await limiter.canValidate(name, now: Self.now) == .granted)
            try await limiter.recordFailedValidation(name, now: Self.now)
        }
        let until = Self.now.addingTimeInterval(720)
        let wait = IssuanceLimiter.Reservation.wait(
            until: until, because: "5 in 1 hours failed validations of broken.example.com")
        #expect(try await limiter.canValidate(name, now: Self.now) == wait)
        #expect(
            try await limiter.reserveOrder(names: [name, .dns("fine.example.com")], kind: .new, now: Self.now) == wait)
        #expect(try await limiter.canValidate(name, now: until) == .granted)
        #expect(try await limiter.canValidate(.dns("fine.example.com"), now: Self.now) == .granted)
    }

    @Test func whatTheCAAsksForIsKeptUpToADay() async throws {
        let limiter = limiter(.none)
        let names: [AlternativeName] = [.dns("a.example.com")]
        try await limiter.blockUntil(Self.now.addingTimeInterval(60), names: names, now: Self.now)
        #expect(try await !isGranted(limiter.reserveOrder(names: names, kind: .renewalByHint, now: Self.now)))
        #expect(
            try await limiter.reserveOrder(names: [.dns("b.example.com")], kind: .new, now: Self.now) == .granted)
        try await limiter.blockUntil(Self.now.addingTimeInterval(1e9), now: Self.now)
        let again = self.limiter(.none)
        #expect(
            try await again.reserveOrder(names: [.dns("b.example.com")], kind: .new, now: Self.now)
                == .wait(until: Self.now.addingTimeInterval(86400), because: "the CA asked to wait"))
        let later = Self.now.addingTimeInterval(86400)
        #expect(try await again.reserveOrder(names: names, kind: .new, now: later) == .granted)
    }

    @Test func accountsAreCountedAlsoUnderALockThatIsHeld() async throws {
        let limiter = limiter(IssuanceLimits(newAccounts: .init(1, per: 60)))
        let lock = try await state.lock(issuer, in: .accounts, deadline: .seconds(5))
        #expect(try await limiter.reserveAccount(now: Self.now, holding: lock) == .granted)
        #expect(try await !isGranted(limiter.reserveAccount(now: Self.now, holding: lock)))
        lock.release()
        #expect(try await limiter.reserveAccount(now: Self.now.addingTimeInterval(60)) == .granted)
    }

    @Test func tellsWhatIsLeft() async throws {
        let limiter = limiter()
        let names: [AlternativeName] = [.dns("www.example.com")]
        _ = try await limiter.reserveOrder(names: names, kind: .new, now: Self.now)
        try await limiter.recordFailedValidation(names[0], now: Self.now)
        let left = try await limiter.remaining(of: [names], now: Self.now)
        #expect(
            left == [
                .init(limit: "new orders", subject: nil, left: 299, of: 300),
                .init(limit: "new accounts", subject: nil, left: 10, of: 10),
                .init(limit: "certificates for a domain", subject: "example.com", left: 49, of: 50),
                .init(limit: "certificates for the same names", subject: "www.example.com", left: 4, of: 5),
                .init(limit: "failed validations", subject: "www.example.com", left: 4, of: 5),
            ])
    }

    @Test func admitsInOrderAndTellsTheOthersTheirTurn() async throws {
        let limiter = limiter(IssuanceLimits(newOrders: .init(2, per: 200), perDomain: .init(1, per: 1000)))
        let hosts = ["a.example.com", "b.example.com", "example.net", "example.org", "example.edu"]
        let answers = try await limiter.admit(
            hosts.map { IssuanceDemand(names: [.dns($0)], kind: .new) }, now: Self.now)
        #expect(answers[0] == .now)
        #expect(
            answers[1]
                == .wait(
                    until: Self.now.addingTimeInterval(1000), because: "1 in 1000 seconds certificates for example.com")
        )
        #expect(answers[2] == .now, "what waits for its domain takes no order from the others")
        #expect(answers[3] == .wait(until: Self.now.addingTimeInterval(100), because: "2 in 200 seconds new orders"))
        #expect(answers[4] == .wait(until: Self.now.addingTimeInterval(200), because: "2 in 200 seconds new orders"))
        #expect(try await limiter.remaining(now: Self.now).first?.left == 2, "nothing is reserved by asking")
    }

    @Test func tenThousandDomainsStayASmallFileAndAreForgottenWhenFull() async throws {
        var ledger = IssuanceLedger()
        for index in 0..<10_000 {
            let names = [AlternativeName.dns("www.a-rather-long-name-of-a-domain-\(index).example")]
            ledger.take(for: .init(names: names, kind: .new), .letsEncrypt, now: Self.now)
            ledger.takeFailure(of: names[0], .letsEncrypt, now: Self.now)
        }
        #expect(try StoredJSON.encode(ledger).count < 1_000_000)
        ledger.settle(.letsEncrypt, now: Self.now.addingTimeInterval(8 * 86400))
        #expect(try StoredJSON.encode(ledger).count < 1000)
    }

    @Test func whatDoesNotFitIsShortened() throws {
        var ledger = IssuanceLedger()
        for index in 0..<1000 {
            let demand = IssuanceDemand(names: [.dns("h\(index).example")], kind: .renewal)
            ledger.take(for: demand, .letsEncrypt, now: Self.now.addingTimeInterval(Double(index)))
        }
        let before = try StoredJSON.encode(ledger).count
        ledger.shorten()
        #expect(try StoredJSON.encode(ledger).count < before * 6 / 10)
        let newest = IssuanceDemand(names: [.dns("h999.example")], kind: .renewal)
        for _ in 0..<4 { ledger.take(for: newest, .letsEncrypt, now: Self.now.addingTimeInterval(999)) }
        #expect(ledger.wait(for: newest, .letsEncrypt, now: Self.now.addingTimeInterval(999)) != nil, "it is kept")
    }

    @Test func aDamagedFileBeginsAnew() async throws {
        try await state.write(Secret(copying: "{".utf8), to: "limits.json", of: issuer, in: .accounts)
        #expect(
            try await limiter().reserveOrder(names: [.dns("a.example.com")], kind: .new, now: Self.now) == .granted)
        #expect(try await limiter().remaining(now: Self.now).first?.left == 299)
    }
}
