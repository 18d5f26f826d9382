package import CertsCore
import CertsCrypto
package import Foundation
import Logging
import Synchronization

/// Disk first, then a reload: for HAProxys without a runtime API that certs may use, and for what it cannot do.
package struct ReloadTarget: DeploymentTarget {
    package let declaration: NodeDeclaration
    /// The method that reloads; the declared one, or its fallback.
    let method: ReloadMethod
    let reloader: any Reloader
    let files: any LiveFiles
    let proof: EndpointProof
    let limits: TargetLimits
    let logger: Logger
    private let last = LastReload()

    init(
        _ declaration: NodeDeclaration, method: ReloadMethod, reloader: any Reloader, files: any LiveFiles,
        proof: EndpointProof, limits: TargetLimits, logger: Logger
    ) {
        self.declaration = declaration
        self.method = method
        self.reloader = reloader
        self.files = files
        self.proof = proof
        self.limits = limits
        self.logger = logger
    }

    var bundleFiles: BundleFiles { BundleFiles(node: declaration, files: files) }

    // MARK: Prepare

    package func prepare(_ bundle: StagedBundle, fallback: StagedBundle?, now: Date) async throws -> PreparedDeployment
    {
        try bundleFiles.checkMembers(bundle)
        let planned = bundleFiles.plan(bundle)
        var live: [LiveBundle?] = []
        for file in planned {
            live.append(try await files.read(file.path, limit: BundleFiles.sizeLimit).map { LiveBundle($0) })
        }
        let paths = declaration.paths(of: bundle)
        let preflight =
            await reloader.check(bundlePaths: paths)
            + (try await Preflight(node: declaration, files: files).beforeDeployment(of: bundle))
        if let blocking = preflight.first(where: \.isBlocking) {
            throw CertsError(
                .targetReloadFailed, blocking.message, subject: declaration.id.description, hint: blocking.remedy,
                retry: .later)
        }
        let baseline = await proof.look(declaration.questions(for: bundle), now: now)
        let served = Set(baseline.filter { $0.question.subject == .own }.compactMap(\.observation.served))
        let drift = Self.preferServed(&live, planned, fallback, served: served)
        var receipts = zip(planned, live).map { FileReceipt(path: $0.path, role: $0.role, previous: $1?.receipt) }
        var previous = live.map { $0?.contents }
        let slots = Self.newSlots(receipts)
        if declaration.list != nil, !slots.isEmpty {
            let list = try await bundleFiles.prepareList(bundle.certificate, slots, storeName: nil)
            receipts.append(list.receipt)
            previous.append(list.lines)
        }
        return PreparedDeployment(
            receipt: DeploymentReceipt(
                method: method.word, reloads: true, files: receipts, baseline: baseline, takenAt: now),
            previous: previous, findings: preflight + drift)
    }

    /// The members that had no file: what HAProxy loads them from is a line in the declared list.
    private static func newSlots(_ files: [FileReceipt]) -> [KeyType?] {
        files.compactMap { file -> KeyType?? in
            if case .bundle(let slot) = file.role, file.previous == nil { .some(slot) } else { nil }
        }
    }

    /// Where a file was changed since the last reload, what is served is what we deployed, and that is what comes back.
    private static func preferServed(
        _ live: inout [LiveBundle?], _ planned: [BundleFiles.Planned], _ fallback: StagedBundle?,
        served: Set<Fingerprint>
    ) -> [Finding] {
        guard let fallback, !served.isEmpty, served.isSubset(of: fallback.fingerprints) else { return [] }
        var findings: [Finding] = []
        for (index, file) in planned.enumerated() {
            guard case .bundle(let slot) = file.role, let deployed = fallback.members.first(where: { $0.slot == slot }),
                live[index]?.leaf?.fingerprint != deployed.fingerprint
            else { continue }
            live[index] = LiveBundle(deployed.pem, attributes: live[index]?.attributes)
            findings.append(
                Finding(
                    id: "memory-differs-from-disk", severity: .warning,
                    message:
                        "HAProxy serves another certificate than the one in \(file.path); a rollback restores the served one",
                    remedy: "find out who changes the file beside certs"))
        }
        return findings
    }

    // MARK: Apply and restore

    package func apply(_ deployments: [BundleDeployment]) async -> [CertsError?] {
        let held = deployments.first.map { Self.lockedDirectory($0.receipt) } ?? ""
        proof.known.record(deployments)
        return await uncancelled {
            await together(deployments, receipt: \.receipt) { deployment in
                let receipt = deployment.receipt
                try await bundleFiles.install(deployment.bundle, receipt: receipt)
                try await bundleFiles.addLines(
                    deployment.bundle.certificate, Self.newSlots(receipt.files), receipt, held: held)
                return true
            } afterFailure: { failure, _ in
                failure
            }
        }
    }

    package func restore(_ restorations: [BundleRestoration]) async -> [CertsError?] {
        let held = restorations.first.map { Self.lockedDirectory($0.receipt) } ?? ""
        return await uncancelled {
            await together(restorations, receipt: \.receipt) { restoration in
                try BundleFiles.check(restoration)
                // A line without its file would keep HAProxy from starting: the line goes first.
                try await bundleFiles.removeLines(restoration, Self.newSlots(restoration.receipt.files), held: held)
                let isChanged = try await bundleFiles.restore(restoration)
                // Where the disk was never changed HAProxy was never asked; after a crash nobody knows.
                return isChanged || restoration.resuming
            } afterFailure: { failure, restoration in
                let noted = failure.noting(
                    "the file \(restoration.receipt.bundlePath) is restored, HAProxy was not reloaded")
                guard failure.code == .targetReloadFailed else { return noted }
                // It may not load for a reason that is none of ours, and run on with the old certificate all the while:
                // the handshakes of the next step tell.
                logger.warning("\(noted)")
                return nil
            }
        }
    }

    /// The disk for each, then one reload for all whose disk was changed.
    /// - Parameters:
    ///   - write: whether HAProxy has to be reloaded for it.
    ///   - afterFailure: what a reload that failed means for each.
    private func together<Item: Sendable>(
        _ items: [Item], receipt: (Item) -> DeploymentReceipt, write: (Item) async throws -> Bool,
        afterFailure: (CertsError, Item) -> CertsError?
    ) async -> [CertsError?] {
        var failures: [CertsError?] = items.map { _ in nil }
        do {
            let lock = try await lock(items.first.map(receipt))
            defer { lock?.release() }
            var waiting: [Int] = []
            for (index, item) in items.enumerated() {
                do {
                    if try await write(item) { waiting.append(index) }
                } catch {
                    failures[index] = .wrapping(error)
                }
            }
            guard !waiting.isEmpty else { return failures }
            do {
                try await reload()
            } catch {
                for index in waiting { failures[index] = afterFailure(.wrapping(error), items[index]) }
            }
        } catch {
            failures = items.map { _ in .wrapping(error) }
        }
        return failures
    }

    func reload() async throws {
        if let validate = declaration.validate {
            try await validate.run(purpose: "the validation command")
        }
        let outcome = try await reloader.reload(within: max(declaration.verifyWithin, limits.reload))
        last.record(outcome)
        logger.info("HAProxy was asked to reload", metadata: ["evidence": "\(outcome.evidence)"])
    }

    private func lock(_ receipt: DeploymentReceipt?) async throws -> (any HeldLock)? {
        guard let receipt else { return nil }
        return try await files.lockDirectory(Self.lockedDirectory(receipt), deadline: limits.lock)
    }

    private static func lockedDirectory(_ receipt: DeploymentReceipt) -> String {
        BundleFiles.directory(of: receipt.bundlePath)
    }

    // MARK: Verify and observe

    package func verify(_ bundle: StagedBundle, receipt: DeploymentReceipt) async throws -> VerifiedDeployment {
        _ = try declaration.requiredProbes(for: bundle.names, certificate: bundle.certificate)
        let expected = try Expectation(bundle)
        let proved = try await askingTwice {
            try await proof.prove(
                expected, baseline: receipt.baseline, replaced: receipt.previousLeaves, patience: .reload($0))
        }
        return VerifiedDeployment(proved.observations, findings: proved.findings + last.findings)
    }

    package func verifyRestored(_ receipt: DeploymentReceipt) async throws -> [EndpointObservation] {
        try await askingTwice { try await proof.proveRestored(receipt.baseline, patience: .reload($0)) }
    }

    /// A reload whose outcome the method cannot see may have been lost: a signal that reaches a master while it still
    /// finishes an earlier reload leaves no trace (seen with HAProxy 2.6.12). Where the old certificate stays, it is
    /// asked for once more.
    private func askingTwice<Value>(_ prove: (_ within: Duration) async throws -> Value) async throws -> Value {
        do {
            return try await prove(declaration.verifyWithin / 3)
        } catch let error as CertsError where error.code == .servedOther {
            if last.isProved { return try await prove(declaration.verifyWithin * 2 / 3) }
            logger.notice("the reload does not show yet, asking for it again", metadata: ["reason": "\(error)"])
            try await withUncancelledTask { try await reload() }
            return try await prove(declaration.verifyWithin * 2 / 3)
        }
    }

    package func observe(names: [AlternativeName]) async -> [EndpointObservation] {
        await proof.observe(declaration.probes(for: names), now: Date())
    }
}

/// What the last reload of this process has shown.
private final class LastReload: Sendable {
    private let outcome = Mutex<ReloadOutcome?>(nil)

    func record(_ new: ReloadOutcome) { outcome.withLock { $0 = new } }

    var isProved: Bool {
        switch outcome.withLock({ $0?.evidence }) {
        case .newWorker, .reported: true
        case .askedFor, nil: false
        }
    }

    /// Old workers hold the old certificate until their last connection ends.
    var findings: [Finding] {
        let workers = outcome.withLock { $0?.oldWorkers ?? [] }
        guard !workers.isEmpty else { return [] }
        let list = workers.prefix(8).map { worker in
            let age = worker.age.map { ", \(Int(min(max(0, $0), 1e9))) s old" } ?? ""
            let connections = worker.connections.map { ", \($0) connections" } ?? ""
            return "pid \(worker.pid)\(connections)\(age)"
        }
        return [
            Finding(
                id: "old-workers", severity: .info,
                message: "\(workers.count) old workers finish their connections with the old certificate: "
                    + list.joined(separator: "; "),
                remedy: "bound them with `hard-stop-after` in HAProxy's global section")
        ]
    }
}
