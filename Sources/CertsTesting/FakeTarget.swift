package import CertsCore
package import Foundation
import Synchronization

/// A target in memory that keeps what was deployed, and fails where it is told to.
package final class FakeTarget: DeploymentTarget {
    package let declaration: TargetDeclaration

    /// What is live.
    package struct Live: Sendable {
        package var bundle: Secret?
        package var served: Fingerprint?
        package var isTransactionOpen = false
        /// Every call, in order: `apply 2`, `restore`.
        package var calls: [String] = []
        /// The calls that fail, by name; each once unless ``failsForever``.
        package var failing: Set<String> = []
        package var failsForever = false
        /// Serves something else than what was applied, as a HAProxy with a second file of the same name does.
        package var liesWith: Fingerprint?
    }

    private let state = Mutex(Live())

    package init(_ declaration: TargetDeclaration) { self.declaration = declaration }

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
                .targetTimeout, "the fake target fails at \(name)", subject: declaration.name.rawValue, retry: .later)
        }
    }

    package func prepare(_ bundle: StagedBundle, fallback: StagedBundle?, now: Date) async throws -> PreparedDeployment
    {
        try enter("prepare \(bundle.revision)")
        let before = live
        let previous = before.bundle.map { _ in
            DeploymentReceipt.PreviousBundle(
                digest: "digest", attributes: FileAttributes(mode: 0o600, owner: 0, group: 0), leaf: before.served)
        }
        return PreparedDeployment(
            receipt: DeploymentReceipt(
                bundlePath: declaration.bundle, previous: previous, baseline: observations(now), takenAt: now),
            previous: before.bundle)
    }

    package func apply(_ bundle: StagedBundle, receipt: DeploymentReceipt, resuming: Bool) async throws {
        if resuming { live.isTransactionOpen = false }
        live.isTransactionOpen = true
        try enter("apply \(bundle.revision)")
        state.withLock { live in
            live.bundle = bundle.pem
            live.served = live.liesWith ?? bundle.fingerprint
            live.isTransactionOpen = false
        }
    }

    package func verify(_ bundle: StagedBundle, receipt: DeploymentReceipt) async throws -> [EndpointObservation] {
        try enter("verify \(bundle.revision)")
        guard live.served == bundle.fingerprint else {
            throw CertsError(.servedOther, "the fake serves another certificate", subject: declaration.name.rawValue)
        }
        return observations(Date())
    }

    package func restore(_ receipt: DeploymentReceipt, previous: Secret?, certificate: Name, resuming: Bool)
        async throws
    {
        try enter("restore")
        state.withLock { live in
            live.bundle = previous
            live.served = receipt.previous?.leaf
            live.isTransactionOpen = false
        }
    }

    package func verifyRestored(_ receipt: DeploymentReceipt) async throws -> [EndpointObservation] {
        try enter("verifyRestored")
        guard live.served == receipt.baseline.first?.served else {
            throw CertsError(.servedOther, "the fake was not restored", subject: declaration.name.rawValue)
        }
        return observations(Date())
    }

    package func observe(names: [AlternativeName]) async -> [EndpointObservation] { observations(Date()) }

    private func observations(_ now: Date) -> [EndpointObservation] {
        declaration.endpoints.map { EndpointObservation(endpoint: $0, served: live.served, observedAt: now) }
    }
}
