package import CertsCore
package import Foundation
import Synchronization

/// A target in memory that keeps what was deployed, and fails where it is told to.
package final class FakeTarget: DeploymentTarget {
    package let declaration: NodeDeclaration
    /// Whether it shares its reload among many certificates.
    let reloads: Bool

    /// What is live.
    package struct Live: Sendable {
        package var bundle: Secret?
        package var served: Fingerprint?
        package var isTransactionOpen = false
        /// Every call, in order: `apply 2`, `restore`.
        package var calls: [String] = []
        /// How many certificates each reload was for.
        package var reloads: [Int] = []
        /// The calls that fail, by name; each once unless ``failsForever``.
        package var failing: Set<String> = []
        package var failsForever = false
        /// Serves something else than what was applied, as a HAProxy with a second file of the same name does.
        package var liesWith: Fingerprint?
        package var strangers: [Stranger] = []
    }

    private let state = Mutex(Live())

    package init(_ declaration: NodeDeclaration, reloads: Bool = false) {
        self.declaration = declaration
        self.reloads = reloads
    }

    package var live: Live {
        get { state.withLock { $0 } }
        set { state.withLock { $0 = newValue } }
    }

    private func enter(_ call: String) throws {
        try state.withLock { live in
            live.calls.append(call)
            let name = String(call.prefix { $0 != " " })
            guard live.failing.contains(name) else { return }
            if !live.failsForever { live.failing.remove(name) }
            throw CertsError(
                .targetTimeout, "the fake target fails at \(name)", subject: declaration.id.description, retry: .later)
        }
    }

    package func prepare(_ bundle: StagedBundle, fallback: StagedBundle?, now: Date) async throws -> PreparedDeployment
    {
        try enter("prepare \(bundle.revision)")
        let before = live
        let previous = before.bundle.map { _ in
            PreviousFile(
                digest: "digest", attributes: FileAttributes(mode: 0o600, owner: 0, group: 0), leaf: before.served)
        }
        return PreparedDeployment(
            receipt: DeploymentReceipt(
                method: declaration.reload.word, reloads: reloads,
                files: [FileReceipt(path: declaration.bundle, role: .bundle(slot: nil), previous: previous)],
                baseline: observations(now).map { Sighting(.init($0.endpoint), $0) }, takenAt: now),
            previous: [before.bundle])
    }

    package func apply(_ deployments: [BundleDeployment]) async -> [CertsError?] {
        if reloads { state.withLock { $0.reloads.append(deployments.count) } }
        return deployments.map { deployment in
            if deployment.resuming { live.isTransactionOpen = false }
            live.isTransactionOpen = true
            do { try enter("apply \(deployment.bundle.revision)") } catch { return .wrapping(error) }
            state.withLock { live in
                live.bundle = deployment.bundle.members.first?.pem
                live.served = live.liesWith ?? deployment.bundle.members.first?.fingerprint
                live.isTransactionOpen = false
            }
            return nil
        }
    }

    package func verify(_ bundle: StagedBundle, receipt: DeploymentReceipt) async throws -> VerifiedDeployment {
        try enter("verify \(bundle.revision)")
        guard let served = live.served, bundle.fingerprints.contains(served) || reloads && live.liesWith == nil else {
            throw CertsError(
                .servedOther, "the fake serves another certificate", subject: declaration.id.description)
        }
        return VerifiedDeployment(observations(Date()))
    }

    package func restore(_ restorations: [BundleRestoration]) async -> [CertsError?] {
        restorations.map { restoration in
            do { try enter("restore") } catch { return .wrapping(error) }
            state.withLock { live in
                live.bundle = restoration.previous.first ?? nil
                live.served = restoration.receipt.files.first?.previous?.leaf
                live.isTransactionOpen = false
            }
            return nil
        }
    }

    package func verifyRestored(_ receipt: DeploymentReceipt) async throws -> [EndpointObservation] {
        try enter("verifyRestored")
        guard live.served == receipt.baseline.first?.observation.served else {
            throw CertsError(.servedOther, "the fake was not restored", subject: declaration.id.description)
        }
        return observations(Date())
    }

    package func observe(names: [AlternativeName]) async -> [EndpointObservation] { observations(Date()) }

    package func inspect(_ certificates: [CertificateDeclaration]) async -> [Finding] { [] }

    package func preview(
        _ certificate: CertificateDeclaration, next: StagedBundle?, among users: [CertificateDeclaration]
    ) async -> DeploymentPreview {
        DeploymentPreview(
            method: declaration.reload.word, reason: "a fake", commands: ["replace \(declaration.bundle)"], before: [],
            findings: [])
    }

    package func look(at current: StagedBundle) async -> NodeSight {
        NodeSight(
            members: current.members.map { member in
                let place: NodeSight.Place =
                    switch live.served {
                    case nil: .missing
                    case member.fingerprint?: .same
                    case let other?: .other(fingerprint: other.hex, notBefore: nil, notAfter: nil)
                    }
                return .init(
                    slot: member.slot, path: declaration.bundle, declared: member.fingerprint, disk: place,
                    memory: place, served: observations(Date()))
            })
    }

    package func strangers(besides expected: [ExpectedBundle]) async -> [Stranger] { live.strangers }

    package func evict(_ stranger: Stranger, keep: @Sendable (Secret) async throws -> Void) async throws {
        try await keep(Secret(copying: "bytes".utf8))
        state.withLock { $0.strangers.removeAll { $0 == stranger } }
    }

    private func observations(_ now: Date) -> [EndpointObservation] {
        declaration.endpoints.map { EndpointObservation(endpoint: $0, served: live.served, observedAt: now) }
    }
}
