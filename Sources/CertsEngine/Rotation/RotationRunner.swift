import CertsCore
import CertsCrypto
import Foundation
import Logging

/// Drives one rotation to its end: records it in the journal, carries out its action, and asks what comes next.
///
/// The caller holds the lock of the certificate. What the actions do is in `RotationRunner+Actions.swift`.
struct RotationRunner {
    let context: EngineContext
    /// The targets that a process that died may have left half-way; each until it was dealt with.
    var halfDone: Set<Name> = []
    /// What was seen while verifying, for the inventory.
    var observations: [Name: [EndpointObservation]] = [:]

    init(context: EngineContext) {
        self.context = context
    }

    /// Runs until the rotation is finished, or waits for its issuer.
    /// - Parameter resuming: it comes from the journal of a process that died.
    /// - Throws: only when the end could not be recorded; what is served is then as the thrown error says.
    mutating func run(_ start: Rotation, resuming: Bool) async throws -> Rotation {
        var rotation = start
        if resuming {
            halfDone = Set(rotation.deployments.filter { $0.receipt != nil }.map(\.target))
            rotation.resume(at: context.now)
        }
        while !rotation.isFinished {
            do {
                try await record(rotation)
                context.progress(rotation)
                try context.faults.reached("before-\(rotation.step.rawValue)")
                let completion = try await perform(rotation)
                try context.faults.reached("after-\(rotation.step.rawValue)")
                rotation.complete(completion, at: context.now)
                if case .pending = completion {
                    try await wait(rotation)
                    return rotation
                }
            } catch {
                let failure = CertsError.wrapping(error, stage: rotation.step, subject: rotation.certificate.rawValue)
                log(failure, rotation)
                rotation.fail(failure, at: context.now)
            }
        }
        try await finish(rotation)
        // Only what is recorded is said to have ended.
        context.progress(rotation)
        return rotation
    }

    /// Intent before effect. On the way forward a step whose intent cannot be recorded is not taken; on the way back it
    /// is taken all the same: bringing the old certificate back matters more than its record, and an older record that is
    /// still there leads the next start through the same steps.
    private func record(_ rotation: Rotation) async throws {
        do {
            try await context.journal.record(rotation)
        } catch  where rotation.step.isWayBack {
            log(.wrapping(error), rotation)
        }
    }

    private func log(_ failure: CertsError, _ rotation: Rotation) {
        context.logger.warning(
            "\(failure)",
            metadata: [
                "certificate": "\(rotation.certificate)", "rotation": "\(rotation.id)",
                "step": "\(rotation.step.rawValue)", "code": "\(failure.code)",
            ])
    }

    /// The issuer has not answered: the rotation stays open in the journal, and the inventory says that it waits.
    private func wait(_ rotation: Rotation) async throws {
        try await context.journal.record(rotation)
        var state =
            try await context.inventory.state(of: rotation.certificate) ?? CertificateState(name: rotation.certificate)
        state.isWaiting = true
        state.nextAttemptAt = rotation.resumeAt
        try await context.inventory.save(state)
        context.progress(rotation)
    }

    // MARK: The end

    private func finish(_ rotation: Rotation) async throws {
        var state =
            try await context.inventory.state(of: rotation.certificate) ?? CertificateState(name: rotation.certificate)
        let manifest = try? await readManifest(rotation)
        if rotation.outcome != .committed, let old = state.revision {
            // A commit that failed half-way may have switched already.
            try? await context.revisions.makeCurrent(old, of: rotation.certificate)
        }
        conclude(rotation, manifest: manifest, into: &state)
        if var manifest {
            manifest.rotation = rotation
            // The manifest repeats what the journal says, for a rebuild: its loss costs history, not the rotation.
            try? await write(manifest, rotation)
        }
        do {
            try await context.journal.close(rotation, state: state)
        } catch {
            let what =
                switch rotation.outcome {
                case .committed: "the new certificate is served"
                case .rollbackFailed: "THE ROLLBACK FAILED, look at the target now"
                case .rolledBack: "the old certificate is served again"
                default: "the rotation has failed, and nothing live was touched"
                }
            let reason = rotation.failure.map { " (\($0.message))" } ?? ""
            throw CertsError(
                .fileUnwritable, "\(what)\(reason), but that could not be recorded",
                subject: rotation.certificate.rawValue,
                hint: "make room for the state directory; the next `certs rotate` completes the record", cause: error,
                retry: .later)
        }
    }

    private func conclude(_ rotation: Rotation, manifest: RevisionManifest?, into state: inout CertificateState) {
        let now = context.now
        state.isWaiting = false
        let declared = context.declared[rotation.certificate]
        for deployment in rotation.deployments where deployment.receipt != nil || observations[deployment.target] != nil
        {
            let seen = observations[deployment.target] ?? []
            state.targets.removeAll { $0.target == deployment.target }
            state.targets.append(TargetObservation(target: deployment.target, state: deployment.state, endpoints: seen))
        }
        if let declared { state.targets.removeAll { !declared.targets.contains($0.target) } }
        if rotation.outcome == .committed {
            state.revision = rotation.revision
            state.issuedRevision = rotation.revision
            if let manifest {
                state.record = manifest.record
                state.currentRecord = manifest.record
                state.requested = manifest.requested
            }
            if rotation.purpose == .issue { state.issuerHint = nil }
            state.consecutiveFailures = 0
            state.lastFailure = nil
            state.nextAttemptAt = nil
            state.lastSuccessAt = now
        } else {
            state.consecutiveFailures += 1
            state.lastFailure = rotation.failure
            state.nextAttemptAt = Backoff.nextAttempt(
                afterFailures: state.consecutiveFailures, retry: rotation.failure?.retry ?? .later, now: now)
        }
        context.refreshDueDate(of: &state, declared)
    }
}
