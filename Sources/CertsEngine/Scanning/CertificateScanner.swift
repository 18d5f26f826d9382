package import CertsCore
import CertsCrypto
package import Foundation

/// Finds certificates in a directory and keeps what it read: a file whose stamp has not changed is not read again.
package struct CertificateScanner: Sendable {
    let files: any WatchedFiles
    let inventory: any WatchInventory
    private let trials = PassphraseTrials()

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
    /// So many files are read before what they say is written, and forgotten: the first look at a hundred thousand takes
    /// no more memory than that.
    static let batch = 2000

    /// - Parameters:
    ///   - directory: a declared one; `nil`: `root` was named by hand.
    ///   - now: the time of the host.
    /// - Throws: only what the inventory throws, and for a path that is not absolute; one bad file is a record with a
    ///   problem.
    package func scan(_ root: String, as directory: WatchedDirectory? = nil, now: Date = Date()) async throws -> Summary
    {
        let limits = WalkLimits(isRecursive: directory?.isRecursive ?? true)
        let tree = try await files.walk(root, suffixes: Self.suffixes, limits: limits)
        let known = try await inventory.knownFiles().filter { path, _ in
            path == PathKey(root) || path.path.path(below: root) != nil
        }
        let source = directory?.name.rawValue ?? WatchDeclaration.handScanned
        if let failure = tree.rootFailure {
            guard directory != nil else { return try await forget(failure, known, root, now) }
            return try await fail(failure, source, root, now)
        }

        let passphrase = await passphrase(directory?.passphraseFile)
        let due = tree.files.filter { entry in
            guard let before = known[PathKey(entry.path)] else { return true }
            // A right, or another passphrase, may be there by now, without a trace in the stamp. The same one is not tried
            // again: that costs as much as the file wants.
            let mayBeCured =
                switch before.problem {
                case .permissionDenied, .readFailed: true
                case .noPassphrase, .badPassphrase: !trials.contain(entry.path, entry.stamp, passphrase)
                default: false
                }
            return before.stamp != entry.stamp || !before.isSettled || mayBeCured
                || (directory != nil && before.source != directory?.name)
        }
        var changes = Changes()
        for start in stride(from: 0, to: due.count, by: Self.batch) {
            let part = due[start..<min(start + Self.batch, due.count)]
            if start > 0 { try await flush(&changes, source, root, now) }
            changes.know(try await inventory.scannedFiles(at: part.map(\.path).filter { known[PathKey($0)] != nil }))
            for file in await read(part, directory?.name, passphrase, now) { changes.add(file) }
        }
        changes.know(
            try await inventory.scannedFiles(at: tree.problems.map(\.path).filter { known[PathKey($0)] != nil }))
        for problem in tree.problems {
            changes.add(
                ScannedFile(
                    path: problem.path, source: directory?.name, stamp: problem.stamp,
                    facts: WatchedFacts(problem: problem.failure.reason)), before: known[PathKey(problem.path)])
        }
        let present = Set((tree.files.map(\.path) + tree.problems.map(\.path)).map { PathKey($0) })
        let hidden = tree.problems.filter(\.isDirectory).map(\.path)
        let removed = known.filter { path, file in
            !present.contains(path) && !hidden.contains { path.path.path(below: $0) != nil }
                && isOurs(path.path, file, root, directory)
        }.map(\.key.path)
        trials.forget(removed)
        try await save(changes, removed, WatchSourceRecord(name: source, isUp: true, lookedAt: now), root)
        return Summary(
            found: tree.files.count, read: changes.contents, unreadable: changes.unreadable, removed: removed.count,
            problems: tree.problems.filter(\.isDirectory).map { "\($0.path): \($0.failure.message)" },
            directories: tree.directories, isChanged: changes.isChanged || !removed.isEmpty)
    }

    /// What is to be written, and counted.
    private struct Changes {
        /// Not written yet, as are the errors.
        private(set) var files: [ScannedFile] = []
        private(set) var errors: [WatchReason: Int] = [:]
        private(set) var contents = 0
        private(set) var unreadable = 0
        private(set) var isChanged = false
        private var before: [PathKey: ScannedFile] = [:]

        /// Takes what was known of the files that are added next.
        mutating func know(_ files: [ScannedFile]) {
            before = Dictionary(files.map { (PathKey($0.path), $0) }, uniquingKeysWith: { first, _ in first })
        }

        /// What has been added so far is written.
        mutating func forget() { (files, errors) = ([], [:]) }

        mutating func add(_ file: ScannedFile) {
            var file = file
            let known = before[PathKey(file.path)]
            let isSame = known.map { $0.digest == file.digest && $0.problem == file.problem } ?? false
            if let known { file.facts.keep(known.facts) }
            if !isSame {
                contents += 1
                count(file.problem)
            }
            if known != file { append(file) }
        }

        private mutating func append(_ file: ScannedFile) {
            files.append(file)
            isChanged = true
        }

        /// Something that has no contents.
        mutating func add(_ file: ScannedFile, before known: ScannedFile.Known?) {
            var file = file
            if let before = before[PathKey(file.path)] { file.facts.keep(before.facts) }
            let isOwn = file.source == nil || known?.source == file.source
            if known?.problem == file.problem, known?.stamp == file.stamp, isOwn { return }
            if known?.problem != file.problem { count(file.problem) }
            append(file)
        }

        private mutating func count(_ problem: WatchReason?) {
            guard let problem else { return }
            errors[problem, default: 0] += 1
            unreadable += 1
        }
    }

    /// Writes what was found so far. The source is what it was: only the end of a scan tells that it is up.
    private func flush(_ changes: inout Changes, _ source: String, _ root: String, _ now: Date) async throws {
        guard !changes.files.isEmpty else { return }
        let before = try await inventory.watchSources().first { $0.name == source }
        try await inventory.replaceScannedFiles(
            below: root, changed: changes.files, removed: [],
            source: before ?? WatchSourceRecord(name: source, isUp: false, lookedAt: now), errors: changes.errors)
        changes.forget()
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

    /// A directory that was named by hand and cannot be looked at: the exit code tells it. One that is gone takes what was
    /// found there by hand with it.
    private func forget(
        _ failure: WatchFailure, _ known: [PathKey: ScannedFile.Known], _ root: String, _ now: Date
    ) async throws -> Summary {
        var summary = Summary()
        summary.failure = failure
        let gone = failure.reason == .notFound ? known.filter { $0.value.source == nil }.map(\.key.path) : []
        guard !gone.isEmpty else { return summary }
        (summary.removed, summary.isChanged) = (gone.count, true)
        let source = WatchSourceRecord(name: WatchDeclaration.handScanned, isUp: true, lookedAt: now)
        try await save(Changes(), gone, source, root)
        return summary
    }

    /// Whether a file that was not found is gone for us: one of another directory may be where this one does not look.
    private func isOurs(
        _ path: String, _ file: ScannedFile.Known, _ root: String, _ directory: WatchedDirectory?
    ) -> Bool {
        guard let directory else { return true }
        if let source = file.source { return source == directory.name }
        return directory.isRecursive || path.path(below: root)?.contains("/") != true
    }

    /// The first line of the file; `nil` where there is none, which the PKCS#12 files then say.
    private func passphrase(_ path: String?) async -> Secret? {
        guard let path, let file = try? await files.read(path, limit: 4096) else { return nil }
        return file.contents.withBytes { bytes in
            Secret(copying: bytes.prefix { $0 != UInt8(ascii: "\n") && $0 != UInt8(ascii: "\r") })
        }
    }

    /// So many files are read on one thread, one after the other, before something else may have it.
    private static let share = 64

    private func read(
        _ entries: ArraySlice<WatchedTree.Entry>, _ source: Name?, _ passphrase: Secret?, _ now: Date
    ) async -> [ScannedFile] {
        let shares = stride(from: entries.startIndex, to: entries.endIndex, by: Self.share).map { start in
            Array(entries[start..<min(start + Self.share, entries.endIndex)])
        }
        let width = max(1, ProcessInfo.processInfo.activeProcessorCount)
        return await concurrently(shares, width: width) { share in
            await read(share, source, passphrase, now)
        }.flatMap(\.self)
    }

    private func read(
        _ entries: [WatchedTree.Entry], _ source: Name?, _ passphrase: Secret?, _ now: Date
    ) async -> [ScannedFile] {
        let read = await files.read(entries.map(\.path), limit: Self.largestFile) { index, outcome in
            Contents(outcome, of: entries[index], source, now)
        }
        var records: [ScannedFile] = []
        for one in read {
            var file = one.file
            if let bytes = one.encrypted {
                // Derives keys, for as long as the file wants: not on the threads that everything else needs.
                let facts = try? await BlockingPool.shared.run {
                    CertificateFile.facts(in: bytes, passphrase: passphrase)
                }
                file.facts = facts ?? WatchedFacts(problem: .readFailed)
                trials.note(file.path, file.stamp, passphrase, file.problem)
            }
            records.append(file)
        }
        return records
    }
}

/// What was read of one file.
private struct Contents: Sendable {
    /// Without facts yet, if there are bytes that are encrypted.
    var file: ScannedFile
    var encrypted: Data?

    init(_ outcome: Result<WatchedFile, any Error>, of entry: WatchedTree.Entry, _ source: Name?, _ now: Date) {
        switch outcome {
        case .success(let read):
            // The stamp of what was read, not of what was seen before: a change in between is found at the next scan.
            let bytes = read.contents.withBytes { Data($0) }
            let changedAt = TimeInterval(read.stamp.changed) / 1e9
            let isEncrypted = CertificateFile.isPKCS12(bytes)
            encrypted = isEncrypted ? bytes : nil
            file = ScannedFile(
                path: entry.path, source: source, stamp: read.stamp,
                isSettled: now.timeIntervalSince1970 - changedAt > CertificateScanner.settling,
                digest: Digest.sha256.data(of: bytes),
                facts: isEncrypted ? WatchedFacts() : CertificateFile.facts(in: bytes, passphrase: nil))
        case .failure(let error):
            let reason = (error as? WatchFailure)?.reason ?? .readFailed
            file = ScannedFile(
                path: entry.path, source: source, stamp: entry.stamp, facts: WatchedFacts(problem: reason))
        }
    }
}
