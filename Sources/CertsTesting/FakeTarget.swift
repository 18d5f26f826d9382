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
        /// What each file holds, by path.
        package var files: [String: Held] = [:]
        /// The file that was touched last.
        package var latest: String?
        package var isTransactionOpen = false
        /// Every call, in order: `apply 2`, `restore`.
        package var calls: [String] = []
        /// How many certificates each reload was for, on the way forward and on the way back.
        package var reloads: [Int] = []
        package var restoringReloads: [Int] = []
        /// The calls that fail, by name; each once unless ``failsForever``. `reload` fails for all that share it.
        package var failing: Set<String> = []
        package var failsForever = false
        /// The certificates that are not seen served.
        package var hidden: Set<Name> = []
        /// Serves something else than what was applied, as a HAProxy with a second file of the same name does.
        package var liesWith: Fingerprint?
        package var strangers: [Stranger] = []

        package struct Held: Sendable {
            package var bundle: Secret?
            package var served: Fingerprint?
        }

        /// Of the file that was touched last: of the only one, in most tests.
        package var served: Fingerprint? {
            get { latest.flatMap { files[$0]?.served } }
            set { if let latest { files[latest, default: Held()].served = newValue } }
        }
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
        let path = declaration.bundlePath(for: bundle.certificate)
        let before = live.files[path]
        let previous = before?.bundle.map { _ in
            PreviousFile(
                digest: "digest", attributes: FileAttributes(mode: 0o600, owner: 0, group: 0), leaf: before?.served)
        }
        return PreparedDeployment(
            receipt: DeploymentReceipt(
                method: declaration.reload.word, reloads: reloads,
                files: [FileReceipt(path: path, role: .bundle(slot: nil), previous: previous)],
                baseline: observations(now, of: path).map { Sighting(.init($0.endpoint), $0) }, takenAt: now),
            previous: [before?.bundle])
    }

    package func apply(_ deployments: [BundleDeployment]) async -> [CertsError?] {
        if reloads {
            state.withLock { $0.reloads.append(deployments.count) }
            do { try enter("reload") } catch { return deployments.map { _ in .wrapping(error) } }
        }
        return deployments.map { deployment in
            if deployment.resuming { live.isTransactionOpen = false }
            live.isTransactionOpen = true
            do { try enter("apply \(deployment.bundle.revision)") } catch { return .wrapping(error) }
            let path = declaration.bundlePath(for: deployment.bundle.certificate)
            let member = deployment.bundle.members.first
            state.withLock { live in
                live.latest = path
                live.files[path] = .init(bundle: member?.pem, served: live.liesWith ?? member?.fingerprint)
                live.isTransactionOpen = false
            }
            return nil
        }
    }

    package func verify(_ bundle: StagedBundle, receipt: DeploymentReceipt) async throws -> VerifiedDeployment {
        try enter("verify \(bundle.revision)")
        let path = declaration.bundlePath(for: bundle.certificate)
        let live = live
        guard let served = live.files[path]?.served, bundle.fingerprints.contains(served),
            !live.hidden.contains(bundle.certificate)
        else {
            throw CertsError(
                .servedOther, "the fake serves another certificate", subject: declaration.id.description)
        }
        return VerifiedDeployment(observations(Date(), of: path))
    }

    package func restore(_ restorations: [BundleRestoration]) async -> [CertsError?] {
        if reloads { state.withLock { $0.restoringReloads.append(restorations.count) } }
        return restorations.map { restoration in
            do { try enter("restore") } catch { return .wrapping(error) }
            state.withLock { live in
                guard let file = restoration.receipt.files.first else { return }
                live.latest = file.path
                live.files[file.path] = .init(
                    bundle: restoration.previous.first ?? nil, served: file.previous?.leaf)
                live.isTransactionOpen = false
            }
            return nil
        }
    }

    package func verifyRestored(_ receipt: DeploymentReceipt) async throws -> [EndpointObservation] {
        try enter("verifyRestored")
        let path = receipt.files.first?.path
        guard path.flatMap({ live.files[$0]?.served }) == receipt.baseline.first?.observation.served else {
            throw CertsError(.servedOther, "the fake was not restored", subject: declaration.id.description)
        }
        return observations(Date(), of: path)
    }

    package func observe(names: [AlternativeName]) async -> [EndpointObservation] {
        observations(Date(), of: live.latest)
    }

    package func inspect(_ certificates: [CertificateDeclaration]) async -> [Finding] { [] }

    package func preview(
        _ certificate: CertificateDeclaration, next: StagedBundle?, among users: [CertificateDeclaration]
    ) async -> DeploymentPreview {
        DeploymentPreview(
            method: declaration.reload.word, reason: "a fake", commands: ["replace \(declaration.bundle)"], before: [],
            findings: [])
    }

    package func look(at current: StagedBundle) async -> NodeSight {
        let path = declaration.bundlePath(for: current.certificate)
        let served = live.files[path]?.served
        return NodeSight(
            members: current.members.map { member in
                let place: NodeSight.Place =
                    switch served {
                    case nil: .missing
                    case member.fingerprint?: .same
                    case let other?: .other(fingerprint: other.hex, notBefore: nil, notAfter: nil)
                    }
                return .init(
                    slot: member.slot, path: path, declared: member.fingerprint, disk: place,
                    memory: place, served: observations(Date(), of: path))
            })
    }

    package func strangers(besides expected: [ExpectedBundle]) async -> [Stranger] { live.strangers }

    package func evict(_ stranger: Stranger, keep: @Sendable (Secret) async throws -> Void) async throws {
        try await keep(Secret(copying: "bytes".utf8))
        state.withLock { $0.strangers.removeAll { $0 == stranger } }
    }

    private func observations(_ now: Date, of path: String?) -> [EndpointObservation] {
        let served = path.flatMap { live.files[$0]?.served }
        return declaration.endpoints.map { EndpointObservation(endpoint: $0, served: served, observedAt: now) }
    }
}
