import CertsCore
import Foundation

// How a rotation comes to rest in the inventory and the journal.
extension RotationRunner {
    /// The issuer has not answered: the rotation stays open in the journal, and the inventory says that it waits.
    func wait() async throws {
        try await context.journal.record(rotation)
        var state =
            try await context.inventory.state(of: rotation.certificate) ?? CertificateState(name: rotation.certificate)
        state.isWaiting = true
        state.waitingFor = rotation.resumeHandles.waitingFor
        state.nextAttemptAt = rotation.resumeAt
        try await context.inventory.save(state)
        context.progress(rotation)
    }

    // MARK: The end

    func finish() async throws {
        var state =
            try await context.inventory.state(of: rotation.certificate) ?? CertificateState(name: rotation.certificate)
        let manifest = try? await readManifest(rotation)
        if rotation.outcome != .committed, let old = state.revision {
            // A commit that failed half-way may have switched already.
            try? await context.revisions.makeCurrent(old, of: rotation.certificate)
        }
        conclude(manifest, into: &state)
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

    private func conclude(_ manifest: RevisionManifest?, into state: inout CertificateState) {
        let now = context.now
        (state.isWaiting, state.waitingFor) = (false, nil)
        let declared = context.declared[rotation.certificate]
        for deployment in rotation.deployments where deployment.isTouched || observations[deployment.node] != nil {
            let seen = observations[deployment.node] ?? []
            state.targets.removeAll { $0.node == deployment.node }
            state.targets.append(TargetObservation(node: deployment.node, state: deployment.state, endpoints: seen))
        }
        if let declared {
            let nodes = Set(context.declarations.nodes(of: declared).map(\.id))
            state.targets.removeAll { !nodes.contains($0.node) }
        }
        if rotation.outcome == .committed {
            state.revision = rotation.revision
            state.issuedRevision = rotation.revision
            if let manifest {
                state.record = manifest.record
                state.currentRecord = manifest.record
                state.currentAlternates = manifest.alternates
                state.requested = manifest.requested
            }
            state.staple = staple
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
        context.refreshHintCheck(of: &state)
        context.refreshDueDate(of: &state, declared)
    }
}
