package import CertsCore
import CertsCrypto
import Foundation
import Logging

// Copies of our bundles in a directory that HAProxy loads whole: a `server.pem.bak` becomes a certificate that is served.

/// The bundles of ours that belong into one directory.
struct OwnBundles: Sendable {
    let directory: String
    private var bundles: [String: Bundle] = [:]

    private struct Bundle: Sendable {
        let certificate: Name
        let names: Set<String>
        /// Of the leaf that lies there now; `nil`: it cannot be read.
        var live: Held?

        /// Where one of both is not known nothing speaks against it.
        func isOfType(_ other: KeyType?) -> Bool {
            guard let own = live?.keyType, let other else { return true }
            return own == other
        }
    }

    /// What a file, or HAProxy's memory, holds.
    struct Held: Sendable {
        /// What HAProxy serves it for.
        var names: Set<String>
        var keyType: KeyType?
    }

    init(_ expected: [ExpectedBundle], in directory: String) {
        self.directory = directory
        for bundle in expected {
            guard let (folder, file) = Self.split(bundle.path), folder == directory else { continue }
            bundles[file] = Bundle(
                certificate: bundle.certificate, names: Set(bundle.names.map { $0.value.lowercased() }))
        }
    }

    var files: Set<String> { Set(bundles.keys) }

    mutating func found(_ held: Held, in file: String) { bundles[file]?.live = held }

    /// The certificate that a file stands in the way of; `nil`: somebody else's, and none of our business.
    ///
    /// Such a file holds no name that we do not have, and a key of the same type: another certificate that shares a name
    /// with ours also serves its owner, and clients of another type of key may have no other. One that is called like ours
    /// with something behind it may be older than our names; it still needs one of them, or no certificate at all, which
    /// keeps HAProxy from starting.
    /// - Parameter held: `nil`: there is no certificate in it.
    func original(of file: String, holding held: Held?) -> Name? {
        // `web.pem2.bak` is a copy of `web.pem2`, not of `web.pem`.
        let namesake = bundles.filter { file.hasPrefix($0.key) }.max { $0.key.count < $1.key.count }?.value
        guard let held, !held.names.isEmpty else { return namesake?.certificate }
        if let namesake, !namesake.names.isDisjoint(with: held.names), namesake.isOfType(held.keyType) {
            return namesake.certificate
        }
        return bundles.sorted { $0.key < $1.key }.map(\.value)
            .first { $0.names.isSuperset(of: held.names) && $0.isOfType(held.keyType) }?.certificate
    }

    /// Directory and file of a path, both normalized.
    static func split(_ path: String) -> (directory: String, file: String)? {
        let normal = StoreName.normalized(path)
        guard let slash = normal.lastIndex(of: "/") else { return nil }
        return (String(normal[..<slash]), String(normal[normal.index(after: slash)...]))
    }
}

extension BundleFiles {
    /// The bundles that belong into the directory, with what lies there now.
    fileprivate func own(_ expected: [ExpectedBundle], in directory: String) async -> OwnBundles {
        var own = OwnBundles(expected, in: directory)
        for file in own.files {
            if let held = await held("\(directory)/\(file)") { own.found(held, in: file) }
        }
        return own
    }

    /// `nil`: there is no certificate in it.
    private func held(_ path: String) async -> OwnBundles.Held? {
        guard let file = try? await files.read(path, limit: Self.sizeLimit),
            let record = CanonicalBundle.leaf(of: file.contents)?.record
        else { return nil }
        let names = record.dnsNames + record.ipAddresses
        return OwnBundles.Held(
            names: Set((names.isEmpty ? [record.subjectCommonName].compactMap(\.self) : names).map { $0.lowercased() }),
            keyType: KeyType.of(record: record))
    }

    /// The copies on the disk, by file name.
    func copies(beside own: OwnBundles) async -> [String: Name] {
        guard !own.files.isEmpty, let names = try? await files.names(in: own.directory) else { return [:] }
        var copies: [String: Name] = [:]
        for name in DirectoryCensus.foreign(among: names, expected: own.files) {
            let path = "\(own.directory)/\(name)"
            guard (try? await files.read(path, limit: Self.sizeLimit)) != nil else { continue }
            copies[name] = own.original(of: name, holding: await held(path))
        }
        return copies
    }

