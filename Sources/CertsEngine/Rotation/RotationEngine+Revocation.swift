package import CertsCore
import CertsCrypto
import Foundation
import Logging

extension RotationEngine {
    /// Has a revision revoked by the issuer that signed it, each of its leaves, and remembers it: what was issued and is
    /// not deployed yet is not deployed later.
    ///
    /// - Parameters:
    ///   - revision: `nil`: the newest issued one that is not the current.
    ///   - byKey: prove the right with the certificate's own key instead of the account.
    /// - Returns: the revision, and whether it is the current one.
    @discardableResult
    package func revoke(
        _ name: Name, revision: Int?, reason: RevocationReason, byKey: Bool = false
    ) async throws -> (revision: Int, isCurrent: Bool) {
        let lock = try await context.revisions.lock(name)
        defer { lock.release() }
        let current = try await context.revisions.currentRevision(of: name)
        let wanted = try await revocable(name, revision, current: current)
        if let open = try await context.journal.openRotation(of: name), open.revision == wanted {
            throw underWay(open, "of the revision \(wanted)")
        }
        var manifest = try await context.manifest(of: name, revision: wanted)
        let signer = manifest.requested.issuer
        guard let issuer = context.issuers[signer] as? any RevokingIssuer else {
            throw CertsError(
                .usage, "the issuer '\(signer)' that signed revision \(wanted) cannot revoke, or is not declared",
                subject: name.rawValue, hint: "revoke at the CA itself, or declare the issuer again")
        }
        for member in KeyPolicy.members(of: manifest.requested.keyAlgorithms) {
            let chain = try await context.storedChain(name, wanted, member.slot)
            guard let leaf = chain.first else { continue }
            let key = byKey ? try await context.revisions.read(.key(member.slot), of: name, revision: wanted) : nil
            if byKey, key == nil {
                throw CertsError(
                    .fileMissing, "the key of revision \(wanted) is gone", subject: name.rawValue,
                    hint: "revoke by the account: without --by-key")
            }
            try await issuer.revoke(
                RevocationTarget(record: leaf.record, der: leaf.der, key: key), reason: reason, now: context.now)
        }
        // The first time and reason stay: the CA keeps them, too.
        if manifest.revocation == nil { manifest.revocation = Revocation(at: context.now, reason: reason) }
        try await context.revisions.write(try manifest.encoded(), to: .manifest, of: name, revision: wanted)
        try await forgetIssued(name, wanted)
        context.logger.notice(
            "revision \(wanted) is revoked", metadata: ["certificate": "\(name)", "reason": "\(reason.word)"])
        return (wanted, wanted == current)
    }

    private func revocable(_ name: Name, _ revision: Int?, current: Int?) async throws -> Int {
        if let revision { return revision }
        for known in try await context.revisions.revisions(of: name).reversed() where known != current {
            if (try? await context.manifest(of: name, revision: known)) != nil { return known }
        }
        guard let current else {
            throw CertsError(
                .certificateMissing, "nothing has been issued for '\(name)' yet", subject: name.rawValue,
                hint: "there is nothing to revoke")
        }
        throw CertsError(
            .certificateMissing, "'\(name)' has no revision besides the current one", subject: name.rawValue,
            hint: "rotate first, name the current one with --revision \(current), or say --replace")
    }

    /// Renews, deploys and verifies first, then has the old revision revoked. Where the new one is not seen served,
    /// nothing is revoked.
    ///
    /// For a key that somebody else has, the new certificate gets another one, and every revision with that key is revoked.
    ///
    /// - Parameter revision: `nil`: the current one.
    /// - Returns: the rotation, and what was revoked.
    package func replaceAndRevoke(
        _ name: Name, revision: Int?, reason: RevocationReason, byKey: Bool = false
    ) async throws -> (rotation: Result, revoked: [Int]) {
        guard let old = try await revisionToReplace(name, revision) else {
            throw CertsError(
                .certificateMissing, "nothing has been issued for '\(name)' yet", subject: name.rawValue,
                hint: "there is nothing to revoke")
        }
        let signer = try await context.manifest(of: name, revision: old).requested.issuer
        guard context.issuers[signer] is any RevokingIssuer else {
            throw CertsError(
                .usage, "the issuer '\(signer)' that signed revision \(old) cannot revoke, or is not declared",
                subject: name.rawValue, hint: "revoke at the CA itself")
        }
        // Remembered before anything else: whatever comes of this, no later renewal takes the key again.
        let sharers = reason == .keyCompromise ? try await markCompromised(name, old) : []
        let result =
            await rotate([name], because: reason == .keyCompromise ? .compromised : .requested).first
            ?? .failed(name, CertsError(.internal, "the rotation has no result"))
        guard case .rotated(let rotation) = result, rotation.outcome == .committed, rotation.revision != old,
            !sharers.contains(rotation.revision)
        else { return (result, []) }
        var revoked: [Int] = []
        for revision in [old] + sharers where try await isWorthRevoking(name, revision) || revision == old {
            try await revoke(name, revision: revision, reason: reason, byKey: byKey)
            revoked.append(revision)
        }
        return (result, revoked)
    }

