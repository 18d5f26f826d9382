import CertsCore
import CertsCrypto
import Foundation

// The lines of new certificates in the crt-list file of a `bind`; a directory needs none.
extension BundleFiles {
    /// In bytes; a list of 100,000 certificates has about 8 MB.
    private static let listLimit = 32 << 20

    /// What a deployment needs to know about the list, before anything is changed.
    ///
    /// - Parameters:
    ///   - slots: the members that are to be in the list; some may have their line already.
    ///   - storeName: of the list, where it is changed in HAProxy's memory too.
    /// - Returns: the receipt, and the lines that are there already and must stay.
    /// - Throws: `file.missing`, `file.unreadable`, `target.notReferenced`, `configuration.invalid`: a line could not be
    ///   written.
    func prepareList(_ certificate: Name, _ slots: [KeyType?], storeName: String?) async throws -> (
        receipt: FileReceipt, lines: Secret?
    ) {
        let path = node.listFile ?? ""
        var lines = ""
        var attributes: FileAttributes?
        if !isListOfDirectory(certificate, slots) {
            let live = try await readList(path)
            attributes = live.attributes
            let list = CrtListFile(live.contents.withBytes { Data($0) })
            for slot in slots {
                let member = node.loadedPath(for: certificate, slot: slot)
                _ = try list.adding(member, try node.listTerms())
                if list.contains(member) { lines += "\(member)\n" }
            }
        }
        let kept = lines.isEmpty ? nil : Secret(copying: lines.utf8)
        let previous = kept.flatMap { kept in
            attributes.map { PreviousFile(digest: ContentDigest.sha256(of: kept), attributes: $0, leaf: nil) }
        }
        return (FileReceipt(path: path, role: .list, storeName: storeName, previous: previous), kept)
    }

    /// Whether HAProxy takes the members from a directory, which it reads whole.
    private func isListOfDirectory(_ certificate: Name, _ slots: [KeyType?]) -> Bool {
        guard let list = node.list.map({ StoreName.normalized($0.path) }) else { return true }
        return slots.allSatisfy { slot in
            let path = StoreName.normalized(node.loadedPath(for: certificate, slot: slot))
            return path.lastIndex(of: "/").map { path[..<$0] == list } ?? false
        }
    }

    /// Each member gets its line, once.
    /// - Parameter held: the directory whose lock the caller holds.
    func addLines(_ certificate: Name, _ slots: [KeyType?], _ receipt: DeploymentReceipt, held: String) async throws {
        try await changeList(certificate, slots, receipt, held: held) { list in
            try slots.reduce(list) { list, slot in
                try list.adding(node.loadedPath(for: certificate, slot: slot), try node.listTerms())
            }
        }
    }

    /// The lines of the members go, except those that were there before.
    /// - Parameter held: as above.
    func removeLines(_ restoration: BundleRestoration, _ slots: [KeyType?], held: String) async throws {
        let (certificate, receipt) = (restoration.certificate, restoration.receipt)
        guard let index = receipt.files.firstIndex(where: { $0.role == .list }) else { return }
        let kept = restoration.previous.indices.contains(index) ? restoration.previous[index] : nil
        let before = CrtListFile(kept?.withBytes { Data($0) } ?? Data())
        let gone = slots.map { node.loadedPath(for: certificate, slot: $0) }.filter { !before.contains($0) }
        do {
            try await changeList(certificate, slots, receipt, held: held) { list in
                gone.reduce(list) { $0.removing($1) }
            }
        } catch let error as CertsError where error.code == .fileMissing {
            // Without the file there is no line either.
        }
    }

    private func changeList(
        _ certificate: Name, _ slots: [KeyType?], _ receipt: DeploymentReceipt, held: String,
        _ change: (CrtListFile) throws -> CrtListFile
    ) async throws {
        guard let path = receipt.files.first(where: { $0.role == .list })?.path, !slots.isEmpty,
            !isListOfDirectory(certificate, slots)
        else { return }
        // Another node of this host may load the same list.
        let directory = Self.directory(of: path)
        let lock = Self.isSame(directory, held) ? nil : try await files.lockDirectory(directory, deadline: .seconds(60))
        defer { lock?.release() }
        let live = try await readList(path)
        let before = CrtListFile(live.contents.withBytes { Data($0) })
        let after = try change(before)
        guard after.contents != before.contents else { return }
        try await files.install(Secret(copying: after.contents), at: path, attributes: live.attributes)
    }

    private func readList(_ path: String) async throws -> LiveFile {
        guard let live = try await files.read(path, limit: Self.listLimit) else {
            throw CertsError(
                .fileMissing, "there is no list at \(path)", subject: path,
                hint: "if HAProxy names it by another path, write this host's path as `file` of `list`")
        }
        return live
    }

    static func directory(of path: String) -> String {
        let directory = path.lastIndex(of: "/").map { String(path[..<$0]) } ?? "."
        return directory.isEmpty ? "/" : directory
    }

    /// Whether two paths lead to one directory: its lock cannot be taken twice.
    private static func isSame(_ left: String, _ right: String) -> Bool {
        var (one, other) = (stat(), stat())
        guard stat(left, &one) == 0, stat(right, &other) == 0 else { return left == right }
        return one.st_dev == other.st_dev && one.st_ino == other.st_ino
    }
}

extension NodeDeclaration {
    /// The list as this host names it.
    var listFile: String? { list.map { $0.file ?? $0.path } }

    /// What stands behind the certificate in a line that is added.
    func listTerms() throws(CertsError) -> CrtListTerms {
        try CrtListTerms(options: list?.options ?? "", filters: list?.filters ?? [])
    }
}
