package import CertsCore
import CertsCrypto
package import Foundation
import Logging

/// Disk first, then a reload: for HAProxys without a runtime API that certs may use.
package struct ReloadTarget: DeploymentTarget {
    package let declaration: TargetDeclaration
    let reloader: any Reloader
    let files: any LiveFiles
    let proof: EndpointProof
    let limits: TargetLimits
    let logger: Logger

    init(
        _ declaration: TargetDeclaration, reloader: any Reloader, files: any LiveFiles, proof: EndpointProof,
        limits: TargetLimits,
        logger: Logger
    ) {
        self.declaration = declaration
        self.reloader = reloader
        self.files = files
        self.proof = proof
        self.limits = limits
        self.logger = logger
    }

    package func prepare(_ bundle: StagedBundle, fallback: StagedBundle?, now: Date) async throws -> PreparedDeployment
    {
        let path = declaration.bundlePath(for: bundle.certificate)
        let disk = try await files.read(path, limit: LiveBundle.sizeLimit)
        if let blocking = await reloader.check(bundlePaths: [path]).first(where: \.isBlocking) {
            throw CertsError(.targetReloadFailed, blocking.message, subject: path, hint: blocking.remedy, retry: .later)
        }
        let baseline = await proof.observe(declaration.probes(for: bundle.names), now: now)
        var previous = disk.map { LiveBundle($0) }
        var findings: [Finding] = []
        // The file was changed since the last reload: what is served is what we deployed, and that is what comes back.
        let served = Set(baseline.compactMap(\.served))
        if let fallback, served == [fallback.fingerprint], previous?.leaf?.fingerprint != fallback.fingerprint {
            previous = LiveBundle(fallback.pem, attributes: disk?.attributes)
            findings.append(
                Finding(
                    id: "memory-differs-from-disk", severity: .warning,
                    message:
                        "HAProxy serves another certificate than the one in \(path); a rollback restores the served one",
                    remedy: "find out who changes the file beside certs"))
        }
        let receipt = DeploymentReceipt(bundlePath: path, previous: previous?.receipt, baseline: baseline, takenAt: now)
        return PreparedDeployment(receipt: receipt, previous: previous?.contents, findings: findings)
    }

    package func apply(_ bundle: StagedBundle, receipt: DeploymentReceipt, resuming: Bool) async throws {
        // A reload that was begun is waited for: its own deadline bounds it.
        try await withUncancelledTask {
            try await locked(receipt) {
                let live = try? await files.read(receipt.bundlePath, limit: LiveBundle.sizeLimit)
                if live?.contents != bundle.pem {
                    try await files.install(
                        bundle.pem, at: receipt.bundlePath, attributes: receipt.previous?.attributes)
                }
                if let validate = declaration.validate {
                    try await CommandRunner.run(validate, purpose: "the validation command")
                }
                _ = try await reloader.reload(within: declaration.verifyWithin)
                logger.info("HAProxy was asked to reload", metadata: ["file": "\(receipt.bundlePath)"])
            }
        }
    }

    package func verify(_ bundle: StagedBundle, receipt: DeploymentReceipt) async throws -> [EndpointObservation] {
        let chain = try CanonicalBundle.certificates(in: bundle.pem).map(\.der)
        let probes = try declaration.requiredProbes(for: bundle.names, certificate: bundle.certificate)
        return try await askingTwice {
            try await proof.prove(probes, serves: bundle.fingerprint, chain: chain, patience: .reload($0))
        }
    }

    package func restore(_ receipt: DeploymentReceipt, previous: Secret?, certificate: Name, resuming: Bool)
        async throws
    {
        try LiveBundle.check(previous, against: receipt)
        try await withUncancelledTask {
            try await locked(receipt) {
                let isChanged = try await LiveBundle.restoreDisk(receipt, previous: previous, files: files)
                // Where the disk was never changed HAProxy was never asked; after a crash nobody knows.
                guard isChanged || resuming else { return }
                do {
                    _ = try await reloader.reload(within: declaration.verifyWithin)
                } catch {
                    throw CertsError.wrapping(error).noting(
                        "the file \(receipt.bundlePath) is restored, HAProxy was not reloaded")
                }
            }
        }
    }

    package func verifyRestored(_ receipt: DeploymentReceipt) async throws -> [EndpointObservation] {
        try await askingTwice { try await proof.proveRestored(receipt.baseline, patience: .reload($0)) }
    }

    /// A signal that reaches a master while it still finishes an earlier reload is lost without a trace (seen with
    /// HAProxy 2.6.12, within milliseconds after the new worker began to serve): where the old certificate stays, the
    /// reload is asked for once more.
    private func askingTwice(
        _ prove: (_ within: Duration) async throws -> [EndpointObservation]
    ) async throws -> [EndpointObservation] {
        do {
            return try await prove(declaration.verifyWithin / 3)
        } catch let error as CertsError where error.code == .servedOther {
            logger.notice("the reload does not show yet, asking for it again", metadata: ["reason": "\(error)"])
            try await withUncancelledTask { _ = try await reloader.reload(within: declaration.verifyWithin) }
            return try await prove(declaration.verifyWithin * 2 / 3)
        }
    }

    package func observe(names: [AlternativeName]) async -> [EndpointObservation] {
        await proof.observe(declaration.probes(for: names), now: Date())
    }

    /// Runs `body` under the lock of the directory of the bundle.
    private func locked(_ receipt: DeploymentReceipt, _ body: () async throws -> Void) async throws {
        let directory = receipt.bundlePath.lastIndex(of: "/").map { String(receipt.bundlePath[..<$0]) } ?? "."
        let lock = try await files.lockDirectory(directory.isEmpty ? "/" : directory, deadline: limits.lock)
        defer { lock.release() }
        try await body()
    }
}
