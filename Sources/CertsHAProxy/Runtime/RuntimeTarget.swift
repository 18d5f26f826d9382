package import CertsCore
import CertsCrypto
package import Foundation
import Logging

/// Hot swap: HAProxy gets the bundle through its runtime API, connections and process stay; then the disk gets it.
///
/// Memory comes first, so that what HAProxy refuses never lies on the disk for its next start. One host-wide lock per
/// socket's directory: HAProxy has one transaction per process, without an owner.
package struct RuntimeTarget: DeploymentTarget {
    package let declaration: TargetDeclaration
    let socket: String
    let files: any LiveFiles
    let proof: EndpointProof
    let session: RuntimeSession
    let limits: TargetLimits
    let logger: Logger

    init(
        _ declaration: TargetDeclaration, socket: String, files: any LiveFiles, proof: EndpointProof,
        limits: TargetLimits, logger: Logger
    ) {
        self.declaration = declaration
        self.socket = socket
        self.files = files
        self.proof = proof
        self.session = RuntimeSession(
            connection: RuntimeConnection(socket: socket, deadline: limits.reply), logger: logger)
        self.limits = limits
        self.logger = logger
    }

    // MARK: Prepare

    package func prepare(_ bundle: StagedBundle, fallback: StagedBundle?, now: Date) async throws -> PreparedDeployment
    {
        let path = declaration.bundlePath(for: bundle.certificate)
        guard !path.hasSuffix(".crt") else {
            throw CertsError(
                .targetNotReferenced, "HAProxy cannot replace \(path) while it runs: the file's name ends in .crt",
                subject: path,
                hint: "call the file .pem, here and in HAProxy's configuration, or use `reload: { method: signal }`")
        }
        let disk = try await files.read(path, limit: LiveBundle.sizeLimit)
        let (name, memory) = try await locked {
            let list = try await session.list()
            try refuseForeignTransaction(list)
            let name = try RuntimeSession.resolve(path, in: list)
            // Its size is a property of the bundle and the name: no need to begin to find out.
            _ = try RuntimeCommand.set(name, bundle.pem)
            guard let memory = try await session.stored(name), memory.status == "Used" else {
                throw CertsError(
                    .targetNotReferenced, "HAProxy has loaded \(name), but no `bind` uses it", subject: path,
                    hint: "name it after `crt` in a `bind` line, or in the list that a `bind` line names")
            }
            try await session.requireAdmin()
            return (name, memory)
        }
        let choice = try chooseRollback(path: path, disk: disk, memory: memory, fallback: fallback, new: bundle)
        let baseline = await proof.observe(declaration.probes(for: bundle.names), now: now)
        let receipt = DeploymentReceipt(
            bundlePath: path, previous: choice.previous?.receipt, storeNames: [name.rawValue], baseline: baseline,
            takenAt: now)
        return PreparedDeployment(receipt: receipt, previous: choice.previous?.contents, findings: choice.findings)
    }

    /// What a rollback brings back: HAProxy's memory cannot be read out, so it is compared with what is known.
    private func chooseRollback(
        path: String, disk: LiveFile?, memory: RuntimeReply.StoredCertificate, fallback: StagedBundle?,
        new: StagedBundle
    ) throws -> (previous: LiveBundle?, findings: [Finding]) {
        let onDisk = disk.map { LiveBundle($0) }
        if let onDisk, onDisk.leaf?.record.sha1 == memory.sha1 {
            guard (try? CanonicalBundle.canonical(onDisk.contents)) != nil else {
                throw CertsError(
                    .targetRefused,
                    "\(path) has no private key beside its certificate: it could not be brought back after a failure",
                    subject: path, hint: "put the key into the file (leaf, chain, key), reload HAProxy, then run again")
            }
            return (onDisk, [])
        }
        if let fallback, fallback.leaf.sha1 == memory.sha1 {
            let previous = LiveBundle(fallback.pem, attributes: disk?.attributes)
            return (previous, [Self.drift(path, "a rollback restores the one in memory, which certs deployed")])
        }
        if memory.sha1 == new.leaf.sha1 { return (onDisk, []) }
        let consequence =
            onDisk?.leaf == nil
            ? "the one in memory cannot be read out, so a failure could not be rolled back"
            : "a rollback restores the file"
        return (onDisk, [Self.drift(path, consequence)])
    }

    private static func drift(_ path: String, _ consequence: String) -> Finding {
        Finding(
            id: "memory-differs-from-disk", severity: .warning,
            message: "HAProxy holds another certificate in memory than \(path); \(consequence)",
            remedy: "find out who changes the file or uses the runtime API beside certs")
    }

    // MARK: Apply

    package func apply(_ bundle: StagedBundle, receipt: DeploymentReceipt, resuming: Bool) async throws {
        // Between memory and disk nobody may stop: the deadlines bound it.
        try await withUncancelledTask {
            try await locked {
                let list = try await session.list()
                let name = try RuntimeSession.resolve(receipt.bundlePath, in: list)
                try await clearTransaction(list, name: name, leaf: bundle.leaf, isOurs: resuming)
                let memory = try await session.stored(name)
                let isSwapped = resuming && memory.map { RuntimeSession.matches($0, bundle.leaf) } == true
                if !isSwapped { try await session.swap(name, to: bundle.pem, leaf: bundle.leaf) }
                try await install(bundle.pem, at: receipt.bundlePath, attributes: receipt.previous?.attributes)
            }
        }
    }

    /// Leaves no transaction open before ours: what is ours from an earlier run is aborted, what is not is not touched.
    func clearTransaction(
        _ list: RuntimeReply.CertificateList, name: StoreName, leaf: CertificateRecord?, isOurs: Bool
    ) async throws {
        guard let open = list.openTransaction else { return }
        guard isOurs else { return try refuseForeignTransaction(list) }
        let openName = try StoreName(open)
        if openName != name {
            let held = try await session.pending(openName)
            guard let held, let leaf, RuntimeSession.matches(held, leaf) else {
                return try refuseForeignTransaction(list)
            }
        }
        logger.notice("aborting the transaction that an earlier run left open", metadata: ["file": "\(open)"])
        _ = try await session.abort(openName)
        try refuseForeignTransaction(try await session.list())
    }

    private func refuseForeignTransaction(_ list: RuntimeReply.CertificateList) throws {
        guard let open = list.openTransaction else { return }
        throw CertsError(
            .targetForeignTransaction, "another client has a transaction open in HAProxy, for \(open)", subject: open,
            hint: "end it at \(socket): `commit ssl cert \(open)` or `abort ssl cert \(open)`; then run again",
            retry: .later)
    }

    private func install(_ contents: Secret, at path: String, attributes: FileAttributes?) async throws {
        if let live = try? await files.read(path, limit: LiveBundle.sizeLimit), live.contents == contents { return }
        try await files.install(contents, at: path, attributes: attributes)
    }

    /// Runs `body` under the lock of the socket.
    func locked<Value: Sendable>(_ body: () async throws -> Value) async throws -> Value {
        let directory = socket.lastIndex(of: "/").map { String(socket[..<$0]) } ?? "."
        let lock: any HeldLock
        do {
            lock = try await files.lockDirectory(directory.isEmpty ? "/" : directory, deadline: limits.lock)
        } catch {
            // Without its directory there is no socket either, and that is what has to be said.
            if (error as? CertsError)?.code != .lockHeld { _ = try await session.list() }
            throw error
        }
        defer { lock.release() }
        return try await body()
    }

    // MARK: Verify and observe

    package func verify(_ bundle: StagedBundle, receipt: DeploymentReceipt) async throws -> [EndpointObservation] {
        let chain = try CanonicalBundle.certificates(in: bundle.pem).map(\.der)
        return try await proof.prove(
            try declaration.requiredProbes(for: bundle.names, certificate: bundle.certificate),
            serves: bundle.fingerprint,
            chain: chain, patience: .swap(limits.connect))
    }

    package func verifyRestored(_ receipt: DeploymentReceipt) async throws -> [EndpointObservation] {
        try await proof.proveRestored(receipt.baseline, patience: .swap(limits.connect))
    }

    package func observe(names: [AlternativeName]) async -> [EndpointObservation] {
        await proof.observe(declaration.probes(for: names), now: Date())
    }
}
