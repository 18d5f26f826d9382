import CertsCore
import CertsCrypto
import Foundation

// Certificates that HAProxy does not have yet: into its memory, into the list of a `bind`, and the line on the disk.
extension RuntimeTarget {
    private func terms() throws(CertsError) -> CrtListTerms {
        try CrtListTerms(options: declaration.list?.options ?? "", filters: declaration.list?.filters ?? [])
    }

    func add(_ member: StagedBundle.Member, of certificate: Name, _ receipt: DeploymentReceipt) async throws {
        let (list, name) = try newStore(certificate, member.slot, receipt)
        try await lists.createStore(
            name, bundle: member.pem, leaf: member.leaf, companions: try BundleCompanions(member.companions))
        try await lists.addEntry(name, terms(), to: list)
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
        try await changeList(receipt) { list in
            var changed = list
            for member in bundle.members where Self.isNew(member.slot, in: receipt) {
                let path = declaration.loadedPath(for: bundle.certificate, slot: member.slot)
                changed = try changed.adding(path, try terms())
            }
            return changed
        }
    }

    /// In reverse: the entry and the certificate out of HAProxy's memory, then the line out of the file.
    func removeAdded(_ restoration: BundleRestoration) async throws {
        let receipt = restoration.receipt
        let slots = receipt.files.compactMap { file -> KeyType?? in
            if case .bundle(let slot) = file.role, file.storeName == nil { .some(slot) } else { nil }
        }
        for slot in slots.reversed() {
            let (list, name) = try newStore(restoration.certificate, slot, receipt)
            try await lists.removeEntry(name, from: list)
            try await lists.removeStore(name)
        }
        try await changeList(receipt) { list in
            slots.reduce(list) {
                $0.removing(declaration.loadedPath(for: restoration.certificate, slot: $1))
            }
        }
    }

    private static func isNew(_ slot: KeyType?, in receipt: DeploymentReceipt) -> Bool {
        receipt.files.contains { $0.role == .bundle(slot: slot) && $0.storeName == nil }
    }

    private func changeList(_ receipt: DeploymentReceipt, _ change: (CrtListFile) throws -> CrtListFile) async throws {
        guard let path = receipt.files.first(where: { $0.role == .list })?.path else { return }
        var status = stat()
        guard stat(path, &status) != 0 || status.st_mode & S_IFMT != S_IFDIR else { return }
        let live = try await files.read(path, limit: Self.listLimit)
        guard let live else {
            throw CertsError(
                .fileMissing, "there is no list at \(path)", subject: path,
                hint: "if HAProxy names it by another path, write this host's path as `file` of `list`")
        }
        let before = CrtListFile(live.contents.withBytes { Data($0) })
        let after = try change(before)
        guard after.contents != before.contents else { return }
        try await files.install(Secret(copying: after.contents), at: path, attributes: live.attributes)
    }

    /// In bytes; a list of 100,000 certificates has about 8 MB.
    private static let listLimit = 32 << 20

    // MARK: Duplicates

    /// Refuses a certificate whose name another one in the same list has: HAProxy would serve the one that was not
    /// updated last.
    func refuseDuplicates(of bundle: StagedBundle, _ stores: [Store]) async throws {
        for (store, member) in zip(stores, bundle.members) {
            let found = try await duplicates(of: store, names: member.leaf.dnsNames)
            guard let clash = found.first else { continue }
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

    /// The clashes in every list that has the store, once it holds a certificate with these names.
    func duplicates(of store: Store, names: [String]) async throws -> [DuplicateNames.Clash] {
        var clashes: [DuplicateNames.Clash] = []
        let holders: [StoreName]
        if let list = store.list { holders = [list] } else { holders = try await lists.lists(containing: store.name) }
        for list in holders {
            var claimants = try await lists.claimants(in: list)
            let algorithm = claimants.first { $0.store == store.name.rawValue }?.algorithm
            if store.memory == nil {
                let filters = declaration.list?.filters ?? []
                claimants.append(
                    .init(store: store.name.rawValue, names: names, filters: filters, algorithm: algorithm))
            } else {
                claimants = claimants.map { claimant in
                    var claimant = claimant
                    if claimant.store == store.name.rawValue { claimant.names = names }
                    return claimant
                }
            }
            clashes += DuplicateNames.clashes(among: claimants).filter { $0.stores.contains(store.name.rawValue) }
        }
        return clashes
    }
}

extension NodeDeclaration {
    /// The list as this host names it.
    var listFile: String? { list.map { $0.file ?? $0.path } }
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
