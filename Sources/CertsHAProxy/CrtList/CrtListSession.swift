import CertsCore
import Foundation
import Logging

/// The steps in which a certificate comes into a running HAProxy and out of it again, typed; each can be carried out
/// again after a crash, and then does only what is missing. The caller holds the lock of the socket.
///
/// In: ``createStore(_:bundle:leaf:companions:)``, ``addEntry(_:_:to:)``. Out, in reverse: ``removeEntry(_:from:)``,
/// ``removeStore(_:)``. All of it is HAProxy's memory only: file and line on the disk are the caller's.
struct CrtListSession: Sendable {
    let session: RuntimeSession

    // MARK: Lists

    /// The crt-list files and certificate directories that HAProxy's `bind` lines use, in HAProxy's own spelling; those
    /// that cannot be named in a command are left out.
    func listNames() async throws(CertsError) -> [StoreName] {
        try RuntimeReply.lists(try await session.connection.send(.lists)).compactMap { try? StoreName($0) }
    }

    /// The one list that HAProxy has loaded from the file or directory at `path`.
    ///
    /// - Throws: `target.notReferenced`, `target.ambiguous`.
    func list(at path: String) async throws(CertsError) -> StoreName {
        let wanted = StoreName.normalized(path)
        let matches = try await listNames().filter { StoreName.normalized($0.rawValue) == wanted }
        guard let match = matches.first else { throw RuntimeReply.noSuchList(try StoreName(path)) }
        guard matches.count == 1 else {
            throw CertsError(
                .targetAmbiguous,
                "HAProxy holds \(path) under \(matches.count) names: \(matches.map(\.rawValue).joined(separator: ", "))",
                subject: path, hint: "write the path in one way in HAProxy's configuration, and reload it")
        }
        return match
    }

    func entries(of list: StoreName) async throws(CertsError) -> [RuntimeReply.CrtListEntry] {
        try RuntimeReply.entries(try await session.connection.send(.entries(of: list)), of: list)
    }

    /// Everything that HAProxy tells about a certificate, for those that need not be ours: one with too many names for
    /// HAProxy's buffer must not stand in the way of others. Its fingerprint is empty then, and the rest may come
    /// from its file.
    func glance(_ name: StoreName) async throws(CertsError) -> RuntimeReply.StoredCertificateDetails? {
        if let known = await session.unaskable(name) { return RuntimeReply.details(of: known) }
        let reply = try await session.connection.send(.show(name, pending: false))
        if let glimpse = RuntimeReply.glimpse(reply) { return glimpse }
        return try RuntimeReply.storedDetails(reply, name: name, pending: false)
    }

    // MARK: Names

    /// The name that a new certificate from `path` gets in `list`: HAProxy compares strings, and takes into a directory
    /// only what begins with the directory in its own spelling.
    ///
    /// - Throws: `target.notReferenced` for a relative path and for a name that HAProxy could not replace later.
    static func storeName(for path: String, in list: StoreName) throws(CertsError) -> StoreName {
        let normalized = StoreName.normalized(path)
        guard let slash = normalized.lastIndex(of: "/"), normalized.hasPrefix("/") else {
            throw CertsError(
                .targetNotReferenced, "\(path) is not an absolute path: HAProxy may look for it elsewhere",
                subject: path, hint: "write the whole path of the bundle")
        }
        let isInDirectory = StoreName.normalized(list.rawValue) == normalized[..<slash]
        let name = try StoreName(isInDirectory ? list.rawValue + normalized[slash...] : normalized)
        try checkNew(name)
        return name
    }

    static func checkNew(_ name: StoreName) throws(CertsError) {
        let file = name.rawValue.split(separator: "/").last ?? ""
        // HAProxy takes these for companions of another file, and the number behind a colon for that of a line.
        let ending = [".crt", ".key", ".issuer", ".ocsp", ".sctl"].first { file.hasSuffix($0) }
        guard ending == nil, !file.hasPrefix("."), !file.contains(where: { ":[]".contains($0) }) else {
            throw CertsError(
                .targetNotReferenced,
                "HAProxy cannot replace a certificate called \(name) while it runs: "
                    + (ending.map { "its name ends in \($0)" } ?? "its name has a `:`, a bracket or a dot in front"),
                subject: name.rawValue, hint: "call the file NAME.pem: letters, digits and . _ - only")
        }
    }

    /// Whether `list` is the directory that `name` lies in.
    static func isDirectory(_ list: StoreName, of name: StoreName) -> Bool {
        name.rawValue.lastIndex(of: "/").map { name.rawValue[..<$0] == list.rawValue } ?? false
    }
}
