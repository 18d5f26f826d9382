import CertsCore
import CertsCrypto
import Foundation

/// The files of one certificate on one node: where they are, what is in them, and how they are replaced.
struct BundleFiles: Sendable {
    let node: NodeDeclaration
    let files: any LiveFiles

    /// In bytes; more than any bundle has, less than hurts.
    static let sizeLimit = 1 << 20

    /// A file as it is and as it is to be.
    struct Planned: Sendable {
        let path: String
        let role: FileReceipt.Role
        var storeName: String?
        /// `nil`: it is to be removed.
        let contents: Secret?
    }

    /// What a bundle puts where, in the order of writing: companions first, so that a bundle never stands beside those of
    /// another one; a staple or an SCT of an earlier leaf is removed.
    func plan(_ bundle: StagedBundle) -> [Planned] {
        bundle.members.flatMap { member in
            let path = node.bundlePath(for: bundle.certificate, slot: member.slot)
            let companions = Companion.Kind.allCases.compactMap { kind -> Planned? in
                let contents = member.companions.first { $0.kind == kind }?.contents
                // The issuer stays where nobody gives a new one: it is seldom another.
                guard contents != nil || kind != .issuer else { return nil }
                return Planned(
                    path: "\(path).\(kind.rawValue)", role: .companion(kind, slot: member.slot),
                    contents: contents.map { Secret(copying: $0) })
            }
            return companions + [Planned(path: path, role: .bundle(slot: member.slot), contents: member.pem)]
        }
    }

    /// Makes the files what the bundle wants, each by a rename; those that are so already are not touched.
    func install(_ bundle: StagedBundle, receipt: DeploymentReceipt) async throws {
        for planned in plan(bundle) {
            let before = receipt.files.first { $0.path == planned.path }?.previous
            guard let contents = planned.contents else {
                if before != nil, !stays(planned, bundle, receipt) { try await files.remove(planned.path) }
                continue
            }
            let live = try? await files.read(planned.path, limit: Self.sizeLimit)
            if let live, live.contents == contents { continue }
            // A companion that is new takes after its bundle.
            let attributes = before?.attributes ?? Self.attributesOfBundle(beside: planned, in: receipt)
            try await files.install(contents, at: planned.path, attributes: attributes)
        }
    }

    /// What somebody else put beside the very leaf that is deployed again is no remainder of an earlier one.
    private func stays(_ planned: Planned, _ bundle: StagedBundle, _ receipt: DeploymentReceipt) -> Bool {
        guard case .companion(_, let slot) = planned.role,
            let member = bundle.members.first(where: { $0.slot == slot })
        else { return false }
        return Self.isSameLeaf(member, receipt)
    }

    private static func isSameLeaf(_ member: StagedBundle.Member, _ receipt: DeploymentReceipt) -> Bool {
        receipt.files.first { $0.role == .bundle(slot: member.slot) }?.previous?.leaf == member.fingerprint
    }

    /// The files of somebody else that stay beside the leaf, and that a swap would take out of HAProxy's memory.
    func staying(beside member: StagedBundle.Member, of certificate: Name, _ receipt: DeploymentReceipt) async throws
        -> [Companion]
    {
        guard Self.isSameLeaf(member, receipt), !member.companions.contains(where: { $0.kind == .ocsp }) else {
            return []
        }
        let path = node.bundlePath(for: certificate, slot: member.slot)
        var companions: [Companion] = []
        for kind in [Companion.Kind.issuer, .ocsp] where !member.companions.contains(where: { $0.kind == kind }) {
            guard let file = try await files.read("\(path).\(kind.rawValue)", limit: Self.sizeLimit) else { continue }
            companions.append(Companion(kind, file.contents.withBytes { Data($0) }))
        }
        return companions
    }

    private static func attributesOfBundle(beside planned: Planned, in receipt: DeploymentReceipt) -> FileAttributes? {
        guard case .companion(_, let slot) = planned.role else { return nil }
        return receipt.files.first { $0.role == .bundle(slot: slot) }?.previous?.attributes
    }

    /// Puts the files back as they were, and removes those that were not there.
    /// - Returns: whether anything had to be changed.
    func restore(_ restoration: BundleRestoration) async throws -> Bool {
        var isChanged = false
        var first: (any Error)?
        for (file, previous) in zip(restoration.receipt.files, restoration.previous).reversed() {
            guard file.role != .list else { continue }
            do {
                if try await restore(file, previous) { isChanged = true }
            } catch {
                first = first ?? error
            }
        }
        if let first { throw first }
        return isChanged
    }

    private func restore(_ file: FileReceipt, _ previous: Secret?) async throws -> Bool {
        let live = try? await files.read(file.path, limit: Self.sizeLimit)
        guard let expected = file.previous, let previous else {
            if live == nil { return false }
            try await files.remove(file.path)
            return true
        }
        if let live, live.contents == previous, live.attributes == expected.attributes { return false }
        try await files.install(previous, at: file.path, attributes: expected.attributes)
        return true
    }

    /// - Throws: `state.corrupt` unless the kept bytes are the ones that the receipt speaks of.
    static func check(_ restoration: BundleRestoration) throws(CertsError) {
        for (index, file) in restoration.receipt.files.enumerated() {
            guard let expected = file.previous else { continue }
            let previous = restoration.previous.indices.contains(index) ? restoration.previous[index] : nil
            guard let previous, ContentDigest.sha256(of: previous) == expected.digest else {
                throw CertsError(
                    .stateCorrupt, "the kept copy of \(file.path) is not what was live before the deployment",
                    subject: file.path, hint: "put a working bundle at \(file.path) and reload HAProxy")
            }
        }
    }

    /// The members fit into their slots, and their file names can be used.
    func checkMembers(_ bundle: StagedBundle) throws(CertsError) {
        for member in bundle.members {
            guard let slot = member.slot, KeyType.of(record: member.leaf) != slot else { continue }
            // HAProxy takes any key into any member; clients of the other type then fail their handshake.
            throw CertsError(
                .targetRefused,
                "the \(slot.rawValue) member has a key of the type \(TerminalText.sanitized(member.leaf.keyAlgorithm))",
                subject: bundle.certificate.rawValue, hint: "issue anew with `certs rotate \(bundle.certificate)`")
        }
    }
}
