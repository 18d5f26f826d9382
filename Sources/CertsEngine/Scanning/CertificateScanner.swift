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
    }

    /// Files larger than this hold something else.
    static let largestFile = 1 << 20

    /// - Throws: when the directory itself cannot be read; one bad file is a record with a problem, never an error.
    package func scan(_ root: String) async throws -> Summary {
        let known = Dictionary(uniqueKeysWithValues: try await inventory.scannedFiles().map { ($0.path, $0) })
        let present = try await files.walk(root)
        let fresh = present.filter { known[$0.path]?.stamp != $0.stamp }
        let changed = try await read(fresh)
        let paths = Set(present.map(\.path))
        let prefix = root.hasSuffix("/") ? root : root + "/"
        let removed = known.keys.filter { $0.hasPrefix(prefix) && !paths.contains($0) }
        if !changed.isEmpty || !removed.isEmpty {
            try await inventory.replaceScannedFiles(below: root, changed: changed, removed: removed)
        }
        return Summary(
            found: present.count, read: changed.count, unreadable: changed.count { $0.problem != nil }, removed: removed.count)
    }

    private func read(_ entries: [WatchedFile]) async throws -> [ScannedFile] {
        let width = max(1, ProcessInfo.processInfo.activeProcessorCount)
        let share = max(64, (entries.count + width - 1) / width)
        let files = files
        return try await withThrowingTaskGroup(of: [ScannedFile].self) { group in
            for start in stride(from: 0, to: entries.count, by: share) {
                let slice = entries[start..<min(start + share, entries.count)]
                group.addTask { try await BlockingPool.shared.run { slice.map { Self.read($0, files) } } }
            }
            return try await group.reduce(into: []) { $0 += $1 }
        }
    }

    private static func read(_ entry: WatchedFile, _ files: any WatchedFiles) -> ScannedFile {
        do {
            let bytes = try files.read(entry.path, limit: largestFile)
            return ScannedFile(path: entry.path, stamp: entry.stamp, record: try CertificateReader.firstRecord(in: bytes))
        } catch {
            return ScannedFile(
                path: entry.path, stamp: entry.stamp, record: nil, problem: CertsError.wrapping(error).code.rawValue)
        }
    }
}
