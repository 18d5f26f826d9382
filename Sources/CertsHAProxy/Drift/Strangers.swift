package import CertsCore
import CertsCrypto
import Foundation
import Logging

// Copies of our bundles in a directory that HAProxy loads whole: a `server.pem.bak` becomes a certificate that is served.

extension BundleFiles {
    /// The copies in the directories of the expected bundles, as far as HAProxy loads those directories.
    ///
    /// A copy is a file whose name begins with that of a bundle, or that holds a certificate for one of its names. Other
    /// certificates in the directory are somebody's, and none of our business.
    func copies(besides expected: Set<String>, in directory: String) async -> [String] {
        guard let names = try? await files.names(in: directory) else { return [] }
        let ours = expected.filter { $0.hasPrefix(directory + "/") && !$0.dropFirst(directory.count + 1).contains("/") }
        let ownFiles = Set(ours.map { String($0.dropFirst(directory.count + 1)) })
        var ownNames = Set<String>()
        for path in ours {
            let file = try? await files.read(path, limit: Self.sizeLimit)
            ownNames.formUnion(file.flatMap { CanonicalBundle.leaf(of: $0.contents) }?.record.dnsNames ?? [])
        }
        var copies: [String] = []
        for name in DirectoryCensus.foreign(among: names, expected: ownFiles) {
            let path = "\(directory)/\(name)"
            if ownFiles.contains(where: { name.hasPrefix($0) }) {
                copies.append(path)
            } else if let file = try? await files.read(path, limit: Self.sizeLimit),
                let leaf = CanonicalBundle.leaf(of: file.contents), !ownNames.isDisjoint(with: leaf.record.dnsNames)
            {
                copies.append(path)
            }
        }
        return copies
    }
}

extension ReloadTarget {
    package func strangers(besides expected: Set<String>) async -> [Stranger] {
        // Which directories HAProxy loads this method cannot ask: only a declared one counts.
        guard let directory = declaration.listFile else { return [] }
        return await bundleFiles.copies(besides: expected, in: directory).map { Stranger(path: $0) }
    }

    package func evict(_ stranger: Stranger, keep: @Sendable (Secret) async throws -> Void) async throws {
        try await bundleFiles.remove(stranger, keep: keep)
    }
}

extension RuntimeTarget {
    package func strangers(besides expected: Set<String>) async -> [Stranger] {
        guard let known = try? await lists.listNames() else { return [] }
        let loaded = StoreName.normalized(declaration.loadedAs ?? declaration.bundle)
        let live = StoreName.normalized(declaration.bundle)
        guard let end = loaded.lastIndex(of: "/"), let liveEnd = live.lastIndex(of: "/"),
            let list = known.first(where: { StoreName.normalized($0.rawValue) == loaded[..<end] })
        else { return [] }
        let stores = (try? await session.list().names) ?? []
        return await bundleFiles.copies(besides: expected, in: String(live[..<liveEnd])).map { path in
            let name = path.split(separator: "/").last.map { "\(list.rawValue)/\($0)" } ?? path
            return Stranger(path: path, storeName: stores.contains(name) ? name : nil, list: list.rawValue)
        }
    }

    package func evict(_ stranger: Stranger, keep: @Sendable (Secret) async throws -> Void) async throws {
        try await locked {
            if let store = stranger.storeName, let list = stranger.list {
                let name = try StoreName(store)
                try await lists.removeEntry(name, from: try StoreName(list))
                try await lists.removeStore(name)
                logger.notice("took a copy out of HAProxy's memory", metadata: ["file": "\(store)"])
            }
            try await bundleFiles.remove(stranger, keep: keep)
        }
    }
}

extension BundleFiles {
    fileprivate func remove(_ stranger: Stranger, keep: (Secret) async throws -> Void) async throws {
        guard let file = try await files.read(stranger.path, limit: Self.sizeLimit) else { return }
        try await keep(file.contents)
        try await files.remove(stranger.path)
    }
}
