import CertsCore
import CertsCrypto
import Foundation
import Logging

// What each action of a rotation does. Every one may be carried out a second time after a crash: it first looks at what
// is already there.
extension RotationRunner {
    mutating func perform(_ rotation: Rotation) async throws -> Rotation.Completion {
        switch rotation.action {
        case .makeKey: try await makeKey(rotation)
        case .makeRequest: try await makeRequest(rotation)
        case .issue(let handle): return try await issue(rotation, resuming: handle)
        case .check: try await check(rotation)
        case .stage: try await stage(rotation)
        case .prepare(let target): return try await prepare(rotation, target)
        case .apply(let target, let receipt):
            let bundle = try await stagedBundle(rotation.certificate, rotation.revision)
            try await context.target(target).apply(bundle, receipt: receipt, resuming: halfDone.contains(target))
            halfDone.remove(target)
        case .verify(let target, let receipt):
            let bundle = try await stagedBundle(rotation.certificate, rotation.revision)
            observations[target] = try await context.target(target).verify(bundle, receipt: receipt)
        case .commit: try await context.revisions.makeCurrent(rotation.revision, of: rotation.certificate)
        case .restore(let target, let receipt): try await restore(rotation, target, receipt)
        case .verifyRestored(let target, let receipt):
            let adapter = try context.target(target)
            observations[target] = try await withUncancelledTask { try await adapter.verifyRestored(receipt) }
        case .abandon: try await abandon(rotation)
        case .nothing: break
        }
        return .done
    }

    // MARK: Key, request, issue

    private func makeKey(_ rotation: Rotation) async throws {
        let policy = try context.declaration(of: rotation.certificate).key
        if let existing = try await read(.key, rotation),
            (try? PrivateKey(pem: existing))?.algorithm == policy.algorithm
        {
            return
        }
        if policy.reuse, let kept = try await currentKey(of: rotation.certificate), kept.algorithm == policy.algorithm {
            return try await write(kept.pem(), to: .key, rotation)
        }
        let pem = try await BlockingPool.shared.run { try PrivateKey.generate(policy.algorithm).pem() }
        try await write(pem, to: .key, rotation)
    }

    private func currentKey(of certificate: Name) async throws -> PrivateKey? {
        guard let current = try await context.revisions.currentRevision(of: certificate),
            let pem = try await context.revisions.read(.key, of: certificate, revision: current)
        else { return nil }
        return try PrivateKey(pem: pem)
    }

    private func makeRequest(_ rotation: Rotation) async throws {
        let declaration = try context.declaration(of: rotation.certificate)
        let key = try await privateKey(rotation)
        let request = try CertificateRequest.make(subject: declaration.subject, names: declaration.names, key: key)
        try await write(Secret(copying: request.pem.utf8), to: .request, rotation)
    }

    private func issue(_ rotation: Rotation, resuming handle: ResumeHandle?) async throws -> Rotation.Completion {
        // The leaf is written last: where it is, the answer is complete, and nothing is asked for a second time.
        if try await read(.certificate, rotation) != nil { return .done }
        let declaration = try context.declaration(of: rotation.certificate)
        guard let requestPEM = try await read(.request, rotation) else {
            throw CertsError(
                .fileMissing, "the certificate request of revision \(rotation.revision) is gone", retry: .later)
        }
        let request = try CertificateRequest(pem: requestPEM.withBytes { Data($0) })
        let key = try await privateKey(rotation)
        let journal = context.journal
        let outcome = try await context.issuer(declaration.issuer).issue(
            IssuanceRequest(
                declaration: declaration, revision: rotation.revision, csr: request.der, key: try key.pem(),
                resuming: handle,
                now: context.now,
                save: { handle in
                    var held = rotation
                    held.hold(handle)
                    try await journal.record(held)
                }))
        switch outcome {
        case .pending(let handle, let retryAt): return .pending(handle, retryAt: retryAt)
        case .issued(let chain):
            let certificates = try chain.map { try Certificate(der: $0) }
            guard let leaf = certificates.first else {
                throw CertsError(
                    .issuerRefused, "the issuer answered without a certificate", subject: declaration.issuer.rawValue,
                    retry: .later)
            }
            let intermediates = certificates.dropFirst().map(\.pem).joined()
            try await write(Secret(copying: intermediates.utf8), to: .chain, rotation)
            try await write(Secret(copying: leaf.pem.utf8), to: .certificate, rotation)
            return .done
        }
    }

    // MARK: Check and stage

