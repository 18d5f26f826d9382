package import CertsCore
import CertsCrypto
package import Foundation
import Logging

// What is live, whether it can be replaced, and what a rollback would bring back. Changes nothing.
extension RuntimeTarget {
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
}