    /// Keeps the bytes elsewhere, then takes the entry out of the directory.
    fileprivate func remove(_ stranger: Stranger, keep: (Secret) async throws -> Void) async throws {
        guard let file = try await files.read(stranger.path, limit: Self.sizeLimit) else { return }
        try await keep(file.contents)
        // A link may lead to the bundle itself.
        try await files.removeEntry(stranger.path)
    }
}

extension ReloadTarget {
    package func strangers(besides expected: [ExpectedBundle]) async -> [Stranger] {
        // Which directories HAProxy loads this method cannot ask: only a declared one counts.
        guard let directory = declaration.listFile else { return [] }
        let own = await bundleFiles.own(expected, in: StoreName.normalized(directory))
        return await bundleFiles.copies(beside: own).map {
            Stranger(path: "\(directory)/\($0.key)", certificate: $0.value)
        }.sorted { $0.path < $1.path }
    }

    /// The disk only: HAProxy's memory follows with the reload of the deployment that comes after.
    package func evict(_ stranger: Stranger, keep: @Sendable (Secret) async throws -> Void) async throws {
        try await bundleFiles.remove(stranger, keep: keep)
    }
}

extension RuntimeTarget {
    package func strangers(besides expected: [ExpectedBundle]) async -> [Stranger] {
        guard let (directory, list) = await loadedDirectory() else { return [] }
        let own = await bundleFiles.own(expected, in: directory)
        let copies = await bundleFiles.copies(beside: own)
        let stores = Set((try? await session.list().names) ?? [])
        var strangers = copies.map { file, certificate in
            let name = "\(list)/\(file)"
            let isLoaded = stores.contains(name)
            return Stranger(
                path: "\(directory)/\(file)", certificate: certificate, storeName: isLoaded ? name : nil,
                list: list.rawValue)
        }
        strangers += await leftInMemory(list, own, onDisk: Set(copies.keys))
        return strangers.sorted { $0.path < $1.path }
    }

    /// The directory of the bundles, where HAProxy has loaded it whole: as this host names it, and as HAProxy does.
    func loadedDirectory() async -> (directory: String, list: StoreName)? {
        guard let live = OwnBundles.split(declaration.bundle)?.directory,
            let loaded = OwnBundles.split(declaration.loadedAs ?? declaration.bundle)?.directory,
            let known = try? await lists.listNames(),
            let list = known.first(where: { StoreName.normalized($0.rawValue) == loaded })
        else { return nil }
        return (live, list)
    }

    /// Copies that HAProxy still has, although their files are gone.
    private func leftInMemory(_ list: StoreName, _ own: OwnBundles, onDisk: Set<String>) async -> [Stranger] {
        guard let entries = try? await lists.entries(of: list),
            let names = try? await files.names(in: own.directory)
        else { return [] }
        let known = own.files.union(onDisk).union(names)
        var strangers: [Stranger] = []
        for entry in Set(entries.map(\.name)) {
            guard let (_, file) = OwnBundles.split(entry), !known.contains(file), let name = try? StoreName(entry),
                let details = try? await lists.glance(name), !details.dnsNames.isEmpty,
                let original = own.original(
                    of: file,
                    holding: OwnBundles.Held(
                        names: Set(details.dnsNames.map { $0.lowercased() }), keyType: details.keyType))
            else { continue }
            strangers.append(
                Stranger(
                    path: "\(own.directory)/\(file)", certificate: original, isOnDisk: false, storeName: entry,
                    list: list.rawValue))
        }
        return strangers
    }

    package func evict(_ stranger: Stranger, keep: @Sendable (Secret) async throws -> Void) async throws {
        try await locked {
            // The disk first: what HAProxy does not let go of now is gone after its next reload.
            try await bundleFiles.remove(stranger, keep: keep)
            guard let store = stranger.storeName, let list = stranger.list else { return }
            let name = try StoreName(store)
            do {
                try await lists.removeEntry(name, from: try StoreName(list))
                try await lists.removeStore(name)
            } catch {
                throw CertsError.wrapping(error).noting(
                    "\(stranger.path) is moved aside, and HAProxy holds it until its next reload")
            }
            logger.notice("took a copy out of HAProxy's memory", metadata: ["file": "\(store)"])
        }
    }
}
