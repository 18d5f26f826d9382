package import CertsCore
import CertsCrypto
package import Foundation
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

    // MARK: Prepare

    package func prepare(_ bundle: StagedBundle, fallback: StagedBundle?, now: Date) async throws -> PreparedDeployment
    {
        try bundleFiles.checkMembers(bundle)
        // Before HAProxy is asked about anything that it holds now, or would hold.
        if (bundle.members + (fallback?.members ?? [])).contains(where: { !ShownText.fits($0.pem) }) {
            throw ShownText.cannotBeAsked(declaration.loadedPath(for: bundle.certificate))
        }
        let clock = try checkClock(try await session.process(), bundle, now: now)
        let stores = try await locked {
            let list = try await session.list()
            try refuseForeignTransaction(list)
            var stores: [Store] = []
            for member in bundle.members { stores.append(try await store(of: member, bundle.certificate, list)) }
            try await session.requireAdmin()
            try await refuseDuplicates(of: bundle, stores)
            return stores
        }
        var receipts: [FileReceipt] = []
        var previous: [Secret?] = []
        var findings = clock + (try await preflight.beforeDeployment(of: bundle))
        for planned in bundleFiles.plan(bundle) {
            var live = try await files.read(planned.path, limit: BundleFiles.sizeLimit).map { LiveBundle($0) }
            var storeName: String?
            if case .bundle(let slot) = planned.role, let store = stores.first(where: { $0.slot == slot }) {
                storeName = store.memory == nil ? nil : store.name.rawValue
                let choice = try chooseRollback(store, path: planned.path, disk: live, fallback: fallback, new: bundle)
                (live, findings) = (choice.previous, findings + choice.findings)
            }
            if case .companion(.sctl, _) = planned.role { findings += try Self.timestamps(planned, live) }
            receipts.append(
                FileReceipt(path: planned.path, role: planned.role, storeName: storeName, previous: live?.receipt))
            previous.append(live?.contents)
        }
        if let list = stores.compactMap(\.list).first {
            let slots = stores.filter { $0.memory == nil }.map(\.slot)
            let prepared = try await bundleFiles.prepareList(bundle.certificate, slots, storeName: list.rawValue)
            receipts.append(prepared.receipt)
            previous.append(prepared.lines)
        }
        let baseline = await proof.look(declaration.questions(for: bundle), now: now)
        return PreparedDeployment(
            receipt: DeploymentReceipt(
                method: "runtime", reloads: false, files: receipts, baseline: baseline, takenAt: now),
            previous: previous, findings: findings)
    }

    /// HAProxy's clock decides how long it staples a response, and tells what its clients may see.
    ///
    /// - Throws: `target.refused` for a leaf that is not valid yet there.
    private func checkClock(_ process: RuntimeReply.Process, _ bundle: StagedBundle, now: Date) throws -> [Finding] {
        guard let there = process.now else { return [] }
        let skew = there.timeIntervalSince(now)
        if let early = bundle.members.first(where: { $0.leaf.notBefore > there.addingTimeInterval(Self.clockTolerance) }
        ) {
            throw CertsError(
                .targetRefused,
                "by the clock of '\(declaration.id)' the certificate is valid only in \(Int(min(early.leaf.notBefore.timeIntervalSince(there), 1e9))) seconds",
                subject: declaration.id.description, hint: "set the clock of that host (NTP), then run again",
                retry: .later)
        }
        guard abs(skew) > Self.clockTolerance else { return [] }
        return [
            Finding(
                id: "clock-skew", severity: .warning,
                message:
                    "the clock of '\(declaration.id)' is \(Int(min(abs(skew), 1e9))) seconds \(skew < 0 ? "behind" : "ahead")",
                remedy: "set the clock of that host (NTP): HAProxy staples by it")
        ]
    }

    /// In seconds; HAProxy tells whole ones.
    private static let clockTolerance: TimeInterval = 60

    /// Where HAProxy holds a member in memory, or is to hold it.
    struct Store: Sendable {
        let slot: KeyType?
        let name: StoreName
        /// `nil`: it is not there yet.
        let memory: RuntimeReply.StoredCertificate?
        /// The list that it is to be added to.
        let list: StoreName?
    }

    private func store(
        of member: StagedBundle.Member, _ certificate: Name, _ list: RuntimeReply.CertificateList
    ) async throws -> Store {
        let path = declaration.loadedPath(for: certificate, slot: member.slot)
        guard !path.hasSuffix(".crt") else {
            throw CertsError(
                .targetNotReferenced, "HAProxy cannot replace \(path) while it runs: the file's name ends in .crt",
                subject: path,
                hint: "call the file .pem, here and in HAProxy's configuration, or name a `fallback` that reloads")
        }
        let store: Store
        if let known = try RuntimeSession.find(path, in: list) {
            store = try await existing(known, member.slot, path)
        } else if let declared = declaration.list {
            let list = try await lists.list(at: declared.path)
            store = Store(
                slot: member.slot, name: try CrtListSession.storeName(for: path, in: list), memory: nil, list: list)
        } else {
            throw RuntimeSession.notReferenced(path, in: list)
        }
        // Its size is a property of the bundle and the name: no need to begin to find out.
        _ = try RuntimeCommand.set(store.name, member.pem)
        _ = try RuntimeSession.commands(for: member.companions, of: store.name)
        return store
    }

    private func existing(_ name: StoreName, _ slot: KeyType?, _ path: String) async throws -> Store {
        guard let memory = try await session.stored(name), memory.status == "Used" else {
            guard let declared = declaration.list else {
                throw CertsError(
                    .targetNotReferenced, "HAProxy has loaded \(name), but no `bind` uses it", subject: path,
                    hint: "name it after `crt` in a `bind` line, or declare the `list` that a `bind` line names")
            }
            // Left by a run that died before the list got its entry.
            return Store(slot: slot, name: name, memory: nil, list: try await lists.list(at: declared.path))
        }
        return Store(slot: slot, name: name, memory: memory, list: nil)
    }

    /// What a rollback brings back: HAProxy's memory cannot be read out, so it is compared with what is known.
    private func chooseRollback(
        _ store: Store, path: String, disk onDisk: LiveBundle?, fallback: StagedBundle?, new: StagedBundle
    ) throws -> (previous: LiveBundle?, findings: [Finding]) {
        guard let memory = store.memory else { return (onDisk, []) }
        let isComplete = onDisk.map { (try? CanonicalBundle.canonical($0.contents)) != nil } ?? false
        if let onDisk, isComplete, onDisk.leaf?.record.sha1 == memory.sha1 { return (onDisk, []) }
        if let deployed = fallback?.members.first(where: { $0.slot == store.slot }),
            deployed.leaf.sha1 == memory.sha1
        {
            let previous = LiveBundle(deployed.pem, attributes: onDisk?.attributes)
            return (previous, [Self.drift(path, "a rollback restores the one in memory, which certs deployed")])
        }
        if let same = new.members.first(where: { $0.leaf.sha1 == memory.sha1 }) {
            // Deployed again, because somebody changed the file.
            return (isComplete ? onDisk : LiveBundle(same.pem, attributes: onDisk?.attributes), [])
        }
        if let onDisk, onDisk.leaf?.record.sha1 == memory.sha1 {
            throw CertsError(
                .targetRefused,
                "\(path) has no private key beside its certificate: it could not be brought back after a failure",
                subject: path, hint: "put the key into the file (leaf, chain, key), reload HAProxy, then run again")
        }
        let consequence =
            onDisk?.leaf == nil
            ? "the one in memory cannot be read out, so a failure could not be rolled back"
            : "a rollback restores the file"
        return (onDisk, [Self.drift(path, consequence)])
    }

    private static func drift(_ path: String, _ consequence: String) -> Finding {
        Finding(
            id: "memory-differs-from-disk", severity: .warning,
            message: "\(path) is not what HAProxy holds in memory; \(consequence)",
            remedy: "find out who changes the file or uses the runtime API beside certs")
    }

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
            Expectation(bundle), baseline: receipt.baseline, replaced: receipt.previousLeaves, patience: .swap(limits.connect))
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
