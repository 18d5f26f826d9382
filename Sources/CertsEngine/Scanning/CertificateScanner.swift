package import CertsCore
import CertsCrypto
import Foundation

/// Finds certificates in a directory and keeps what it read: a file whose stamp has not changed is not read again.
package struct CertificateScanner: Sendable {
    let files: any WatchedFiles
    let inventory: any Inventory

    package init(files: any WatchedFiles, inventory: any Inventory) {
        self.files = files
        self.inventory = inventory
    }

    /// What one scan did.
    package struct Summary: Sendable, Equatable {
        package var found = 0
        package var read = 0
        package var unreadable = 0
        package var removed = 0
        /// Directories that could not be looked at: what is below them is unknown, and stays as it was known.
        package var problems: [String] = []
    }

    /// Files larger than this hold something else.
    static let largestFile = 1 << 20
    /// The names under which certificates are kept; other files are not looked into.
    package static let suffixes = [".pem", ".crt", ".cer", ".cert", ".der"]

    /// - Throws: when the directory itself cannot be read; one bad file is a record with a problem, never an error.
    package func scan(_ root: String) async throws -> Summary {
        let known = try await inventory.scannedStamps()
        let tree = try await files.walk(root, suffixes: Self.suffixes, limits: WalkLimits())
        let changed = await read(tree.files.filter { known[$0.path] != $0.stamp })
        let present = Set(tree.files.map(\.path))
        let removed = known.keys.filter { path in
            isBelow(root, path) && !present.contains(path) && !tree.problems.contains { isBelow($0.path, path) }
        }
        if !changed.isEmpty || !removed.isEmpty {
            try await inventory.replaceScannedFiles(below: root, changed: changed, removed: removed)
        }
        return Summary(
            found: tree.files.count, read: changed.count, unreadable: changed.count { $0.problem != nil },
            removed: removed.count, problems: tree.problems.map { "\($0.path): \($0.message)" })
    }

    private func isBelow(_ directory: String, _ path: String) -> Bool {
        path.hasPrefix(directory.hasSuffix("/") ? directory : directory + "/")
    }

    private func read(_ entries: [WatchedTree.Entry]) async -> [ScannedFile] {
        let width = max(1, ProcessInfo.processInfo.activeProcessorCount)
        let share = max(64, (entries.count + width - 1) / width)
        return await withTaskGroup(of: [ScannedFile].self) { group in
            for start in stride(from: 0, to: entries.count, by: share) {
                let slice = entries[start..<min(start + share, entries.count)]
                group.addTask {
                    var records: [ScannedFile] = []
                    for entry in slice { records.append(await self.read(entry)) }
                    return records
                }
            }
            return await group.reduce(into: []) { $0 += $1 }
        }
    }

    private func read(_ entry: WatchedTree.Entry) async -> ScannedFile {
        do {
            guard let file = try await files.read(entry.path, limit: Self.largestFile) else {
                throw CertsError(.fileMissing, "the file is gone")
            }
            // The stamp of what was read, not of what was seen before: a change in between is found at the next scan.
            let record = try file.contents.withBytes { try CertificateReader.firstRecord(in: Data($0)) }
            return ScannedFile(path: entry.path, stamp: file.stamp, record: record)
        } catch {
            return ScannedFile(
                path: entry.path, stamp: entry.stamp, record: nil, problem: CertsError.wrapping(error).code.rawValue)
        }
    }
}
