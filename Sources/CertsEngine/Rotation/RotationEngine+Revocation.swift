package import CertsCore
import CertsCrypto
import Foundation
import Logging

extension RotationEngine {
    /// Has a revision revoked by the issuer that signed it, each of its leaves, and remembers it.
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
        context.logger.notice(
            "revision \(wanted) is revoked", metadata: ["certificate": "\(name)", "reason": "\(reason.word)"])
        return (wanted, wanted == current)
    }

    private func revocable(_ name: Name, _ revision: Int?, current: Int?) async throws -> Int {
        if let revision { return revision }
        for known in try await context.revisions.revisions(of: name).reversed() where known != current {
            if (try? await context.manifest(of: name, revision: known)) != nil { return known }
        }
        throw CertsError(
            .certificateMissing, "'\(name)' has no revision besides the current one", subject: name.rawValue,
            hint: "rotate first, name the current one with --revision \(current ?? 1), or say --replace")
    }

    /// Renews, deploys and verifies first, then has the old revision revoked. Where the new one is not seen served,
    /// nothing is revoked.
    ///
    /// - Parameter revision: `nil`: the current one.
    /// - Returns: the rotation, and what was revoked.
    package func replaceAndRevoke(
        _ name: Name, revision: Int?, reason: RevocationReason, byKey: Bool = false
    ) async throws -> (rotation: Result, revoked: Int?) {
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
        let result =
            await rotate([name], because: reason == .keyCompromise ? .compromised : .requested).first
            ?? .failed(name, CertsError(.internal, "the rotation has no result"))
        guard case .rotated(let rotation) = result, rotation.outcome == .committed, rotation.revision != old else {
            return (result, nil)
        }
        if reason == .keyCompromise, try await shareKey(name, rotation.revision, old) {
            throw CertsError(
                .keyMismatch,
                "revision \(rotation.revision), which is served now, has a key of revision \(old): nothing was revoked",
                subject: name.rawValue, hint: "run the same once more: it gets a new key")
        }
        try await revoke(name, revision: old, reason: reason, byKey: byKey)
        return (result, old)
    }

    private func revisionToReplace(_ name: Name, _ revision: Int?) async throws -> Int? {
        if let revision { return revision }
        return try await context.revisions.currentRevision(of: name)
    }

    // MARK: A key that somebody else has

    /// Whether an open rotation may end with a key that was used before: it deploys what was issued already, or it began
    /// before the key was known to be lost and takes keys again.
    func mayUseOldKey(_ open: Rotation) async throws -> Bool {
        guard open.purpose == .issue else { return true }
        guard open.reason != .compromised else { return false }
        if open.step == .key { return true }
        let keys = try await publicKeys(open.certificate, open.revision)
        for revision in try await context.revisions.revisions(of: open.certificate) where revision != open.revision {
            if try await !keys.isDisjoint(with: publicKeys(open.certificate, revision)) { return true }
        }
        return false
    }

    /// Ends an open rotation that has not touched a node yet, so that one with a new key can begin.
    /// - Throws: `lock.held` where it has: what is live must be brought to an end first.
    func abandonForNewKey(_ open: Rotation) async throws {
        guard !open.deployments.contains(where: \.isTouched) else {
            throw CertsError(
                .lockHeld,
                "a rotation of '\(open.certificate)' with the old key is in the step \(open.step.rawValue)",
                subject: open.certificate.rawValue,
                hint: "bring it to its end with `certs rotate \(open.certificate)`, then run this once more")
        }
        var abandoned = open
        abandoned.fail(
            CertsError(.cancelled, "the key is compromised: the rotation begins anew with another one"),
            at: context.now)
        var runner = RotationRunner(context: context, abandoned, resuming: true)
        _ = try await runner.advance()
    }

    private func shareKey(_ name: Name, _ first: Int, _ second: Int) async throws -> Bool {
        try await !publicKeys(name, first).isDisjoint(with: publicKeys(name, second))
    }

    /// SubjectPublicKeyInfo of the keys of a revision, whatever slots they are in.
    private func publicKeys(_ name: Name, _ revision: Int) async throws -> Set<Data> {
        var keys: Set<Data> = []
        for slot in [nil] + KeyType.allCases.map(Optional.some) {
            guard let pem = try await context.revisions.read(.key(slot), of: name, revision: revision) else { continue }
            keys.insert(try PrivateKey(pem: pem).publicKeyDER)
        }
        return keys
    }
}