    private func check(_ rotation: Rotation) async throws {
        let declaration = try context.declaration(of: rotation.certificate)
        let key = try await privateKey(rotation)
        let chain = try await storedChain(rotation.certificate, rotation.revision)
        let anchors = try await context.issuer(declaration.issuer).trustAnchors().map { try Certificate(der: $0) }
        // A deployment by hand may bring back what was asked for under an older declaration.
        let known = rotation.purpose == .issue ? nil : try? await readManifest(rotation)
        let now = context.now
        let findings = try await BlockingPool.shared.run {
            BundleChecks.findings(
                chain: chain, keySPKI: key.publicKeyDER, names: known?.requested.names ?? declaration.names,
                anchors: known.map { $0.requested.issuer == declaration.issuer ? anchors : [] } ?? anchors,
                keyAlgorithm: known?.requested.keyAlgorithm ?? declaration.key.algorithm, now: now)
        }
        for finding in findings where !finding.isBlocking {
            context.logger.notice(
                "\(TerminalText.sanitized(finding.message))",
                metadata: ["certificate": "\(rotation.certificate)", "finding": "\(finding.id)"])
        }
        let blocking = findings.filter(\.isBlocking)
        if let first = blocking.first {
            throw CertsError(
                .certificateRejected,
                "the certificate is not fit to be deployed: "
                    + blocking.map { "\($0.message) [\($0.id)]" }.joined(separator: "; "),
                hint: first.remedy)
        }
        guard known == nil, let leaf = chain.first else { return }
        let manifest = RevisionManifest(
            certificate: rotation.certificate, revision: rotation.revision, requested: declaration.requested,
            record: leaf.record, issuedAt: now)
        try await write(manifest, rotation)
    }

    private func stage(_ rotation: Rotation) async throws {
        let chain = try await storedChain(rotation.certificate, rotation.revision)
        guard let leaf = chain.first, let key = try await read(.key, rotation) else {
            throw CertsError(
                .fileMissing, "the key of revision \(rotation.revision) is gone",
                hint: "rotate to a new certificate: `certs rotate \(rotation.certificate)`")
        }
        let bundle = try context.makeBundle(leaf, Array(chain.dropFirst()), key)
        try await write(bundle, to: .bundle, rotation)
        guard rotation.purpose == .issue else { return }
        // From here on there is an issued certificate that is not served: a crash must not hide it.
        let manifest = try await readManifest(rotation)
        var state =
            try await context.inventory.state(of: rotation.certificate) ?? CertificateState(name: rotation.certificate)
        state.issuedRevision = rotation.revision
        state.record = manifest.record
        state.requested = manifest.requested
        state.isWaiting = false
        context.refreshDueDate(of: &state, try? context.declaration(of: rotation.certificate))
        try await context.inventory.save(state)
    }

    // MARK: Targets

    private func prepare(_ rotation: Rotation, _ target: Name) async throws -> Rotation.Completion {
        let bundle = try await stagedBundle(rotation.certificate, rotation.revision)
        var fallback: StagedBundle?
        if let current = try await context.revisions.currentRevision(of: rotation.certificate),
            current != rotation.revision
        {
            fallback = try? await stagedBundle(rotation.certificate, current)
        }
        let prepared = try await context.target(target).prepare(bundle, fallback: fallback, now: context.now)
        if let previous = prepared.previous { try await write(previous, to: .previous(target: target), rotation) }
        for finding in prepared.findings {
            context.logger.notice(
                "\(TerminalText.sanitized(finding.message)); \(finding.remedy)",
                metadata: ["target": "\(target)", "finding": "\(finding.id)"])
        }
        return .prepared(prepared.receipt)
    }

    private func restore(_ rotation: Rotation, _ target: Name, _ receipt: DeploymentReceipt) async throws {
        var previous: Secret?
        if receipt.previous != nil {
            previous = try await read(.previous(target: target), rotation)
            guard previous != nil else {
                throw CertsError(
                    .fileMissing, "the previous bundle of '\(target)' is gone from the state directory",
                    subject: target.rawValue,
                    hint: "put a working bundle at \(receipt.bundlePath) and reload HAProxy")
            }
        }
        let adapter = try context.target(target)
        let (kept, isResuming) = (previous, halfDone.contains(target))
        try await withUncancelledTask {
            try await adapter.restore(receipt, previous: kept, certificate: rotation.certificate, resuming: isResuming)
        }
    }

    /// What was never accepted is removed; an issued revision stays, to be deployed later.
    private func abandon(_ rotation: Rotation) async throws {
        guard rotation.purpose == .issue, (try? await readManifest(rotation)) == nil else { return }
        try await context.revisions.discard(rotation.revision, of: rotation.certificate)
    }

    // MARK: Files of the revision

    private func read(_ file: RevisionFile, _ rotation: Rotation) async throws -> Secret? {
        try await context.revisions.read(file, of: rotation.certificate, revision: rotation.revision)
    }

    private func write(_ contents: Secret, to file: RevisionFile, _ rotation: Rotation) async throws {
        try await context.revisions.write(contents, to: file, of: rotation.certificate, revision: rotation.revision)
    }

    private func privateKey(_ rotation: Rotation) async throws -> PrivateKey {
        guard let pem = try await read(.key, rotation) else {
            throw CertsError(.fileMissing, "the key of revision \(rotation.revision) is gone", retry: .later)
        }
        return try PrivateKey(pem: pem)
    }

    func readManifest(_ rotation: Rotation) async throws -> RevisionManifest {
        try await context.manifest(of: rotation.certificate, revision: rotation.revision)
    }

    func write(_ manifest: RevisionManifest, _ rotation: Rotation) async throws {
        try await write(manifest.encoded(), to: .manifest, rotation)
    }

    private func storedChain(_ certificate: Name, _ revision: Int) async throws -> [Certificate] {
        try await context.storedChain(certificate, revision)
    }

    private func stagedBundle(_ certificate: Name, _ revision: Int) async throws -> StagedBundle {
        try await context.stagedBundle(certificate, revision)
    }
}
