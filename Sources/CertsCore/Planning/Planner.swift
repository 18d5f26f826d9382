package import Foundation

/// What is due, or becomes due, when and why: a pure function of declarations, observations and time.
package struct Planner: Sendable {
    /// What becomes due within this time counts as due now: the interval of the timer plus a margin for its random
    /// delay and for the rotation itself. In seconds.
    package var lookAhead: TimeInterval
    /// The nodes of each target; a target that is not in it counts as one HAProxy.
    var nodes: [Name: [NodeID]]

    /// - Parameter timerInterval: seconds until the timer runs again.
    package init(timerInterval: TimeInterval, margin: TimeInterval = 2 * 3600, targets: [TargetDeclaration] = []) {
        lookAhead = timerInterval + margin
        nodes = Dictionary(targets.map { ($0.name, $0.nodes.map(\.id)) }, uniquingKeysWith: { first, _ in first })
    }

    /// The item of one certificate: the first check that finds something decides.
    package func item(for declaration: CertificateDeclaration, state: CertificateState?, at now: Date) -> PlanItem {
        let verdict =
            Self.checks.lazy.compactMap { $0(declaration, state, now) }.first
            ?? notServed(declaration, state, now) ?? stapleDue(declaration, state, now)
            ?? Self.byLifetime(declaration, state) ?? Verdict(.notIssued, at: now)
        let seen = WindowView(declaration, state, verdict.reason, at: now)
        let isDue = verdict.at <= (seen.isOpenUntilNext ?? now).addingTimeInterval(lookAhead)
        let rest = state.flatMap { Self.rest(of: $0, at: now) } ?? (isDue ? seen.rest : nil)
        var item = PlanItem(
            certificate: declaration.name, dueAt: verdict.at, reason: verdict.reason, purpose: verdict.purpose,
            due: isDue, blockedUntil: rest?.until, blockedBecause: rest?.because,
            explanationURL: verdict.reason == .issuerHint ? state?.currentHint?.explanationURL : nil)
        item.isWaiting = rest != nil && state?.isWaiting == true
        return item
    }

    /// Until when a certificate is left alone, and why.
    private static func rest(of state: CertificateState, at now: Date) -> (until: Date, because: String)? {
        guard let until = state.nextAttemptAt, until > now else { return nil }
        if state.isWaiting { return (until, state.waitingFor ?? PlanReason.waiting.explanation) }
        let failures = state.consecutiveFailures
        let reason = state.lastFailure.map { ": \($0.message) [\($0.code)]" } ?? ""
        return (until, (failures == 1 ? "1 failure" : "\(failures) failures in a row") + reason)
    }

    /// The items of all certificates, in order.
    package func plan(
        _ certificates: [(declaration: CertificateDeclaration, state: CertificateState?)], at now: Date
    ) -> [PlanItem] {
        Self.inOrder(certificates.map { item(for: $0.declaration, state: $0.state, at: now) })
    }

    /// Soonest first, names ascending among equals.
    package static func inOrder(_ items: [PlanItem]) -> [PlanItem] {
        items.sorted(by: isBefore)
    }

    package static func isBefore(_ left: PlanItem, _ right: PlanItem) -> Bool {
        (left.dueAt, left.certificate) < (right.dueAt, right.certificate)
    }

    // MARK: Checks

    struct Verdict {
        var at: Date
        var reason: PlanReason
        var purpose: Rotation.Purpose

        init(_ reason: PlanReason, at: Date, purpose: Rotation.Purpose = .issue) {
            self.at = at
            self.reason = reason
            self.purpose = purpose
        }
    }

    typealias Check = @Sendable (CertificateDeclaration, CertificateState?, Date) -> Verdict?

    /// In order of precedence; each returns a verdict or passes.
    static let checks: [Check] = [
        neverIssued, issuerChanged, keyChanged, namesChanged, subjectChanged, expired, undeployed,
    ]

    /// Ensures that there is a certificate at all, or that the one that was asked for is waited for.
    static let neverIssued: Check = { _, state, now in
        guard state?.record == nil else { return nil }
        return Verdict(state?.isWaiting == true ? .waiting : .notIssued, at: now)
    }

    /// Ensures that the newest certificate comes from a declared issuer. One of the second choice stays until it is
    /// renewed anyway: then the first is asked first again.
    static let issuerChanged: Check = { declaration, state, now in
        state?.requested.flatMap { declaration.issuers.contains($0.issuer) ? nil : Verdict(.issuerChanged, at: now) }
    }

    /// Ensures that the key is of the declared algorithm.
    static let keyChanged: Check = { declaration, state, now in
        state?.requested.flatMap {
            $0.keyAlgorithms == declaration.key.algorithms ? nil : Verdict(.keyChanged, at: now)
        }
    }

    /// Ensures that exactly the declared names were asked for.
    static let namesChanged: Check = { declaration, state, now in
        state?.requested.flatMap { requested in
            let areSame = requested.names == declaration.names || Set(requested.names) == Set(declaration.names)
            return areSame ? nil : Verdict(.namesChanged, at: now)
        }
    }

    /// Ensures that the declared subject was asked for.
    static let subjectChanged: Check = { declaration, state, now in
        state?.requested.flatMap { $0.subject == declaration.subject ? nil : Verdict(.subjectChanged, at: now) }
    }

    /// Ensures that the newest certificate is still valid. Its due date stays the one of the rule: that it was missed
    /// does not move it.
    static let expired: Check = { declaration, state, now in
        guard let record = state?.record, record.notAfter <= now else { return nil }
        return Verdict(.expired, at: byLifetime(declaration, state)?.at ?? record.notAfter)
    }

    /// Ensures that what was issued gets deployed, before anything new is issued.
    static let undeployed: Check = { declaration, state, now in
        guard let state, let issued = state.issuedRevision, issued != state.revision, let record = state.record else {
            return nil
        }
        let due = declaration.renewal.due(
            notBefore: record.notBefore, notAfter: record.notAfter, hint: state.hint(for: record)?.pick)
        return due.at > now ? Verdict(.undeployed, at: now, purpose: .deploy) : nil
    }

    /// Ensures that no endpoint was last seen serving something else than the current revision, and that no node has
    /// been added since.
    private func notServed(_ declaration: CertificateDeclaration, _ state: CertificateState?, _ now: Date) -> Verdict? {
        guard let state, state.revision != nil, !declaration.targets.isEmpty else { return nil }
        let expected = state.intendedFingerprints
        let declared = Set(declaration.targets.flatMap { nodes[$0] ?? [NodeID($0)] })
        let seen = state.targets.filter { declared.contains($0.node) }
        let isWrong = seen.contains { $0.endpoints.contains { $0.served.map { !expected.contains($0) } ?? false } }
        let isMissing = seen.count < declared.count
        guard isWrong || isMissing, let record = state.currentRecord else { return nil }
        let due = declaration.renewal.due(
            notBefore: record.notBefore, notAfter: record.notAfter, hint: state.hint(for: record)?.pick)
        return due.at > now ? Verdict(isWrong ? .notServed : .undeployed, at: now, purpose: .deploy) : nil
    }

    /// Ensures that a staple is fetched anew well before it ends, and before the timer runs too late for it.
    private func stapleDue(_ declaration: CertificateDeclaration, _ state: CertificateState?, _ now: Date) -> Verdict? {
        guard declaration.staple, !declaration.targets.isEmpty, let state, state.revision != nil else { return nil }
        // A new certificate comes with a new staple; and no responder that is away may keep it from being renewed.
        if let due = Self.byLifetime(declaration, state), due.at <= now.addingTimeInterval(lookAhead) { return nil }
        guard let staple = state.staple else { return Verdict(.staple, at: now, purpose: .deploy) }
        let endsBeforeNextRun = staple.nextUpdate.map { $0 <= now.addingTimeInterval(lookAhead) } ?? false
        return staple.refreshAt <= now || endsBeforeNextRun ? Verdict(.staple, at: now, purpose: .deploy) : nil
    }

    /// The rule of the lifetime; always has an answer when there is a certificate.
    static func byLifetime(_ declaration: CertificateDeclaration, _ state: CertificateState?) -> Verdict? {
        guard let state, let record = state.record else { return nil }
        let due = declaration.renewal.due(
            notBefore: record.notBefore, notAfter: record.notAfter, hint: state.hint(for: record)?.pick)
        return Verdict(due.reason, at: due.at)
    }
}

/// One line of the plan.
package struct PlanItem: Sendable, Hashable {
    package var certificate: Name
    package var dueAt: Date
    package var reason: PlanReason
    package var purpose: Rotation.Purpose
    /// Due now, or before the next run of the timer.
    package var due: Bool
    /// The backoff after failures, or a limit of the issuer: the timer does not try before.
    package var blockedUntil: Date?
    /// Why.
    package var blockedBecause: String?
    /// Whether it waits for its issuer: no failure, and nothing that a person can override.
    package var isWaiting = false
    /// Where the CA explains its suggestion, if it is the reason.
    package var explanationURL: String?

    package init(
        certificate: Name, dueAt: Date, reason: PlanReason, purpose: Rotation.Purpose, due: Bool,
        blockedUntil: Date? = nil, blockedBecause: String? = nil, explanationURL: String? = nil
    ) {
        self.certificate = certificate
        self.dueAt = dueAt
        self.reason = reason
        self.purpose = purpose
        self.due = due
        self.blockedUntil = blockedUntil
        self.blockedBecause = blockedBecause
        self.explanationURL = explanationURL
    }
}
