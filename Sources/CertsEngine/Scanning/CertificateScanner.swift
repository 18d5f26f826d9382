package import CertsCore
import CertsCrypto
package import Foundation

/// Finds certificates in a directory and keeps what it read: a file whose stamp has not changed is not read again.
package struct CertificateScanner: Sendable {
    let files: any WatchedFiles
    let inventory: any WatchInventory

    package init(files: any WatchedFiles, inventory: any WatchInventory) {
        self.files = files
        self.inventory = inventory
    }

    /// What one scan did.
    package struct Summary: Sendable, Equatable {
        package var found = 0
        /// New, or with other contents than before.
        package var read = 0
        /// Of those that were read: without a readable certificate, or not all that is in them.
        package var unreadable = 0
        package var removed = 0
        /// Why the directory could not be looked at; `nil`: it was.
        package var failure: WatchFailure?
        /// Directories that could not be looked at: what is below them is unknown, and stays as it was known.
        package var problems: [String] = []
        /// Those that were entered.
        package var directories: [String] = []
        /// Whether anything is known now that was not before.
        package var isChanged = false
    }

    /// Files larger than this hold something else.
    static let largestFile = 1 << 20
    /// The names under which certificates are kept; other files are not looked into.
    package static let suffixes = [".pem", ".crt", ".cer", ".cert", ".der", ".p12", ".pfx"]
    /// A file that was changed less than this before it was read may be changed again without another stamp: the
    /// kernel's clock stands still for some milliseconds, that of a file server for longer. In seconds.
    static let settling: TimeInterval = 3

    /// - Parameters:
    ///   - directory: a declared one; `nil`: `root` was named by hand.
    ///   - now: the time of the host.
    /// - Throws: only what the inventory throws, and for a path that is not absolute; one bad file is a record with a
    ///   problem.
    package func scan(_ root: String, as directory: WatchedDirectory? = nil, now: Date = Date()) async throws -> Summary
    {
        let limits = WalkLimits(isRecursive: directory?.isRecursive ?? true)
        let tree = try await files.walk(root, suffixes: Self.suffixes, limits: limits)
        let known = try await inventory.knownFiles().filter { $0.key == root || isBelow(root, $0.key) }
        let source = directory?.name.rawValue ?? WatchDeclaration.handScanned
        if let failure = tree.rootFailure { return try await fail(failure, source, root, now) }

        let passphrase = await passphrase(directory?.passphraseFile)
        let due = tree.files.filter { entry in
            guard let before = known[entry.path] else { return true }
            // A passphrase, or a right, may be there by now, without a trace in the stamp.
            let mayBeCured = [.noPassphrase, .badPassphrase, .permissionDenied, .readFailed].contains(before.problem)
            return before.stamp != entry.stamp || !before.isSettled || mayBeCured
                || (directory != nil && before.source != directory?.name)
        }
        var changes = Changes(try await inventory.scannedFiles(at: due.map(\.path).filter { known[$0] != nil }))
        for file in await read(due, directory?.name, passphrase, now) { changes.add(file) }
        for problem in tree.problems {
            changes.add(
                ScannedFile(
                    path: problem.path, source: directory?.name, stamp: problem.stamp,
                    facts: WatchedFacts(problem: problem.failure.reason)), before: known[problem.path])
        }
        let present = Set(tree.files.map(\.path) + tree.problems.map(\.path))
        let hidden = tree.problems.filter(\.isDirectory).map(\.path)
        let removed = known.keys.filter { path in
            !present.contains(path) && !hidden.contains { isBelow($0, path) }
        }
        try await save(changes, removed, WatchSourceRecord(name: source, isUp: true, lookedAt: now), root)
        return Summary(
            found: tree.files.count, read: changes.contents, unreadable: changes.unreadable, removed: removed.count,
            problems: tree.problems.filter(\.isDirectory).map { "\($0.path): \($0.failure.message)" },
            directories: tree.directories, isChanged: !changes.files.isEmpty || !removed.isEmpty)
    }

    /// What is to be written, and counted.
    private struct Changes {
        var files: [ScannedFile] = []
        var errors: [WatchReason: Int] = [:]
        var contents = 0
        var unreadable = 0
        private let before: [String: ScannedFile]

        init(_ before: [ScannedFile]) {
            self.before = Dictionary(before.map { ($0.path, $0) }, uniquingKeysWith: { first, _ in first })
        }

        mutating func add(_ file: ScannedFile) {
            var file = file
            let known = before[file.path]
            let isSame = known.map { $0.digest == file.digest && $0.problem == file.problem } ?? false
            // The dates that were last known stay while the file cannot be read.
            if file.record == nil, file.problem != nil, let known {
                (file.facts.record, file.facts.chainNotAfter) = (known.record, known.facts.chainNotAfter)
            }
            if !isSame {
                contents += 1
                count(file.problem)
            }
            if known != file { files.append(file) }
        }

        /// Something that has no contents.
        mutating func add(_ file: ScannedFile, before known: ScannedFile.Known?) {
            let isOwn = file.source == nil || known?.source == file.source
            if known?.problem == file.problem, known?.stamp == file.stamp, isOwn { return }
            if known?.problem != file.problem { count(file.problem) }
            files.append(file)
        }

        private mutating func count(_ problem: WatchReason?) {
            guard let problem else { return }
            errors[problem, default: 0] += 1
            unreadable += 1
        }
    }

    private func save(_ changes: Changes, _ removed: [String], _ source: WatchSourceRecord, _ root: String) async throws
    {
        var source = source
        let before = try await inventory.watchSources().first { $0.name == source.name }
        // The time alone is not worth a write to the disk.
        if let before, before.isUp == source.isUp, before.problem == source.problem {
            source.lookedAt = before.lookedAt
        }
        guard before != source || !changes.files.isEmpty || !removed.isEmpty else { return }
        try await inventory.replaceScannedFiles(
            below: root, changed: changes.files, removed: removed, source: source, errors: changes.errors)
    }

    /// The source is down: counted once for as long as it stays down for the same reason.
    private func fail(_ failure: WatchFailure, _ source: String, _ root: String, _ now: Date) async throws -> Summary {
        let before = try await inventory.watchSources().first { $0.name == source }
        var summary = Summary()
        summary.failure = failure
        guard before?.problem != failure.reason else { return summary }
        summary.isChanged = true
        try await inventory.replaceScannedFiles(
            below: root, changed: [], removed: [],
            source: WatchSourceRecord(name: source, isUp: false, problem: failure.reason, lookedAt: now),
            errors: [failure.reason: 1])
        return summary
    }

    private func isBelow(_ directory: String, _ path: String) -> Bool {
        path.hasPrefix(directory.hasSuffix("/") ? directory : directory + "/")
    }

    /// The first line of the file; `nil` where there is none, which the PKCS#12 files then say.
    private func passphrase(_ path: String?) async -> Secret? {
        guard let path, let file = try? await files.read(path, limit: 4096) else { return nil }
        return file.contents.withBytes { bytes in
            Secret(copying: bytes.prefix { $0 != UInt8(ascii: "\n") && $0 != UInt8(ascii: "\r") })
        }
    }

    private func read(
        _ entries: [WatchedTree.Entry], _ source: Name?, _ passphrase: Secret?, _ now: Date
    ) async -> [ScannedFile] {
        let width = max(1, ProcessInfo.processInfo.activeProcessorCount)
        let share = max(64, (entries.count + width - 1) / width)
        return await withTaskGroup(of: [ScannedFile].self) { group in
            for start in stride(from: 0, to: entries.count, by: share) {
                let slice = entries[start..<min(start + share, entries.count)]
                group.addTask {
                    var records: [ScannedFile] = []
                    for entry in slice { records.append(await self.read(entry, source, passphrase, now)) }
                    return records
                }
            }
            return await group.reduce(into: []) { $0 += $1 }
        }
    }

    private func read(
        _ entry: WatchedTree.Entry, _ source: Name?, _ passphrase: Secret?, _ now: Date
    ) async -> ScannedFile {
        do {
            let file = try await files.read(entry.path, limit: Self.largestFile)
            // The stamp of what was read, not of what was seen before: a change in between is found at the next scan.
            let (digest, facts) = file.contents.withBytes { raw in
                let bytes = Data(raw)
                return (Digest.sha256.data(of: bytes), CertificateFile.facts(in: bytes, passphrase: passphrase))
            }
            let changedAt = TimeInterval(file.stamp.changed) / 1e9
            return ScannedFile(
                path: entry.path, source: source, stamp: file.stamp,
                isSettled: now.timeIntervalSince1970 - changedAt > Self.settling, digest: digest, facts: facts)
        } catch {
            let reason = (error as? WatchFailure)?.reason ?? .readFailed
            return ScannedFile(
                path: entry.path, source: source, stamp: entry.stamp, facts: WatchedFacts(problem: reason))
        }
    }
}
