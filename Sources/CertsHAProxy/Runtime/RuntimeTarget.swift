package import CertsCore
import CertsCrypto
import Foundation
import Logging

/// Hot swap: HAProxy gets the bundle through its runtime API, connections and process stay; then the disk gets it.
///
/// Memory comes first, so that what HAProxy refuses never lies on the disk for its next start. One host-wide lock per
/// socket's directory: HAProxy has one transaction per process, without an owner.
package struct RuntimeTarget: DeploymentTarget {
    package let declaration: NodeDeclaration
    /// The `stats socket`, from ``NodeDeclaration/reload``.
    let socket: String
    let files: any LiveFiles
    let proof: EndpointProof
    let session: RuntimeSession
    let limits: TargetLimits
    let logger: Logger
    let known: KnownLists

    init(
        _ declaration: NodeDeclaration, files: any LiveFiles, proof: EndpointProof,
        limits: TargetLimits, logger: Logger
    ) {
        self.declaration = declaration
        let socket = declaration.reload.socket ?? ""
        self.socket = socket
        self.files = files
        self.proof = proof
        let own = BundleFiles(node: declaration, files: files)
        self.session = RuntimeSession(
            connection: RuntimeConnection(socket: socket, deadline: limits.reply), logger: logger,
            unaskable: { await own.unaskable($0) })
        self.limits = limits
        self.logger = logger
        known = KnownLists(lifetime: limits.knownLists)
    }

    var bundleFiles: BundleFiles { BundleFiles(node: declaration, files: files) }
    var lists: CrtListSession { CrtListSession(session: session) }

    // MARK: Apply

    package func apply(_ deployments: [BundleDeployment]) async -> [CertsError?] {
        proof.known.record(deployments)
        // Between memory and disk nobody may stop: the deadlines bound it.
        return await uncancelled {
            await underLock(deployments) { try await apply($0) }
        }
    }

    private func apply(_ deployment: BundleDeployment) async throws {
        let (bundle, receipt) = (deployment.bundle, deployment.receipt)
        for member in bundle.members {
            let file = receipt.files.first { $0.role == .bundle(slot: member.slot) }
            if let file, let store = file.storeName {
                try await refuseTimestamps(beside: file, since: receipt.takenAt)
                let staying = try await bundleFiles.staying(beside: member, of: bundle.certificate, receipt)
                try await swap(member, staying, try StoreName(store), resuming: deployment.resuming)
            } else {
                try await add(member, of: bundle.certificate, receipt)
            }
        }
        try await bundleFiles.install(bundle, receipt: receipt)
        try await writeListLines(bundle, receipt)
    }

    /// - Parameter staying: what somebody else put beside this leaf: it is not ours to insist on.
    private func swap(
        _ member: StagedBundle.Member, _ staying: [Companion], _ name: StoreName, resuming: Bool
    ) async throws {
        let list = try await session.list()
        guard list.names.contains(name.rawValue) else {
            throw CertsError(
                .targetNotReferenced, "HAProxy has no certificate called \(name) any longer", subject: name.rawValue,
                hint: "it was reloaded with another configuration: run again", retry: .later)
        }
        try await clearTransaction(list, name: name, leaf: member.leaf, isOurs: resuming)
        let memory = resuming ? try await session.stored(name) : nil
        let isSwapped = memory.map { RuntimeSession.matches($0, member.leaf) } == true && member.companions.isEmpty
        if !isSwapped {
            try await session.swap(
                name, to: member.pem, leaf: member.leaf, companions: member.companions + staying,
                needsStaple: staying.isEmpty)
            known.swapped(name, .init(member.leaf))
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

    func refuseForeignTransaction(_ list: RuntimeReply.CertificateList) throws {
        guard let open = list.openTransaction else { return }
        throw CertsError(
            .targetForeignTransaction, "another client has a transaction open in HAProxy, for \(open)", subject: open,
            hint: "end it at \(socket): `commit ssl cert \(open)` or `abort ssl cert \(open)`; then run again",
            retry: .later)
    }

    // MARK: Lock

    /// Carries out the work for each item under the lock of the socket; a failure of one does not stop the others.
    func underLock<Item: Sendable>(_ items: [Item], _ body: (Item) async throws -> Void) async -> [CertsError?] {
        do {
            return try await locked {
                var failures: [CertsError?] = []
                for item in items {
                    do {
                        try await body(item)
                        failures.append(nil)
                    } catch {
                        failures.append(.wrapping(error))
                    }
                }
                return failures
            }
        } catch {
            return items.map { _ in .wrapping(error) }
        }
    }

    /// That of the socket: its lock is the socket's.
    var lockedDirectory: String { BundleFiles.directory(of: socket) }

    /// Runs `body` under the lock of the socket.
    func locked<Value: Sendable>(_ body: () async throws -> Value) async throws -> Value {
        let lock: any HeldLock
        do {
            lock = try await files.lockDirectory(lockedDirectory, deadline: limits.lock)
        } catch {
            // Without its directory there is no socket either, and that is what has to be said.
            if (error as? CertsError)?.code != .lockHeld { _ = try await session.list() }
            throw error
        }
        defer { lock.release() }
        return try await body()
    }

    // MARK: Verify and observe

    package func verify(_ bundle: StagedBundle, receipt: DeploymentReceipt) async throws -> VerifiedDeployment {
        _ = try declaration.requiredProbes(for: bundle.names, certificate: bundle.certificate)
        return try await proof.prove(
            Expectation(bundle), baseline: receipt.baseline, replaced: receipt.previousLeaves,
            patience: .swap(limits.connect))
    }

    package func verifyRestored(_ receipt: DeploymentReceipt) async throws -> [EndpointObservation] {
        try await proof.proveRestored(receipt.baseline, patience: .swap(limits.connect))
    }

    package func observe(names: [AlternativeName]) async -> [EndpointObservation] {
        await proof.observe(declaration.probes(for: names), now: Date())
    }
}

/// Runs `body` to its end even when the surrounding task is cancelled.
func uncancelled(_ body: @escaping @Sendable () async -> [CertsError?]) async -> [CertsError?] {
    await Task.detached { await body() }.value
}
