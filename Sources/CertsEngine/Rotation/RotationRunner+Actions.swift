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
        case .issue(let handles): return try await issue(rotation, resuming: handles)
        case .check: try await check(rotation)
        case .stage: try await stage(rotation)
        case .prepare(let node): return try await prepare(rotation, node)
        case .apply(let node, _): try await take(SharedStep(node: node, isRestore: false))
        case .verify(let node, let receipt):
            let bundle = try await stagedBundle(rotation)
            let verified = try await context.target(node).verify(bundle, receipt: receipt)
            observations[node] = verified.observations
            return .verified(findings: verified.findings)
        case .commit: try await context.revisions.makeCurrent(rotation.revision, of: rotation.certificate)
        case .restore(let node, _): try await take(SharedStep(node: node, isRestore: true))
        case .verifyRestored(let node, let receipt):
            let adapter = try context.target(node)
            observations[node] = try await withUncancelledTask { try await adapter.verifyRestored(receipt) }
        case .abandon: try await abandon(rotation)
        case .nothing: break
        }
        return .done
    }

    // MARK: Key, request

    private func makeKey(_ rotation: Rotation) async throws {
        let policy = try context.declaration(of: rotation.certificate).key
        for member in policy.members {
            if let existing = try await read(.key(member.slot), rotation),
                (try? PrivateKey(pem: existing))?.algorithm == member.algorithm
            {
                continue
            }
            if policy.reuse, rotation.reason != .compromised,
                let kept = try await currentKey(of: rotation.certificate, member)
            {
                try await write(kept.pem(), to: .key(member.slot), rotation)
                continue
            }
            let pem = try await BlockingPool.shared.run { try PrivateKey.generate(member.algorithm).pem() }
            try await write(pem, to: .key(member.slot), rotation)
        }
    }

    /// The key of the current revision, if it is of the same algorithm; the slots may have been others then.
    private func currentKey(of certificate: Name, _ member: KeyPolicy.Member) async throws -> PrivateKey? {
        guard let current = try await context.revisions.currentRevision(of: certificate) else { return nil }
        let compromised = try await context.compromisedKeys(of: certificate)
        for slot in [member.slot, nil, member.algorithm.keyType] {
            guard let pem = try await context.revisions.read(.key(slot), of: certificate, revision: current) else {
                continue
            }
            let key = try PrivateKey(pem: pem)
            if key.algorithm == member.algorithm, !compromised.contains(key.spkiSHA256) { return key }
        }
        return nil
    }

    private func makeRequest(_ rotation: Rotation) async throws {
        let declaration = try context.declaration(of: rotation.certificate)
        for member in declaration.key.members {
            let key = try await privateKey(rotation, member.slot)
            let request = try CertificateRequest.make(subject: declaration.subject, names: declaration.names, key: key)
            try await write(Secret(copying: request.pem.utf8), to: .request(member.slot), rotation)
        }
    }

    // MARK: Check and stage

    private func check(_ rotation: Rotation) async throws {
        let declaration = try context.declaration(of: rotation.certificate)
        // A deployment by hand may bring back what was asked for under an older declaration.
        let known = rotation.purpose == .issue ? nil : try? await readManifest(rotation)
        let algorithms = known?.requested.keyAlgorithms ?? declaration.key.algorithms
        let anchors = try await anchors(rotation, declaration, known)
        var findings: [Finding] = []
        var records: [CertificateRecord] = []
        let now = context.now
        for member in KeyPolicy.members(of: algorithms) {
            let key = try await privateKey(rotation, member.slot)
            let chain = try await context.storedChain(rotation.certificate, rotation.revision, member.slot)
            findings += try await BlockingPool.shared.run {
                BundleChecks.findings(
                    chain: chain, keySPKI: key.publicKeyDER, names: known?.requested.names ?? declaration.names,
                    anchors: anchors, keyAlgorithm: member.algorithm, now: now)
            }
            records += chain.first.map { [$0.record] } ?? []
            findings += Self.mustStaple(chain.first?.record, declaration)
        }
        try judge(findings, rotation)
        guard known == nil else { return }
        let manifest = RevisionManifest(
            certificate: rotation.certificate, revision: rotation.revision,
            requested: declaration.requested(from: rotation.issuer ?? declaration.issuer), records: records,
            issuedAt: now)
        try await write(manifest, rotation)
    }

    /// The roots of the issuer that signed the revision; empty where it is not declared any longer.
    private func anchors(
        _ rotation: Rotation, _ declaration: CertificateDeclaration, _ known: RevisionManifest?
    ) async throws -> [Certificate] {
        let signer = known?.requested.issuer ?? rotation.issuer ?? declaration.issuer
        if known != nil, context.issuers[signer] == nil { return [] }
        return try await context.issuer(signer).trustAnchors().map { try Certificate(der: $0) }
    }

    private static func mustStaple(_ leaf: CertificateRecord?, _ declaration: CertificateDeclaration) -> [Finding] {
        guard leaf?.mustStaple == true, !declaration.staple else { return [] }
        return [
            Finding(
                id: "must-staple", severity: .warning,
                message: "the certificate says that it must be served with an OCSP response, and certs fetches none",
                remedy: "write `staple: true` for \(declaration.name), unless HAProxy gets its responses elsewhere")
        ]
    }

    /// Tells what is only worth knowing, and stops at what is worse.
    private func judge(_ findings: [Finding], _ rotation: Rotation) throws {
        for finding in findings where !finding.isBlocking {
            context.logger.notice(
                "\(TerminalText.sanitized(finding.message))",
                metadata: ["certificate": "\(rotation.certificate)", "finding": "\(finding.id)"])
        }
        let blocking = findings.filter(\.isBlocking)
        guard let first = blocking.first else { return }
        throw CertsError(
            .certificateRejected,
            "the certificate is not fit to be deployed: "
                + blocking.map { "\($0.message) [\($0.id)]" }.joined(separator: "; "),
            hint: first.remedy)
    }

    private mutating func stage(_ rotation: Rotation) async throws {
        let manifest = try await readManifest(rotation)
        for member in KeyPolicy.members(of: manifest.requested.keyAlgorithms) {
            let chain = try await context.storedChain(rotation.certificate, rotation.revision, member.slot)
            guard let leaf = chain.first, let key = try await read(.key(member.slot), rotation) else {
                throw CertsError(
                    .fileMissing, "the key of revision \(rotation.revision) is gone",
                    hint: "rotate to a new certificate: `certs rotate \(rotation.certificate)`")
            }
            let bundle = try context.makeBundle(leaf, Array(chain.dropFirst()), key)
            try await write(bundle, to: .bundle(member.slot), rotation)
        }
        if rotation.purpose == .issue { try await tellIssued(manifest) }
        staple = try await stageStaples(rotation, manifest)
    }

    /// From here on there is an issued certificate that is not served: neither a crash nor a responder that is away may
    /// hide it, or another one would be asked for.
    private func tellIssued(_ manifest: RevisionManifest) async throws {
        var state =
            try await context.inventory.state(of: rotation.certificate) ?? CertificateState(name: rotation.certificate)
        state.issuedRevision = rotation.revision
        state.record = manifest.record
        state.requested = manifest.requested
        (state.isWaiting, state.waitingFor) = (false, nil)
        context.refreshHintCheck(of: &state)
        context.refreshDueDate(of: &state, try? context.declaration(of: rotation.certificate))
        try await context.inventory.save(state)
    }

    // MARK: Nodes

    private func prepare(_ rotation: Rotation, _ node: NodeID) async throws -> Rotation.Completion {
        let bundle = try await stagedBundle(rotation)
        var fallback: StagedBundle?
        if let current = try await context.revisions.currentRevision(of: rotation.certificate),
            current != rotation.revision
        {
            fallback = try? await context.stagedBundle(rotation.certificate, current)
        }
        let prepared = try await context.target(node).prepare(bundle, fallback: fallback, now: context.now)
        for (index, previous) in prepared.previous.enumerated() {
            if let previous { try await write(previous, to: .previous(node, index), rotation) }
        }
        for finding in prepared.findings {
            context.logger.notice(
                "\(TerminalText.sanitized(finding.message)); \(finding.remedy)",
                metadata: ["target": "\(node)", "finding": "\(finding.id)"])
        }
        // Once for the certificate, not once for each node.
        let ours = rotation.deployments.first?.node == node ? stapleFindings : []
        return .prepared(prepared.receipt, findings: prepared.findings + ours)
    }

    /// A shared step, taken alone.
    private mutating func take(_ step: SharedStep) async throws {
        let failure = await Self.perform(step, for: [self]).first ?? nil
        halfDone.remove(step.node)
        if let failure { throw failure }
    }

    /// Carries out one shared step for all: with one reload, where there has to be one.
    /// - Returns: for each, why it failed.
    static func perform(_ step: SharedStep, for runners: [RotationRunner]) async -> [CertsError?] {
        var failures: [CertsError?] = runners.map { _ in nil }
        guard let context = runners.first?.context else { return [] }
        func together<Item: Sendable>(
            _ item: (RotationRunner) async throws -> Item, _ carryOut: ([Item]) async -> [CertsError?]
        ) async {
            var items: [(index: Int, item: Item)] = []
            for (index, runner) in runners.enumerated() {
                do { items.append((index, try await item(runner))) } catch { failures[index] = .wrapping(error) }
            }
            for (item, failure) in zip(items, await carryOut(items.map(\.item))) { failures[item.index] = failure }
        }
        do {
            let target = try context.target(step.node)
            if step.isRestore {
                await together({ try await $0.restoration(of: step.node) }) { items in
                    (try? await withUncancelledTask { await target.restore(items) }) ?? []
                }
            } else {
                await together({ try await $0.deployment(on: step.node) }) { await target.apply($0) }
            }
        } catch {
            failures = runners.map { _ in .wrapping(error) }
        }
        return failures
    }

    private func deployment(on node: NodeID) async throws -> BundleDeployment {
        BundleDeployment(
            bundle: try await stagedBundle(rotation), receipt: try receipt(of: node),
            resuming: halfDone.contains(node))
    }

    private func restoration(of node: NodeID) async throws -> BundleRestoration {
        let receipt = try receipt(of: node)
        var previous: [Secret?] = []
        for (index, file) in receipt.files.enumerated() {
            let kept = try await read(.previous(node, index), rotation)
            guard kept != nil || file.previous == nil else {
                throw CertsError(
                    .fileMissing, "the previous \(file.path) of '\(node)' is gone from the state directory",
                    subject: node.description, hint: "put a working bundle at \(file.path) and reload HAProxy")
            }
            previous.append(file.previous == nil ? nil : kept)
        }
        return BundleRestoration(
            certificate: rotation.certificate, receipt: receipt, previous: previous, resuming: halfDone.contains(node))
    }

    private func receipt(of node: NodeID) throws -> DeploymentReceipt {
        guard let receipt = rotation.deployments.first(where: { $0.node == node })?.receipt else {
            throw CertsError(.internal, "there is no receipt for '\(node)'")
        }
        return receipt
    }

    /// What was never accepted is removed; an issued revision stays, to be deployed later.
    private func abandon(_ rotation: Rotation) async throws {
        guard rotation.purpose == .issue, (try? await readManifest(rotation)) == nil else { return }
        try await context.revisions.discard(rotation.revision, of: rotation.certificate)
    }

    // MARK: Files of the revision

    func read(_ file: RevisionFile, _ rotation: Rotation) async throws -> Secret? {
        try await context.revisions.read(file, of: rotation.certificate, revision: rotation.revision)
    }

    func write(_ contents: Secret, to file: RevisionFile, _ rotation: Rotation) async throws {
        try await context.revisions.write(contents, to: file, of: rotation.certificate, revision: rotation.revision)
    }

    func privateKey(_ rotation: Rotation, _ slot: KeyType?) async throws -> PrivateKey {
        guard let pem = try await read(.key(slot), rotation) else {
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

    private func stagedBundle(_ rotation: Rotation) async throws -> StagedBundle {
        try await context.stagedBundle(rotation.certificate, rotation.revision)
    }
}