    private func revisionToReplace(_ name: Name, _ revision: Int?) async throws -> Int? {
        if let revision { return revision }
        return try await context.revisions.currentRevision(of: name)
    }

    private func isWorthRevoking(_ name: Name, _ revision: Int) async throws -> Bool {
        let manifest = try await context.manifest(of: name, revision: revision)
        return manifest.revocation == nil && manifest.records.contains { $0.notAfter > context.now }
            && context.issuers[manifest.requested.issuer] is any RevokingIssuer
    }

    // MARK: A key that somebody else has

    /// Remembers that the keys of a revision are no secret any longer.
    /// - Returns: the other issued revisions with one of them.
    private func markCompromised(_ name: Name, _ revision: Int) async throws -> [Int] {
        let lock = try await context.revisions.lock(name)
        defer { lock.release() }
        let keys = Set(try await context.manifest(of: name, revision: revision).records.map(\.spkiSHA256))
        var sharers: [Int] = []
        for other in try await context.revisions.revisions(of: name) {
            guard var manifest = try? await context.manifest(of: name, revision: other),
                !keys.isDisjoint(with: manifest.records.map(\.spkiSHA256))
            else { continue }
            if other != revision { sharers.append(other) }
            guard manifest.keyCompromisedAt == nil else { continue }
            manifest.keyCompromisedAt = context.now
            try await context.revisions.write(try manifest.encoded(), to: .manifest, of: name, revision: other)
        }
        return sharers
    }

    /// Whether an open rotation ends with a key that somebody else has: it has taken one before that was known, or deploys
    /// what has one.
    func hasCompromisedKey(_ open: Rotation) async throws -> Bool {
        let compromised = try await context.compromisedKeys(of: open.certificate)
        for slot in [nil] + KeyType.allCases.map(Optional.some) {
            guard
                let pem = try await context.revisions.read(
                    .key(slot), of: open.certificate, revision: open.revision)
            else { continue }
            if compromised.contains(try PrivateKey(pem: pem).spkiSHA256) { return true }
        }
        return false
    }

    /// Ends an open rotation that has not touched a node yet, so that one with a new key can begin.
    /// - Throws: `lock.held` where it has: what is live must be brought to an end first.
    func abandonForNewKey(_ open: Rotation) async throws {
        let name = open.certificate
        guard !open.deployments.contains(where: { $0.isTouched }) else {
            throw underWay(open, "with the old key")
        }
        var abandoned = open
        abandoned.fail(
            CertsError(.cancelled, "the key is compromised: the rotation begins anew with another one"),
            at: context.now)
        var runner = RotationRunner(context: context, abandoned, resuming: true)
        _ = try await runner.advance()
        try await forgetIssued(name, open.revision)
    }

    private func underWay(_ open: Rotation, _ which: String) -> CertsError {
        CertsError(
            .lockHeld, "a rotation of '\(open.certificate)' \(which) is in the step \(open.step.rawValue)",
            subject: open.certificate.rawValue,
            hint: "bring it to its end with `certs rotate \(open.certificate)`, then run this once more")
    }

    /// What must not be served is not deployed later, either.
    private func forgetIssued(_ name: Name, _ revision: Int) async throws {
        guard var state = try await context.inventory.state(of: name), state.issuedRevision == revision,
            state.revision != revision
        else { return }
        state.issuedRevision = state.revision
        let current: RevisionManifest? =
            if let revision = state.revision { try await context.manifest(of: name, revision: revision) } else { nil }
        (state.record, state.requested) = (current?.record, current?.requested)
        context.refreshHintCheck(of: &state)
        context.refreshDueDate(of: &state, try? context.declaration(of: name))
        try await context.inventory.save(state)
    }
}
