import CertsCore
import CertsCrypto
import Foundation

// The step `issue`: one request for each key, at one issuer.
extension RotationRunner {
    func issue(_ rotation: Rotation, resuming handles: ResumeHandles) async throws -> Rotation.Completion {
        let declaration = try context.declaration(of: rotation.certificate)
        let issuer = try context.issuer(rotation.issuer ?? declaration.issuer)
        let predecessor = await predecessor(of: rotation, at: issuer.name)
        for member in declaration.key.members {
            // The leaf is written last: where it is, the answer is complete, and nothing is asked for a second time.
            if try await hasAnswer(rotation, member.slot) { continue }
            let request = try await request(rotation, declaration, member, handles[member.slot], predecessor)
            switch try await issuer.issue(request) {
            case .pending(let handle, let retryAt): return .pending(handle, slot: member.slot, retryAt: retryAt)
            case .issued(let chain): try await accept(chain, from: issuer.name, rotation, member.slot)
            }
        }
        return .done
    }

    private func hasAnswer(_ rotation: Rotation, _ slot: KeyType?) async throws -> Bool {
        // Empty: from an issuer that did not sign for the other keys.
        try await read(.certificate(slot), rotation).map { $0.count > 0 } ?? false
    }

    /// What one issuer signed is not mixed with what another signs. Done before the change is recorded: a crash in
    /// between asks the same issuer again.
    func forgetAnswers() async throws {
        for member in try context.declaration(of: rotation.certificate).key.members
        where try await hasAnswer(rotation, member.slot) {
            try await write(Secret(copying: [UInt8]()), to: .certificate(member.slot), rotation)
        }
    }

    private func request(
        _ rotation: Rotation, _ declaration: CertificateDeclaration, _ member: KeyPolicy.Member,
        _ handle: ResumeHandle?, _ predecessor: RevisionManifest?
    ) async throws -> IssuanceRequest {
        guard let pem = try await read(.request(member.slot), rotation) else {
            throw CertsError(
                .fileMissing, "the certificate request of revision \(rotation.revision) is gone", retry: .later)
        }
        let state = try await context.inventory.state(of: rotation.certificate)
        let journal = context.journal
        return IssuanceRequest(
            declaration: declaration, rotation: rotation.id,
            csr: try CertificateRequest(pem: pem.withBytes { Data($0) }).der,
            key: try await privateKey(rotation, member.slot).pem(), resuming: handle,
            replacing: await predecessorLeaf(predecessor, declaration, member),
            kind: OrderKind(declaration, predecessor, hint: state?.currentHint, now: context.now), now: context.now,
            save: { handle in
                var held = rotation
                held.hold(handle, for: member.slot)
                try await journal.record(held)
            })
    }

    /// The newest issued revision before this one, if the same issuer signed it. Nothing has taken its place yet, or
    /// there would be a newer one.
    private func predecessor(of rotation: Rotation, at issuer: Name) async -> RevisionManifest? {
        let revisions = try? await context.revisions.revisions(of: rotation.certificate)
        for revision in (revisions ?? []).reversed() where revision < rotation.revision {
            guard let manifest = try? await context.manifest(of: rotation.certificate, revision: revision) else {
                continue
            }
            return manifest.requested.issuer == issuer ? manifest : nil
        }
        return nil
    }

    /// The leaf of the same type of key, if it shares a name with the new one (RFC 9773 §5).
    private func predecessorLeaf(
        _ manifest: RevisionManifest?, _ declaration: CertificateDeclaration, _ member: KeyPolicy.Member
    ) async -> Data? {
        guard let manifest, !Set(manifest.requested.names).isDisjoint(with: declaration.names) else { return nil }
        let before = KeyPolicy.members(of: manifest.requested.keyAlgorithms)
        let isAlone = before.count == 1 && declaration.key.members.count == 1
        guard let same = before.first(where: { isAlone || $0.algorithm.keyType == member.algorithm.keyType }) else {
            return nil
        }
        return try? await context.storedChain(manifest.certificate, manifest.revision, same.slot).first?.der
    }

    private func accept(_ chain: [Data], from issuer: Name, _ rotation: Rotation, _ slot: KeyType?) async throws {
        let certificates = try chain.map { try Certificate(der: $0) }
        guard let leaf = certificates.first else {
            throw CertsError(
                .issuerRefused, "the issuer answered without a certificate", subject: issuer.rawValue, retry: .later)
        }
        let intermediates = certificates.dropFirst().map(\.pem).joined()
        try await write(Secret(copying: intermediates.utf8), to: .chain(slot), rotation)
        try await write(Secret(copying: leaf.pem.utf8), to: .certificate(slot), rotation)
    }
}

extension OrderKind {
    /// - Parameter predecessor: the newest revision, if the issuer that is asked signed it.
    init(_ declaration: CertificateDeclaration, _ predecessor: RevisionManifest?, hint: RenewalHint?, now: Date) {
        self.init(
            declaration, requested: predecessor?.requested,
            hint: predecessor.flatMap { manifest in
                hint.flatMap { $0.leaf.hex == manifest.record.sha256 ? $0 : nil }
            }, now: now)
    }

    /// - Parameters:
    ///   - requested: what the newest revision was asked for with, if the issuer that is asked signed it.
    ///   - hint: what that issuer suggests for it.
    init(
        _ declaration: CertificateDeclaration, requested: RequestedProperties?, hint: RenewalHint?, now: Date
    ) {
        guard let requested else {
            self = .new
            return
        }
        let names = Set(declaration.names)
        let isSuggested = hint.map { $0.start <= now } ?? false
        if isSuggested, !names.isDisjoint(with: requested.names) {
            self = .renewalByHint
        } else {
            self = names == Set(requested.names) ? .renewal : .new
        }
    }
}
