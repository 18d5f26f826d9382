import CertsCore
import Foundation
import Logging

/// Hot swap where HAProxy can do it, a reload where it cannot: the choice is made in `prepare`, stands in the receipt
/// with its reason, and is kept from there on.
struct FallbackTarget: DeploymentTarget {
    let hot: RuntimeTarget
    let cold: ReloadTarget

    var declaration: NodeDeclaration { hot.declaration }

    /// What the runtime API cannot do, and a reload can.
    private static let reasons: Set<CertsError.Code> = [.targetBundleTooLarge, .targetNotReferenced]

    func prepare(_ bundle: StagedBundle, fallback: StagedBundle?, now: Date) async throws -> PreparedDeployment {
        do {
            return try await hot.prepare(bundle, fallback: fallback, now: now)
        } catch let error as CertsError where Self.reasons.contains(error.code) {
            hot.logger.notice("a reload is needed", metadata: ["reason": "\(error.message)"])
            let prepared = try await cold.prepare(bundle, fallback: fallback, now: now)
            var receipt = prepared.receipt
            receipt.reason = error.message
            let finding = Finding(
                id: "reload-instead", severity: .info,
                message: "\(declaration.id) is reloaded (\(cold.method.word)): \(error.message)",
                remedy: error.hint ?? "nothing: this is what `fallback` is for")
            return PreparedDeployment(
                receipt: receipt, previous: prepared.previous, findings: [finding] + prepared.findings)
        }
    }

    func apply(_ deployments: [BundleDeployment]) async -> [CertsError?] {
        await split(deployments, reloads: { $0.receipt.reloads }, { await hot.apply($0) }, { await cold.apply($0) })
    }

    func restore(_ restorations: [BundleRestoration]) async -> [CertsError?] {
        await split(
            restorations, reloads: { $0.receipt.reloads }, { await hot.restore($0) }, { await cold.restore($0) })
    }

    private func split<Item: Sendable>(
        _ items: [Item], reloads: (Item) -> Bool, _ swap: ([Item]) async -> [CertsError?],
        _ reload: ([Item]) async -> [CertsError?]
    ) async -> [CertsError?] {
        var failures: [CertsError?] = items.map { _ in nil }
        for isReload in [false, true] {
            let places = items.indices.filter { reloads(items[$0]) == isReload }
            guard !places.isEmpty else { continue }
            let some = places.map { items[$0] }
            let outcomes = isReload ? await reload(some) : await swap(some)
            for (place, failure) in zip(places, outcomes) { failures[place] = failure }
        }
        return failures
    }

    private func chosen(_ receipt: DeploymentReceipt) -> any DeploymentTarget { receipt.reloads ? cold : hot }

    func verify(_ bundle: StagedBundle, receipt: DeploymentReceipt) async throws -> VerifiedDeployment {
        try await chosen(receipt).verify(bundle, receipt: receipt)
    }

    func verifyRestored(_ receipt: DeploymentReceipt) async throws -> [EndpointObservation] {
        try await chosen(receipt).verifyRestored(receipt)
    }

    func observe(names: [AlternativeName]) async -> [EndpointObservation] { await hot.observe(names: names) }

    func inspect(_ certificates: [CertificateDeclaration]) async -> [Finding] {
        // What only the hot swap cannot do is no obstacle here.
        let hot = await hot.inspect(certificates).map { finding in
            guard Preflight.mayFallBack.contains(finding.id) else { return finding }
            return Finding(
                id: finding.id, severity: .info, message: "\(finding.message); it is reloaded instead",
                remedy: finding.remedy)
        }
        return hot + (await cold.reloader.check(bundlePaths: certificates.flatMap { declaration.paths(of: $0) }))
    }

    func preview(_ certificate: CertificateDeclaration, next: StagedBundle?, among users: [CertificateDeclaration])
        async -> DeploymentPreview
    {
        let preview = await hot.preview(certificate, next: next, among: users)
        guard let obstacle = preview.findings.first(where: { Preflight.mayFallBack.contains($0.id) })
        else { return preview }
        var instead = await cold.preview(certificate, next: next, among: users)
        instead.reason = "\(obstacle.message); \(instead.reason)"
        return instead
    }

    func look(at current: StagedBundle) async -> NodeSight { await hot.look(at: current) }

    func strangers(besides expected: [ExpectedBundle]) async -> [Stranger] { await hot.strangers(besides: expected) }

    func evict(_ stranger: Stranger, keep: @Sendable (Secret) async throws -> Void) async throws {
        do {
            try await hot.evict(stranger, keep: keep)
        } catch let error as CertsError where error.code == .targetRefused && stranger.storeName != nil {
            // HAProxy does not let go of the default certificate of a `bind` while it runs.
            hot.logger.notice("a reload is needed", metadata: ["reason": "\(error.message)"])
            try await cold.reload()
        }
    }
}
