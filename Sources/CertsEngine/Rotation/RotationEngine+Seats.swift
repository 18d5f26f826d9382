import CertsCore
import Foundation

// Who is asked for what is due: an issuer with limits is not sent more than it takes, and what it cannot take waits in
// the plan, without a key and without an open rotation.
extension RotationEngine {
    /// An item of the plan, with what its issuers have to know; small, since there may be 100,000.
    struct Planned: Sendable {
        var item: PlanItem
        /// Of a certificate that is to be issued now, where an issuer has limits.
        var wish: Wish?

        struct Wish: Sendable {
            /// What the order is to the issuer that signed the newest certificate; to others it is new.
            var kind: OrderKind
            var signer: Name?
            /// When what is served expires; whoever has nothing yet comes first.
            var expires: Date
            /// Up to this time it waits for its preferred issuer rather than to go to another.
            var patience: Date
        }
    }

    /// Who is asked first for a certificate, or until when nobody is.
    struct Seat: Sendable {
        var issuer: Name
        /// Those before it that cannot take the request now.
        var refusals: [Refusal] = []
        var isFree = true

        struct Refusal: Sendable {
            var issuer: Name
            var until: Date
            var because: String
        }

        /// The first that will be able to, where none is now.
        var wait: Refusal? { isFree ? nil : refusals.min { $0.until < $1.until } }

        func changes(at now: Date) -> [IssuerChange] {
            zip(refusals, refusals.dropFirst().map(\.issuer) + [issuer]).map { refusal, next in
                let error = CertsError(.issuerLimited, refusal.because, retry: .after(refusal.until))
                return IssuerChange(from: refusal.issuer, to: next, because: error, at: now)
            }
        }
    }

    /// The seats of those that have a wish; what expires first is served first.
    func seats(of planned: [Planned], at now: Date) async -> [Name: Seat] {
        var seats: [Name: Seat] = [:]
        var seeking: [(declaration: CertificateDeclaration, wish: Planned.Wish)] = planned.compactMap { one in
            guard let wish = one.wish, let declaration = context.declared[one.item.certificate] else { return nil }
            return (declaration, wish)
        }
        // Stable: what expires together stays in the order of the plan.
        seeking.sort { $0.wish.expires < $1.wish.expires }
        for place in 0... {
            let asked = seeking.filter { place < $0.declaration.issuers.count }
            guard !asked.isEmpty else { break }
            let answers = await admissions(asked, place: place, at: now)
            seeking = []
            for (one, answer) in zip(asked, answers) {
                let name = one.declaration.name
                let issuer = one.declaration.issuers[place]
                var seat = Seat(issuer: issuer, refusals: seats[name]?.refusals ?? [])
                if case .wait(let until, let because) = answer {
                    seat.isFree = false
                    seat.refusals.append(.init(issuer: issuer, until: until, because: because))
                }
                seats[name] = seat
                // Whoever has time waits for the preferred issuer.
                if let wait = seat.wait, wait.until > one.wish.patience { seeking.append(one) }
            }
        }
        return seats
    }

    /// For a person who wants it now: the first issuer that can take it now; `nil`: none can, or none has limits.
    func seatNow(of name: Name) async throws -> Seat? {
        let now = context.now
        guard let declaration = context.declared[name],
            declaration.issuers.contains(where: context.limitedIssuers.contains),
            var planned = try await planned(at: now, only: [name]).first
        else { return nil }
        planned.wish = Planned.Wish(declaration, try await context.inventory.state(of: name), at: now)
        planned.wish?.patience = now
        return await seats(of: [planned], at: now)[name].flatMap { $0.isFree ? $0 : nil }
    }

    /// What the issuers at this place of each declaration say.
    private func admissions(
        _ asked: [(declaration: CertificateDeclaration, wish: Planned.Wish)], place: Int, at now: Date
    ) async -> [Admission] {
        var answers = asked.map { _ in Admission.now }
        for (issuer, places) in Dictionary(grouping: asked.indices, by: { asked[$0].declaration.issuers[place] }) {
            guard let limited = context.issuers[issuer] as? any LimitedIssuer else { continue }
            let demands = places.map { index in
                let (declaration, wish) = asked[index]
                return IssuanceDemand(names: declaration.names, kind: wish.signer == issuer ? wish.kind : .new)
            }
            // An issuer that cannot say it now says it when it is asked for the certificate.
            guard let said = try? await limited.admit(demands, now: now) else { continue }
            for (index, answer) in zip(places, said) { answers[index] = answer }
        }
        return answers
    }
}

extension RotationEngine.Planned {
    /// - Parameter limited: the issuers that have limits.
    init(
        _ declaration: CertificateDeclaration, _ state: CertificateState?, _ planner: Planner, limited: Set<Name>,
        at now: Date
    ) {
        item = planner.item(for: declaration, state: state, at: now)
        let isLimited = declaration.issuers.contains(where: limited.contains)
        // A rotation that is open has its order already.
        guard isLimited, item.due, item.blockedUntil == nil, item.purpose == .issue, state?.isWaiting != true else {
            return
        }
        wish = Wish(declaration, state, at: now)
    }
}

extension RotationEngine.Planned.Wish {
    init(_ declaration: CertificateDeclaration, _ state: CertificateState?, at now: Date) {
        kind = OrderKind(declaration, requested: state?.requested, hint: state?.currentHint, now: now)
        signer = state?.requested?.issuer
        expires = state?.intendedRecord?.notAfter ?? .distantPast
        patience = state?.record.map { $0.notAfter.addingTimeInterval(-$0.lifetime / 10) } ?? now
    }
}

extension PlanItem {
    mutating func rest(_ seat: RotationEngine.Seat?) {
        guard let wait = seat?.wait else { return }
        (blockedUntil, blockedBecause) = (wait.until, "\(wait.issuer): \(wait.because)")
        isWaiting = true
    }
}

extension EngineContext {
    var limitedIssuers: Set<Name> { Set(issuers.filter { $0.value is any LimitedIssuer }.keys) }
}
