package import CertsCore
import CertsCrypto
import Foundation
import Logging

extension RuntimeTarget {
    package func restore(_ restorations: [BundleRestoration]) async -> [CertsError?] {
        await uncancelled {
            var failures: [CertsError?] = []
            for restoration in restorations {
                do {
                    try await restore(restoration)
                    failures.append(nil)
                } catch {
                    failures.append(.wrapping(error))
                }
            }
            return failures
        }
    }

    private func restore(_ restoration: BundleRestoration) async throws {
        try BundleFiles.check(restoration)
        leaves.add(restoration.receipt.previousLeaves)
        var memoryFailure: CertsError?
        do {
            try await locked {
                try await restoreMemory(restoration)
                // What this cannot mend shows in the handshakes of the next step.
                do { try await restoreOrder(restoration.receipt) } catch {
                    logger.notice("cannot move the other file behind", metadata: ["reason": "\(error)"])
                }
            }
        } catch {
            memoryFailure = CertsError.wrapping(error)
        }
        // The disk comes back in any case: it is what HAProxy's next start serves. A line without its file would keep it
        // from starting, so the line goes first.
        try await removeListLines(restoration)
        _ = try await bundleFiles.restore(restoration)
        if let memoryFailure {
            throw memoryFailure.noting(
                "the file \(restoration.receipt.bundlePath) is restored, HAProxy's memory is not")
        }
    }

    /// Every member, in reverse; a failure of one does not stop the others.
    private func restoreMemory(_ restoration: BundleRestoration) async throws {
        var first: (any Error)?
        for (index, file) in restoration.receipt.files.enumerated().reversed() {
            guard case .bundle(let slot) = file.role, let store = file.storeName else { continue }
            let previous = restoration.previous.indices.contains(index) ? restoration.previous[index] : nil
            do {
                let companions = try companions(of: slot, in: restoration)
                try await restoreMember(
                    file, store, previous, companions, takenAt: restoration.receipt.takenAt,
                    resuming: restoration.resuming)
            } catch {
                first = first ?? error
            }
        }
        do {
            try await removeAdded(restoration)
        } catch {
            first = first ?? error
        }
        if let first { throw first }
    }

    private func restoreMember(
        _ file: FileReceipt, _ store: String, _ previous: Secret?, _ companions: [Companion], takenAt: Date,
        resuming: Bool
    ) async throws {
        let list = try await session.list()
        let name = list.names.contains(store) ? try StoreName(store) : try RuntimeSession.resolve(file.path, in: list)
        guard let previous, let leaf = CanonicalBundle.leaf(of: previous)?.record else {
            // Nothing is known that could be pushed; what is served is compared with the baseline in the next step.
            return try await clearTransaction(list, name: name, leaf: nil, isOurs: resuming)
        }
        let isUntouched = try await session.stored(name).map { RuntimeSession.matches($0, leaf) } == true
        if isUntouched, list.openTransaction == nil || !resuming { return }
        try await clearTransaction(list, name: name, leaf: leaf, isOurs: resuming)
        if !isUntouched {
            try await refuseTimestamps(beside: file, since: takenAt)
            // A response that has expired meanwhile must not keep the certificate away.
            try await session.swap(
                name, to: try CanonicalBundle.canonical(previous), leaf: leaf, companions: companions,
                needsStaple: false)
            known.swapped(name, .init(leaf))
        }
    }

    private func companions(of slot: KeyType?, in restoration: BundleRestoration) throws -> [Companion] {
        zip(restoration.receipt.files, restoration.previous).compactMap { file, previous in
            guard case .companion(let kind, slot) = file.role, let previous else { return nil }
            return Companion(kind, previous.withBytes { Data($0) })
        }
    }

    /// Lets our file be served again where another one took its place.
    ///
    /// With two files for one name in one `bind`, HAProxy 2.6 serves the one that was not updated last: after a swap and
    /// its rollback the other file stays in front. Putting the other one's own bytes in again moves it behind ours.
    private func restoreOrder(_ receipt: DeploymentReceipt) async throws {
        let ours = receipt.previousLeaves
        var asked = Set<Endpoint>()
        for before in receipt.baseline where before.observation.served.map(ours.contains) == true {
            guard asked.insert(before.question.endpoint).inserted else { continue }
            let served = try? await proof.probe(.init(before.question.endpoint))
            guard let served, served.fingerprint != before.observation.served, let der = served.chainDER.first,
                let leaf = try? CertificateReader.record(der: der),
                let name = try await holder(of: leaf, besides: receipt)
            else { continue }
            guard let file = try await files.read(name.rawValue, limit: BundleFiles.sizeLimit),
                CanonicalBundle.leaf(of: file.contents)?.record.sha1 == leaf.sha1
            else { continue }
            logger.notice("another file is served for the same name, moving it behind", metadata: ["file": "\(name)"])
            try await session.swap(name, to: try CanonicalBundle.canonical(file.contents), leaf: leaf)
        }
    }

    /// The file that HAProxy holds this certificate from, if it is another one than the receipt's.
    private func holder(of leaf: CertificateRecord, besides receipt: DeploymentReceipt) async throws -> StoreName? {
        let ours = Set(receipt.files.flatMap { [$0.path, $0.storeName].compactMap { $0 } }.map(StoreName.normalized))
        let path = StoreName.normalized(receipt.files.compactMap(\.storeName).first ?? receipt.bundlePath)
        let directory = path.prefix(through: path.lastIndex(of: "/") ?? path.startIndex)
        // The usual case is a copy beside our file; the bound keeps a rollback short where there are thousands.
        let others = try await session.list().names.filter {
            $0.hasPrefix("/") && !ours.contains(StoreName.normalized($0))
        }
        let sorted = others.filter { $0.hasPrefix(directory) } + others.filter { !$0.hasPrefix(directory) }
        for text in sorted.prefix(1000) {
            guard let name = try? StoreName(text), let stored = try await session.stored(name) else { continue }
            if RuntimeSession.matches(stored, leaf) { return name }
        }
        return nil
    }
}
