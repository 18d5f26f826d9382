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

    /// What is or becomes due, for all declared certificates or for some.
    package func plan(at date: Date, only names: Set<Name>? = nil) async throws -> [PlanItem] {
        let planner = context.planner
        let wanted = names.map { names in context.declared.filter { names.contains($0.key) } } ?? context.declared
        var items: [PlanItem] = []
        if wanted.count < 100 {
            for (name, declaration) in wanted {
                items.append(
                    planner.item(for: declaration, state: try await context.inventory.state(of: name), at: date))
            }
        } else {
            items = try await context.inventory.compactMapStates { state in
                wanted[state.name].map { planner.item(for: $0, state: state, at: date) }
            }
            if items.count < wanted.count {
                let known = Set(items.map(\.certificate))
                items += wanted.values.filter { !known.contains($0.name) }.map {
                    planner.item(for: $0, state: nil, at: date)
                }
            }
        }
        return Planner.inOrder(items)
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
            names = Set(try await context.inventory.due(by: now.addingTimeInterval(context.planner.lookAhead)))
        }
        let items = try await plan(at: now, only: names)
        return await forEach(items) { item in
            guard item.due, item.blockedUntil == nil else { return .skipped(item) }
            return await self.rotate(item.certificate, unlessDone: item)
        }
    }

    /// Issues and deploys a new certificate for each name, due or not.
    package func rotate(_ names: [Name]) async -> [Result] {
        await forEach(names) { await self.rotate($0, unlessDone: nil) }
    }

    /// Deploys the newest issued revision again.
    package func deploy(_ name: Name) async -> Result {
        await locked(name) {
            let state = try await context.inventory.state(of: name)
            guard let revision = state?.issuedRevision ?? state?.revision else { throw nothingIssued(name) }
            return try await run(try await newRotation(name, .deploy, .requested, revision: revision))
        }
    }

    /// Deploys an earlier revision: the one given, or the newest issued one before the current.
    package func rollBack(_ name: Name, to revision: Int?) async -> Result {
        await locked(name) {
            guard let current = try await context.inventory.state(of: name)?.revision else { throw nothingIssued(name) }
            let wanted: Int
            if let revision {
                wanted = revision
            } else {
                wanted = try await earlierRevision(than: current, of: name)
            }
            _ = try await context.manifest(of: name, revision: wanted)
            return try await run(try await newRotation(name, .rollback, .requested, revision: wanted))
        }
    }

    private func earlierRevision(than current: Int, of name: Name) async throws -> Int {
        for revision in try await context.revisions.revisions(of: name).reversed() where revision < current {
            if (try? await context.manifest(of: name, revision: revision)) != nil { return revision }
        }
        throw CertsError(
            .certificateMissing, "there is no revision of '\(name)' before \(current)", subject: name.rawValue,
            hint: "issue a new one with `certs rotate \(name)`")
    }

    private func nothingIssued(_ name: Name) -> CertsError {
        CertsError(
            .certificateMissing, "nothing has been issued for '\(name)' yet", subject: name.rawValue,
            hint: "issue one with `certs rotate \(name)`")
    }

    /// - Parameter item: the plan that led here; the need is looked at again under the lock, since another process may
    ///   have done the work meanwhile. `nil`: asked for by hand, always done.
    private func rotate(_ name: Name, unlessDone item: PlanItem?) async -> Result {
        await locked(name) {
            if let open = try await openRotation(of: name) {
                return try await run(open, resuming: true)
            }
            var (purpose, reason) = (Rotation.Purpose.issue, PlanReason.requested)
            if item != nil {
                guard let again = try await plan(at: context.now, only: [name]).first, again.due,
                    again.blockedUntil == nil
                else {
                    return item.map { .skipped($0) } ?? .failed(name, nothingIssued(name))
                }
                (purpose, reason) = (again.purpose, again.reason)
            }
            var revision: Int?
            if purpose == .deploy {
                let state = try await context.inventory.state(of: name)
                revision = state?.issuedRevision ?? state?.revision
            }
            return try await run(try await newRotation(name, purpose, reason, revision: revision))
        }
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
                context.refreshDueDate(of: &state, declaration)
            } else {
                (state.dueAt, state.dueReason) = (nil, nil)
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
        let results = await forEach(open) { stale in
            await self.locked(stale.certificate) {
                guard let rotation = try await self.openRotation(of: stale.certificate) else { return .rotated(stale) }
                if rotation.step == .issue, rotation.resumeHandle != nil, let at = rotation.resumeAt,
                    at > self.context.now
                {
                    return .waiting(rotation)
                }
                self.context.logger.notice(
                    "resuming a rotation that was interrupted",
                    metadata: [
                        "certificate": "\(rotation.certificate)", "rotation": "\(rotation.id)",
                        "step": "\(rotation.step.rawValue)",
                    ])
                return try await self.run(rotation, resuming: true)
            }
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
        try await context.journal.openRotations().first { $0.certificate == name }
    }

    // MARK: Observe

    /// Looks at what every endpoint serves now and keeps it in the inventory.
    package func observe(only names: Set<Name>? = nil) async throws {
        let declared = context.declarations.certificates.filter { names?.contains($0.name) ?? true }
        for error in await forEach(declared, { await self.observe($0) }) {
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
            for name in declaration.targets {
                let endpoints = try await context.target(name).observe(names: declaration.names)
                let before = state.targets.first { $0.target == name }?.state ?? .pending
                let matches = endpoints.allSatisfy { $0.served != nil && $0.served == state.currentRecord?.fingerprint }
                seen.append(TargetObservation(target: name, state: matches ? .verified : before, endpoints: endpoints))
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

    private func newRotation(_ name: Name, _ purpose: Rotation.Purpose, _ reason: PlanReason, revision: Int?)
        async throws -> Rotation
    {
        let declaration = try context.declaration(of: name)
        let number: Int
        if let revision {
            number = revision
        } else {
            number = (try await context.revisions.revisions(of: name).last ?? 0) + 1
        }
        return Rotation(
            id: UUID().uuidString.lowercased(), certificate: name, revision: number, purpose: purpose, reason: reason,
            targets: declaration.targets, startedAt: context.now)
    }

    private func run(_ rotation: Rotation, resuming: Bool = false) async throws -> Result {
        var runner = RotationRunner(context: context)
        let ended = try await runner.run(rotation, resuming: resuming)
        return ended.isFinished ? .rotated(ended) : .waiting(ended)
    }

    private func locked(_ name: Name, _ body: () async throws -> Result) async -> Result {
        do {
            let lock = try await context.revisions.lock(name)
            defer { lock.release() }
            return try await body()
        } catch {
            return .failed(name, .wrapping(error, subject: name.rawValue))
        }
    }

    /// Runs the work for several certificates side by side, as many at a time as the schedule allows.
    private func forEach<Item: Sendable, Output: Sendable>(
        _ items: [Item], _ body: @escaping @Sendable (Item) async -> Output
    ) async -> [Output] {
        let width = max(1, context.declarations.schedule.concurrency)
        return await withTaskGroup(of: (Int, Output).self) { group in
            var results: [(Int, Output)] = []
            for (index, item) in items.enumerated() {
                if index >= width, let done = await group.next() { results.append(done) }
                group.addTask { (index, await body(item)) }
            }
            for await done in group { results.append(done) }
            return results.sorted { $0.0 < $1.0 }.map(\.1)
        }
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
