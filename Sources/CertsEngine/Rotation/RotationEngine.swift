package import CertsCore
import CertsCrypto
package import Foundation
import Logging

/// Carries out rotations: one at a time for each certificate (across processes, by its lock), several certificates side
/// by side, and what an earlier process left open first.
package struct RotationEngine: Sendable {
    package let context: EngineContext

    package init(_ context: EngineContext) {
        self.context = context
    }

    // MARK: Plan

    /// What is or becomes due, for all declared certificates or for some. What its issuer cannot take now is blocked
    /// until it can.
    package func plan(at date: Date, only names: Set<Name>? = nil) async throws -> [PlanItem] {
        let planned = try await planned(at: date, only: names)
        let seats = await seats(of: planned, at: date)
        return planned.map { one in
            var item = one.item
            item.rest(seats[item.certificate])
            return item
        }
    }

    /// In order, with what the issuers have to know of each.
    func planned(at date: Date, only names: Set<Name>?) async throws -> [Planned] {
        let planner = context.planner
        let wanted =
            names.map { names in
                Dictionary(names.compactMap { name in context.declared[name].map { (name, $0) } }) { first, _ in first }
            } ?? context.declared
        let limited = context.limitedIssuers
        var items: [Planned] = []
        if wanted.count < 100 {
            for (name, declaration) in wanted {
                let state = try await context.inventory.state(of: name)
                items.append(Planned(declaration, state, planner, limited: limited, at: date))
            }
        } else {
            items = try await context.inventory.compactMapStates { state in
                wanted[state.name].map { Planned($0, state, planner, limited: limited, at: date) }
            }
            if items.count < wanted.count {
                let known = Set(items.map(\.item.certificate))
                items += wanted.values.filter { !known.contains($0.name) }
                    .map { Planned($0, nil, planner, limited: limited, at: date) }
            }
        }
        return items.sorted { Planner.isBefore($0.item, $1.item) }
    }

    // MARK: Rotate

    /// The end of the work on one certificate.
    package enum Result: Sendable {
        case rotated(Rotation)
        /// Waits for its issuer.
        case waiting(Rotation)
        /// Not due, or in its backoff.
        case skipped(PlanItem)
        case failed(Name, CertsError)
    }

    /// Which certificates a run of the planner looks at.
    package enum Scope: Sendable {
        /// Every declared one.
        case all
        /// Those that the inventory's index of due dates names: the run then takes time in their number, not in the size
        /// of the inventory. Needs ``reconcile()`` once for each set of declarations.
        case indexed
    }

    /// Rotates what is due and not in its backoff. Refuses while the clock cannot be trusted.
    package func rotateDue(_ scope: Scope = .all) async throws -> [Result] {
        try await confirmClock()
        let now = context.now
        var names: Set<Name>?
        if scope == .indexed {
            // The index knows when certificates end, not when their staples do, nor that a window is open.
            let due = try await context.inventory.due(by: now.addingTimeInterval(context.planner.lookAhead))
            names = Set(due + context.stapled + context.windowed)
        }
        let items = try await plan(at: now, only: names)
        let (wanted, others) = (items.filter(Self.isWanted), items.filter { !Self.isWanted($0) })
        return others.map { .skipped($0) } + (await carryOut(wanted.map(\.certificate)) { try await self.due($0) })
    }

    private static func isWanted(_ item: PlanItem) -> Bool { item.due && item.blockedUntil == nil }

    /// Issues and deploys a new certificate for each name, due or not.
    package func rotate(_ names: [Name], because reason: PlanReason = .requested) async -> [Result] {
        await carryOut(names) { name in
            if let open = try await openRotation(of: name) {
                guard reason == .compromised, try await hasCompromisedKey(open) else {
                    return .rotation(open, resuming: true)
                }
                try await abandonForNewKey(open)
            }
            return .rotation(
                try await newRotation(name, .issue, reason, revision: nil, seat: try await seatNow(of: name)))
        }
    }

    /// Deploys the newest issued revision of each again.
    package func deploy(_ names: [Name]) async -> [Result] {
        await carryOut(names) { name in
            let state = try await context.inventory.state(of: name)
            guard let revision = state?.issuedRevision ?? state?.revision else { throw nothingIssued(name) }
            try await confirmNotRevoked(name, revision)
            return .rotation(try await newRotation(name, .deploy, .requested, revision: revision))
        }
    }

    /// Deploys an earlier revision: the one given, or the newest issued one before the current.
    package func rollBack(_ name: Name, to revision: Int?) async -> Result {
        await carryOut(name) { name in
            guard let current = try await context.inventory.state(of: name)?.revision else { throw nothingIssued(name) }
            let wanted: Int
            if let revision {
                wanted = revision
            } else {
                wanted = try await earlierRevision(than: current, of: name)
            }
            try await confirmNotRevoked(name, wanted)
            return .rotation(try await newRotation(name, .rollback, .requested, revision: wanted))
        }
    }

    /// Deploys the current revision of each again, on the given nodes: what is declared comes back where something else
    /// has taken its place.
    package func redeploy(_ places: [Name: Set<NodeID>]) async -> [Result] {
        await carryOut(places.keys.sorted()) { name in
            guard let revision = try await context.inventory.state(of: name)?.revision else {
                throw nothingIssued(name)
            }
            return .rotation(try await newRotation(name, .deploy, .drift, revision: revision, only: places[name]))
        }
    }

    func earlierRevision(than current: Int, of name: Name) async throws -> Int {
        for revision in try await context.revisions.revisions(of: name).reversed() where revision < current {
            if let manifest = try? await context.manifest(of: name, revision: revision), manifest.revocation == nil,
                !manifest.isKeyCompromised
            {
                return revision
            }
        }
        throw CertsError(
            .certificateMissing, "there is no revision of '\(name)' before \(current) to go back to",
            subject: name.rawValue,
            hint: "issue a new one with `certs rotate \(name)`")
    }

    func confirmNotRevoked(_ name: Name, _ revision: Int) async throws {
        guard let revocation = try await context.manifest(of: name, revision: revision).revocation else { return }
        let day = revocation.at.formatted(.iso8601.year().month().day())
        throw CertsError(
            .usage,
            "revision \(revision) of '\(name)' was revoked on \(day) (\(revocation.reason.word)): it must not be served again",
            subject: name.rawValue, hint: "issue a new one with `certs rotate \(name)`")
    }

    func nothingIssued(_ name: Name) -> CertsError {
        CertsError(
            .certificateMissing, "nothing has been issued for '\(name)' yet", subject: name.rawValue,
            hint: "issue one with `certs rotate \(name)`")
    }

    /// What a certificate that was planned needs, looked at again under its lock: another process may have done it.
    private func due(_ name: Name) async throws -> Beginning {
        if let open = try await openRotation(of: name) { return .rotation(open, resuming: true) }
        let planned = try await planned(at: context.now, only: [name])
        let seat = await seats(of: planned, at: context.now)[name]
        guard var item = planned.first?.item else { throw nothingIssued(name) }
        item.rest(seat)
        guard Self.isWanted(item) else { return .nothing(.skipped(item)) }
        var revision: Int?
        if item.purpose == .deploy {
            let state = try await context.inventory.state(of: name)
            revision = state?.issuedRevision ?? state?.revision
            // A record of an earlier version may still have it for one to deploy. What is current and served stays.
            if let revision, revision != state?.revision { try await confirmNotRevoked(name, revision) }
        }
        return .rotation(try await newRotation(name, item.purpose, item.reason, revision: revision, seat: seat))
    }

    // MARK: Start

    /// Brings the inventory in line with the declarations: every declared certificate has a state with its due date,
    /// and what is no longer declared is never due. Its state stays: declared again, it goes on as it was.
    package func reconcile() async throws {
        let context = context
        let looked = try await context.inventory.compactMapStates {
            before -> (name: Name, changed: CertificateState?)? in
            var state = before
            if let declaration = context.declared[before.name] {
                context.refreshHintCheck(of: &state)
                context.refreshDueDate(of: &state, declaration)
            } else {
                (state.dueAt, state.dueReason) = (nil, nil)
                context.refreshHintCheck(of: &state)
            }
            return (before.name, state == before ? nil : state)
        }
        let known = Set(looked.map(\.name))
        var changed = looked.compactMap(\.changed)
        for declaration in context.declarations.certificates where !known.contains(declaration.name) {
            var state = CertificateState(name: declaration.name)
            context.refreshDueDate(of: &state, declaration)
            changed.append(state)
        }
        try await context.inventory.save(changed)
    }

    /// Resolves what earlier processes left open. To be called before any new plan.
    ///
    /// A rotation that another process is working on (its lock is held) is left to it; one that waits for its issuer is
    /// asked about only when its time has come.
    @discardableResult
    package func recover() async throws -> [Result] {
        let open = try await context.journal.openRotations()
        let results = await carryOut(Set(open.map(\.certificate)).sorted()) { name in
            // Ended meanwhile, by the process that held the lock: that one has told it.
            guard let rotation = try await openRotation(of: name) else { return .nothing(nil) }
            if rotation.isWaiting, let at = rotation.resumeAt, at > context.now {
                return .nothing(.waiting(rotation))
            }
            context.logger.notice(
                "resuming a rotation that was interrupted",
                metadata: [
                    "certificate": "\(rotation.certificate)", "rotation": "\(rotation.id)",
                    "step": "\(rotation.step.rawValue)",
                ])
            return .rotation(rotation, resuming: true)
        }
        try await removeOrphans()
        return results
    }

    /// What dead processes left in the state directory: temporary files, and revisions that were never issued.
    private func removeOrphans() async throws {
        try await context.revisions.removeLeftovers()
        for orphan in try await context.revisions.orphanedRevisions(openRotations: context.journal.openRotations()) {
            // Held by a process that has just begun: then it is no orphan.
            guard let lock = try? await context.revisions.lock(orphan.certificate) else { continue }
            defer { lock.release() }
            guard try await openRotation(of: orphan.certificate)?.revision != orphan.revision else { continue }
            context.logger.notice(
                "removing revision \(orphan.revision), which was never issued",
                metadata: ["certificate": "\(orphan.certificate)"])
            try await context.revisions.discard(orphan.revision, of: orphan.certificate)
        }
    }

    private func openRotation(of name: Name) async throws -> Rotation? {
        try await context.journal.openRotation(of: name)
    }

    // MARK: Observe

    /// Looks at what every endpoint serves now and keeps it in the inventory.
    package func observe(only names: Set<Name>? = nil) async throws {
        let declared = context.declarations.certificates.filter { names?.contains($0.name) ?? true }
        let errors = await concurrently(declared, width: width) {
            defer { context.pulse() }
            return await self.observe($0)
        }
        for error in errors {
            if let error { context.logger.debug("not observed: \(error)") }
        }
    }

    /// - Returns: why nothing was recorded, if so; a rotation in progress records its own observations, and wins.
    private func observe(_ declaration: CertificateDeclaration) async -> CertsError? {
        do {
            let lock = try await context.revisions.lock(declaration.name)
            defer { lock.release() }
            guard var state = try await context.inventory.state(of: declaration.name) else { return nil }
            var seen: [TargetObservation] = []
            for node in context.declarations.nodes(of: declaration).map(\.id) {
                let endpoints = try await context.target(node).observe(names: declaration.names)
                let before = state.targets.first { $0.node == node }?.state ?? .pending
                let intended = state.intendedFingerprints
                let matches = endpoints.allSatisfy { $0.served.map(intended.contains) ?? false }
                seen.append(TargetObservation(node: node, state: matches ? .verified : before, endpoints: endpoints))
            }
            state.targets = seen
            context.refreshDueDate(of: &state, declaration)
            try await context.inventory.save(state)
            return nil
        } catch {
            return .wrapping(error, subject: declaration.name.rawValue)
        }
    }

    // MARK: Parts

    /// - Parameters:
    ///   - nodes: where it is deployed; `nil`: wherever it is declared.
    ///   - seat: who is asked first; `nil`: the preferred issuer.
    private func newRotation(
        _ name: Name, _ purpose: Rotation.Purpose, _ reason: PlanReason, revision: Int?, only nodes: Set<NodeID>? = nil,
        seat: Seat? = nil
    ) async throws -> Rotation {
        let declaration = try context.declaration(of: name)
        let number: Int
        if let revision {
            number = revision
        } else {
            number = (try await context.revisions.revisions(of: name).last ?? 0) + 1
        }
        let targets = context.declarations.targets.filter { declaration.targets.contains($0.name) }
        let deployments = declaration.targets.flatMap { name in targets.filter { $0.name == name } }.flatMap { target in
            zip(target.nodes, target.waveNumbers).map { Deployment(node: $0.id, wave: $1) }
        }
        let seat = purpose == .issue ? seat ?? Seat(issuer: declaration.issuer) : nil
        return Rotation(
            id: UUID().uuidString.lowercased(), certificate: name, revision: number, purpose: purpose, reason: reason,
            issuer: seat?.issuer, issuerChanges: seat?.changes(at: context.now) ?? [],
            deployments: deployments.filter { nodes?.contains($0.node) ?? true }, startedAt: context.now)
    }

    /// A step of the wall clock is believed only when a second reading agrees with it: nothing is renewed, and nothing
    /// is called expired, because of one reading.
    private func confirmClock() async throws {
        let reading = context.clock()
        let previous = try await context.schedule.lastClockReading()
        try await context.schedule.save(reading)
        guard let previous, let step = reading.step(since: previous) else { return }
        throw CertsError(
            .clockStepped,
            "the clock was set \(step < 0 ? "back" : "forward") by \(Int(min(abs(step), 1e15))) seconds since the last run",
            hint: "if the time is right now, run again: a second reading that agrees is believed", retry: .later)
    }
}
