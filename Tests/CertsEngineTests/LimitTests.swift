import CertsCore
import CertsEngine
import CertsIssuers
import CertsStore
import CertsTesting
import Foundation
import Synchronization
import Testing

/// An issuer with limits is not sent more than it takes.
@Suite(.timeLimit(.minutes(15))) struct LimitTests {
    private func limit(_ issuer: FakeIssuer, _ world: EngineWorld, _ limits: IssuanceLimits) -> IssuanceLimiter {
        let limiter = IssuanceLimiter(issuer: issuer.name, limits: limits, files: world.state)
        issuer.limit { try await limiter.admit($0, now: $1) }
        return limiter
    }

    @Test func whatCannotBeTakenNowIsNotBegun() async throws {
        let world = try await EngineWorld(targets: 0, certificates: ["a", "b", "c"])
        let limiter = limit(world.issuer, world, IssuanceLimits(newOrders: .init(1, per: 3600)))
        let taken = try await limiter.reserveOrder(names: [.dns("x.example")], kind: .new, now: world.clock.now.wall)
        #expect(taken == .granted)
        let engine = world.engine()
        let results = try await engine.rotateDue()
        #expect(results.count { $0.isSkipped } == 3)
        #expect(world.issuer.asked == 0)
        #expect(try await world.database.openRotations().isEmpty)
        let plan = try await engine.plan(at: world.clock.now.wall)
        let hour = world.clock.now.wall.addingTimeInterval(3600)
        #expect(plan.map(\.blockedUntil) == [1, 2, 3].map { world.clock.now.wall.addingTimeInterval(3600 * $0) })
        #expect(plan.first?.blockedBecause == "fake: 1 in 1 hours new orders")
        let entries = try await engine.status(at: world.clock.now.wall).certificates
        #expect(
            entries.contains { $0.nextAttemptAt == hour && $0.nextAttemptBecause == "fake: 1 in 1 hours new orders" })
        world.clock.advance(by: 3600)
        #expect(try await engine.rotateDue().count { $0.rotation?.outcome == .committed } >= 1)
    }

    @Test func whoHasTimeWaitsAndWhoHasNoneGoesToTheNext() async throws {
        let world = try await EngineWorld(targets: 0, otherIssuers: ["second"])
        let name = EngineWorld.name
        let engine = world.engine()
        _ = await engine.rotate([name])
        let limiter = limit(world.issuer, world, IssuanceLimits(perNameSet: .init(1, per: 40 * 86400)))
        let names = world.declarations.certificates[0].names
        world.clock.advance(by: 61 * 86400)
        #expect(try await limiter.reserveOrder(names: names, kind: .renewal, now: world.clock.now.wall) == .granted)
        // The limit ends after the certificate: waiting for it is no way.
        let rotation = try #require(try await engine.rotateDue().first?.rotation)
        #expect(rotation.issuer == world.others[0].name)
        #expect(rotation.issuerChanges.first?.code == .issuerLimited)
        #expect(world.issuer.asked == 1)
        // A short wait is waited out.
        world.clock.advance(by: 61 * 86400)
        let short = limit(world.issuer, world, IssuanceLimits(newOrders: .init(1, per: 86400)))
        #expect(
            try await short.reserveOrder(names: [.dns("x.example")], kind: .new, now: world.clock.now.wall) == .granted)
        #expect(try await engine.rotateDue().allSatisfy(\.isSkipped))
        #expect(world.issuer.asked == 1)
    }

    @Test func aPersonWhoCannotWaitGetsTheNextIssuer() async throws {
        let world = try await EngineWorld(targets: 0, otherIssuers: ["second"])
        let engine = world.engine()
        _ = await engine.rotate([EngineWorld.name])
        let limiter = limit(world.issuer, world, IssuanceLimits(perNameSet: .init(1, per: 3600)))
        let names = world.declarations.certificates[0].names
        #expect(try await limiter.reserveOrder(names: names, kind: .renewal, now: world.clock.now.wall) == .granted)
        let rotation = try #require(await engine.rotate([EngineWorld.name]).first?.rotation)
        #expect((rotation.outcome, rotation.issuer) == (.committed, world.others[0].name))
        #expect(rotation.issuerChanges.map(\.code) == [.issuerLimited])
    }

    @Test func aRenewalByHintWaitsForNoLimit() async throws {
        let world = try await EngineWorld(targets: 0)
        let engine = world.engine()
        _ = await engine.rotate([EngineWorld.name])
        let now = world.clock.now.wall
        world.issuer.advise { _ in
            SuggestedWindow(
                start: now.addingTimeInterval(-7200), end: now.addingTimeInterval(-3600), explanationURL: nil,
                checkAt: now.addingTimeInterval(3600))
        }
        let limiter = limit(world.issuer, world, .letsEncrypt)
        let names = world.declarations.certificates[0].names
        for _ in 0..<5 { _ = try await limiter.reserveOrder(names: names, kind: .renewal, now: now) }
        await engine.refreshHints()
        #expect(try await engine.rotateDue().first?.rotation?.outcome == .committed)
    }

    /// As an ACME issuer does it: a request that the limits do not allow waits for its time.
    private final class Metered: LimitedIssuer {
        let real: FakeIssuer
        let limiter: IssuanceLimiter
        let refused = Mutex(0)
        var name: Name { real.name }

        init(real: FakeIssuer, limiter: IssuanceLimiter) {
            self.real = real
            self.limiter = limiter
        }

        func trustAnchors() async throws -> [Data] { try await real.trustAnchors() }
        func admit(_ demands: [IssuanceDemand], now: Date) async throws -> [Admission] {
            try await limiter.admit(demands, now: now)
        }

        func issue(_ request: IssuanceRequest) async throws -> IssuanceOutcome {
            let names = request.declaration.names
            switch try await limiter.reserveOrder(names: names, kind: request.kind, now: request.now) {
            case .granted: return try await real.issue(request)
            case .wait(let until, let because):
                refused.withLock { $0 += 1 }
                return .pending(ResumeHandle("limit", waitingFor: because), retryAt: until)
            }
        }
    }

    @Test func aCrowdIsIssuedAsFastAsTheLimitAllowsAndNoFaster() async throws {
        let world = try await EngineWorld(targets: 0, certificates: (0..<30).map { "host-\($0)" })
        var declarations = world.declarations
        for index in declarations.certificates.indices {
            declarations.certificates[index].names = [.dns("host.domain-\(index).example")]
        }
        let limiter = IssuanceLimiter(
            issuer: world.issuer.name, limits: .init(newOrders: .init(5, per: 5 * 3600)), files: world.state)
        let metered = Metered(real: world.issuer, limiter: limiter)
        var context = world.engine(declarations: declarations).context
        context.issuers[metered.name] = metered
        let engine = RotationEngine(context)
        try await engine.reconcile()
        var hours = 0
        while world.issuer.issued < 30, hours < 40 {
            _ = try await engine.rotateDue(.indexed)
            #expect(world.issuer.issued == min(30, 5 + hours))
            #expect(try await world.database.openRotations().isEmpty, "nothing waits with a key")
            world.clock.advance(by: 3600)
            hours += 1
        }
        #expect(world.issuer.issued == 30)
        #expect(metered.refused.withLock { $0 } == 0, "what is begun is what can be taken")
    }

    @Test func aRotationThatWaitsForALimitSaysSoAndGoesOn() async throws {
        let world = try await EngineWorld(targets: 0)
        let limiter = IssuanceLimiter(
            issuer: world.issuer.name, limits: .init(newOrders: .init(1, per: 3600)), files: world.state)
        let now = world.clock.now.wall
        #expect(try await limiter.reserveOrder(names: [.dns("x.example")], kind: .new, now: now) == .granted)
        let metered = Metered(real: world.issuer, limiter: limiter)
        var context = world.engine().context
        context.issuers[metered.name] = metered
        let engine = RotationEngine(context)
        guard case .waiting? = await engine.rotate([EngineWorld.name]).first else {
            Issue.record("a person's wish does not end the limit")
            return
        }
        let state = try #require(try await world.certificateState())
        #expect(state.waitingFor == "1 in 1 hours new orders")
        #expect(state.nextAttemptAt == now.addingTimeInterval(3600))
        world.clock.advance(by: 3600)
        #expect(try await engine.recover().first?.rotation?.outcome == .committed)
    }

    // MARK: Ten thousand

    /// The CA's own count, made another way: tokens that flow back.
    private struct Reference {
        let rate: IssuanceLimits.Rate
        var tokens: [String: (level: Double, at: Date)] = [:]

        mutating func takes(_ key: String, at now: Date) -> Bool {
            let full = Double(rate.count)
            var one = tokens[key] ?? (full, now)
            one.level = min(full, one.level + now.timeIntervalSince(one.at) / rate.period * full) - 1
            one.at = now
            tokens[key] = one
            return one.level > -1e-6
        }
    }

    /// 10,000 certificates become due at once at a CA with the limits of Let's Encrypt. 120 of them are of one domain.
    @Test func tenThousandBecomeDueAndNoLimitIsEverBroken() async throws {
        let world = try await EngineWorld(targets: 0, certificates: (0..<10_000).map { "host-\($0)" })
        let limits = IssuanceLimits.letsEncrypt
        var declarations = world.declarations
        for index in declarations.certificates.indices {
            let domain = index < 120 ? "crowded" : "domain-\(index / 10)"
            declarations.certificates[index].names = [.dns("host-\(index).\(domain).example")]
        }
        // In memory: ten thousand durable writes would prove nothing more.
        let ledger = Mutex(IssuanceLedger())
        world.issuer.limit { demands, now in
            ledger.withLock { ledger in
                ledger.settle(limits, now: now)
                return ledger.admit(demands, limits, now: now)
            }
        }
        let engine = world.engine(declarations: declarations)
        try await world.database.save(try declarations.certificates.enumerated().map(state(world)))
        try await engine.reconcile()

        var account = Reference(rate: try #require(limits.newOrders))
        var domains = Reference(rate: try #require(limits.perDomain))
        let declared = Dictionary(uniqueKeysWithValues: declarations.certificates.map { ($0.name, $0) })
        var (issued, ticks) = (0, 0)
        var latest = Date.distantPast
        while issued < 10_000, ticks < 400 {
            let now = world.clock.now.wall
            let due = try await world.database.due(by: now)
            var taken: [CertificateState] = []
            for item in try await engine.plan(at: now, only: Set(due)) where item.due && item.blockedUntil == nil {
                let declaration = try #require(declared[item.certificate])
                let demand = IssuanceDemand(names: declaration.names, kind: .new)
                ledger.withLock { ledger in
                    #expect(ledger.wait(for: demand, limits, now: now)?.because == nil)
                    ledger.take(for: demand, limits, now: now)
                }
                let isAllowed = account.takes("", at: now)
                #expect(isAllowed, "an order too many")
                let domain = try #require(declaration.names.first?.value.split(separator: ".").dropFirst().joined())
                let isAllowedForDomain = domains.takes(domain, at: now)
                #expect(isAllowedForDomain, "too many for \(domain)")
                taken.append(try #require(try await world.database.state(of: item.certificate)))
            }
            // The most urgent first; those of the crowded domain have a line of their own.
            let others = taken.filter { $0.requested?.names != [.dns("crowded.example")] }
            let expiries = others.compactMap { $0.record?.notAfter }
            #expect(expiries.min() ?? .distantFuture >= latest)
            latest = expiries.max() ?? latest
            try await world.database.save(taken.map { issue($0, declared[$0.name], now) })
            issued += taken.count
            ticks += 1
            world.clock.advance(by: 3 * 3600)
        }
        #expect(issued == 10_000)
        // 300 at once, then 300 in 3 hours; the last of the crowded domain comes after (120 - 50) / 50 weeks.
        #expect(ticks <= 1 + 79 + 1, "\(ticks)")
        #expect(world.issuer.asked == 0)
    }

    /// A certificate that is served, and whose names were changed.
    private func state(_ world: EngineWorld) -> (Int, CertificateDeclaration) throws -> CertificateState {
        { index, declaration in
            var state = CertificateState(name: declaration.name)
            var record = CertificateRecord()
            record.notBefore = world.clock.now.wall
            // In an order that is not that of the names.
            record.notAfter = world.clock.now.wall.addingTimeInterval(90 * 86400 + Double(index * 7919 % 10_000))
            record.sha256 = String(format: "%064x", index)
            (state.revision, state.issuedRevision) = (1, 1)
            (state.record, state.currentRecord) = (record, record)
            var requested = declaration.requested
            requested.names = [.dns(index < 120 ? "crowded.example" : "old.example")]
            state.requested = requested
            return state
        }
    }

    private func issue(_ state: CertificateState, _ declaration: CertificateDeclaration?, _ now: Date)
        -> CertificateState
    {
        var state = state
        state.requested = declaration?.requested
        state.dueAt = now.addingTimeInterval(60 * 86400)
        return state
    }
}
