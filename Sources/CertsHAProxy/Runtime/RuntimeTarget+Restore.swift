package import CertsCore
import CertsCrypto
import Foundation
import Logging

extension RuntimeTarget {
    package func restore(_ receipt: DeploymentReceipt, previous: Secret?, certificate: Name, resuming: Bool)
        async throws
    {
        try LiveBundle.check(previous, against: receipt)
        try await withUncancelledTask {
            var memoryFailure: CertsError?
            do {
                try await locked {
                    try await restoreMemory(receipt, previous: previous, resuming: resuming)
                    // What this cannot mend shows in the handshakes of the next step.
                    do { try await restoreOrder(receipt) } catch {
                        logger.notice("cannot move the other file behind", metadata: ["reason": "\(error)"])
                    }
                }
            } catch {
                memoryFailure = CertsError.wrapping(error)
            }
            // The disk comes back in any case: it is what HAProxy's next start serves.
            try await LiveBundle.restoreDisk(receipt, previous: previous, files: files)
            if let memoryFailure {
                throw memoryFailure.noting("the file \(receipt.bundlePath) is restored, HAProxy's memory is not")
            }
        }
    }

    private func restoreMemory(_ receipt: DeploymentReceipt, previous: Secret?, resuming: Bool) async throws {
        let list = try await session.list()
        let name = try RuntimeSession.resolve(receipt.bundlePath, in: list)
        guard let previous, let leaf = CanonicalBundle.leaf(of: previous)?.record else {
            // Nothing is known that could be pushed; what is served is compared with the baseline in the next step.
            return try await clearTransaction(list, name: name, leaf: nil, isOurs: resuming)
        }
        let isUntouched = try await session.stored(name).map { RuntimeSession.matches($0, leaf) } == true
        if isUntouched, list.openTransaction == nil || !resuming { return }
        try await clearTransaction(list, name: name, leaf: leaf, isOurs: resuming)
        if !isUntouched { try await session.swap(name, to: try CanonicalBundle.canonical(previous), leaf: leaf) }
    }

    /// Lets our file be served again where another one took its place.
    ///
    /// With two files for one name in one `bind`, HAProxy 2.6 serves the one that was not updated last: after a swap and
    /// its rollback the other file stays in front. Putting the other one's own bytes in again moves it behind ours.
    private func restoreOrder(_ receipt: DeploymentReceipt) async throws {
        guard let ours = receipt.previous?.leaf else { return }
        for before in receipt.baseline where before.served == ours {
            let served = try? await proof.prober.probe(
                before.endpoint, serverName: before.endpoint.serverName, deadline: proof.handshake)
            guard let served, served.fingerprint != ours, let der = served.chainDER.first,
                let leaf = try? CertificateReader.record(der: der),
                let name = try await holder(of: leaf, besides: receipt)
            else { continue }
            guard let file = try await files.read(name.rawValue, limit: LiveBundle.sizeLimit),
                CanonicalBundle.leaf(of: file.contents)?.record.sha1 == leaf.sha1
            else { continue }
            logger.notice("another file is served for the same name, moving it behind", metadata: ["file": "\(name)"])
            try await session.swap(name, to: try CanonicalBundle.canonical(file.contents), leaf: leaf)
        }
    }

    /// The file that HAProxy holds this certificate from, if it is another one than the receipt's.
    private func holder(of leaf: CertificateRecord, besides receipt: DeploymentReceipt) async throws -> StoreName? {
        let ours = StoreName.normalized(receipt.bundlePath)
        let directory = ours.prefix(through: ours.lastIndex(of: "/") ?? ours.startIndex)
        // The usual case is a copy beside our file; the bound keeps a rollback short where there are thousands.
        let others = try await session.list().names.filter { $0.hasPrefix("/") && StoreName.normalized($0) != ours }
        let sorted = others.filter { $0.hasPrefix(directory) } + others.filter { !$0.hasPrefix(directory) }
        for text in sorted.prefix(1000) {
            guard let name = try? StoreName(text), let stored = try await session.stored(name) else { continue }
            if RuntimeSession.matches(stored, leaf) { return name }
        }
        return nil
    }
}
