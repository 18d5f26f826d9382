import CertsCore
import CertsCrypto
import Foundation

// Certificates that HAProxy does not have yet: into its memory, into the list of a `bind`, and the line on the disk.
extension RuntimeTarget {
    func add(_ member: StagedBundle.Member, of certificate: Name, _ receipt: DeploymentReceipt) async throws {
        let (list, name) = try newStore(certificate, member.slot, receipt)
        try await lists.createStore(
            name, bundle: member.pem, leaf: member.leaf, companions: try BundleCompanions(member.companions))
        try await lists.addEntry(name, declaration.listTerms(), to: list)
        known.learn(name.rawValue, .init(member.leaf), in: list)
    }

    private func newStore(_ certificate: Name, _ slot: KeyType?, _ receipt: DeploymentReceipt) throws -> (
        list: StoreName, name: StoreName
    ) {
        guard let file = receipt.files.first(where: { $0.role == .list }), let listName = file.storeName else {
            throw CertsError(
                .targetNotReferenced, "HAProxy has no certificate for '\(certificate)', and no list to add it to",
                subject: certificate.rawValue, hint: "run again")
        }
        let list = try StoreName(listName)
        let path = declaration.loadedPath(for: certificate, slot: slot)
        return (list, try CrtListSession.storeName(for: path, in: list))
    }

    /// A list that is a file gets its line, once; a directory needs none.
    func writeListLines(_ bundle: StagedBundle, _ receipt: DeploymentReceipt) async throws {
        let slots = bundle.members.map(\.slot).filter { receipt.newSlots.contains($0) }
        try await bundleFiles.addLines(bundle.certificate, slots, receipt, held: lockedDirectory)
    }

    /// In reverse: the entries and the certificates out of HAProxy's memory. A failure of one does not stop the others.
    func removeAdded(_ restoration: BundleRestoration) async throws {
        var first: (any Error)?
        for slot in restoration.receipt.newSlots.reversed() {
            do {
                let (list, name) = try newStore(restoration.certificate, slot, restoration.receipt)
                try await lists.removeEntry(name, from: list)
                try await lists.removeStore(name)
            } catch {
                first = first ?? error
            }
        }
        if let first { throw first }
    }

    /// Outside of the lock of the socket: the lines go even where HAProxy is gone.
    func removeListLines(_ restoration: BundleRestoration) async throws {
        try await bundleFiles.removeLines(restoration, restoration.receipt.newSlots, held: "")
    }

    // MARK: Duplicates

    /// Refuses a certificate whose name another one in the same list has: HAProxy would serve the one that was not
    /// updated last.
    func refuseDuplicates(of bundle: StagedBundle, _ stores: [Store]) async throws {
        for (store, member) in zip(stores, bundle.members) {
            guard let clash = try await duplicates(of: store, .init(member.leaf)).first else { continue }
            let others = clash.stores.filter { $0 != store.name.rawValue }.prefix(3).joined(separator: ", ")
            throw CertsError(
                .targetDuplicateName,
                "\(others) in the same `bind` has the name \(clash.name) too: after a swap HAProxy would serve that one",
                subject: others,
                hint:
                    "take \(others) out of the list or directory and reload HAProxy; `certs drift --repair` moves copies of our own bundles aside",
                retry: .later)
        }
    }

    /// The clashes in every list that has the store, once it holds this certificate.
    func duplicates(of store: Store, _ next: KnownLists.Certificate) async throws -> [DuplicateNames.Clash] {
        let candidate = DuplicateNames.Claimant(
            store: store.name.rawValue, names: next.names, filters: declaration.list?.filters ?? [],
            algorithm: next.algorithm)
        return try await lists.clashes(of: candidate, addedTo: store.list, known: known)
    }
}

extension DeploymentReceipt {
    /// The members that HAProxy had not loaded.
    fileprivate var newSlots: [KeyType?] {
        files.compactMap { file -> KeyType?? in
            if case .bundle(let slot) = file.role, file.storeName == nil { .some(slot) } else { nil }
        }
    }
}

extension BundleCompanions {
    /// What is loaded beside a bundle, as HAProxy's memory takes it.
    init(_ companions: [Companion]) throws {
        self.init()
        for companion in companions {
            switch companion.kind {
            case .issuer: issuer = try CertificateReader.certificates(in: companion.contents).first
            case .ocsp: ocspResponse = companion.contents
            case .sctl: break
            }
        }
    }
}
