package import CertsCore
import Foundation
import SystemPackage

// live/NAME/REVISION/ and live/NAME/current -> REVISION.

extension StateDirectory: RevisionStore {
    /// Entries that are not a positive number are not revisions; a link in a revision's place is refused.
    package func revisions(of certificate: Name) async throws -> [Int] {
        try await pool.run { [self] in
            guard let folder = try folder(of: certificate) else { return [] }
            return try Self.revisions(in: folder)
        }
    }

    package func currentRevision(of certificate: Name) async throws -> Int? {
        try await pool.run { [self] in
            guard let folder = try folder(of: certificate) else { return nil }
            return try Self.currentRevision(in: folder)
        }
    }

    package func read(_ file: RevisionFile, of certificate: Name, revision: Int) async throws -> Secret? {
        try await pool.run { [self] in
            guard let folder = try folder(of: certificate)?.folder(String(revision)) else { return nil }
            return try folder.read(file.fileName, limit: file.sizeLimit)?.contents
        }
    }

    package func write(_ contents: Secret, to file: RevisionFile, of certificate: Name, revision: Int) async throws {
        guard revision > 0 else { throw Self.notARevision(revision, of: certificate) }
        try await pool.run { [self] in
            let folder = try makeFolder(of: certificate).makeFolder(String(revision))
            try AtomicFile(folder: folder, name: file.fileName).replace(with: contents, attributes: nil)
        }
    }

    package func makeCurrent(_ revision: Int, of certificate: Name) async throws {
        try await pool.run { [self] in
            guard revision > 0, let folder = try folder(of: certificate), try folder.folder(String(revision)) != nil
            else {
                throw Self.notARevision(revision, of: certificate)
            }
            let directory = folder.descriptor.raw
            do {
                // Left by a process that died between the two calls; the caller holds the certificate's lock.
                unlinkat(directory, Self.currentTemporaryName, 0)
                try System.retrying { symlinkat(String(revision), directory, Self.currentTemporaryName) }
                do {
                    try System.retrying { renameat(directory, Self.currentTemporaryName, directory, Self.currentName) }
                } catch {
                    unlinkat(directory, Self.currentTemporaryName, 0)
                    throw error
                }
            } catch {
                throw FileFailure.unwritable(folder.path(of: Self.currentName), error)
            }
            try folder.sync()
        }
    }

    package func discard(_ revision: Int, of certificate: Name) async throws {
        try await pool.run { [self] in
            guard revision > 0, let folder = try folder(of: certificate),
                let doomed = try folder.folder(String(revision))
            else {
                return
            }
            guard try Self.currentRevision(in: folder) != revision else {
                throw CertsError(
                    .internal, "revision \(revision) of \(certificate) is the current one and is not removed",
                    subject: certificate.rawValue,
                    hint: "roll back to another revision first")
            }
            // The manifest first: without it what a crash leaves is found by `orphanedRevisions`.
            try doomed.remove(RevisionFile.manifest.fileName)
            for name in try doomed.names() { try doomed.remove(name) }
            do {
                try System.retrying { unlinkat(folder.descriptor.raw, String(revision), AT_REMOVEDIR) }
            } catch {
                throw FileFailure.unwritable(doomed.path, error)
            }
            try folder.sync()
        }
    }

    package func lock(_ certificate: Name) async throws -> any HeldLock {
        try await KernelLock.take(
            "certificate \(certificate)", path: "\(path)/\(Self.liveName)/\(certificate)", deadline: .zero, on: pool
        ) { [self] in try makeFolder(of: certificate) }
    }

    /// The revisions that were begun but never issued and that no open rotation will go on with: `kill -9` and a full
    /// disk leave them. For ``discard(_:of:)``, under the certificate's lock, after reading the open rotations again:
    /// a rotation may have begun meanwhile.
    package func orphanedRevisions(openRotations: [Rotation]) async throws -> [OrphanedRevision] {
        let open = Set(openRotations.map { OrphanedRevision(certificate: $0.certificate, revision: $0.revision) })
        return try await pool.run { [self] in
            var orphans: [OrphanedRevision] = []
            for certificate in try certificates() {
                guard let folder = try folder(of: certificate) else { continue }
                let current = try? Self.currentRevision(in: folder)
                for revision in try Self.revisions(in: folder) where revision != current {
                    let candidate = OrphanedRevision(certificate: certificate, revision: revision)
                    guard !open.contains(candidate), let directory = try folder.folder(String(revision)),
                        try System.status(of: RevisionFile.manifest.fileName, in: directory.descriptor.raw) == nil
                    else { continue }
                    orphans.append(candidate)
                }
            }
            return orphans
        }
    }
}

// MARK: - On a thread of the pool

extension StateDirectory {
    static let currentName = "current"
    static let currentTemporaryName = ".current.tmp"

    /// The certificates that have a directory in `live/`, sorted; other entries are none.
    func certificates() throws -> [Name] {
        guard let live = try root.folder(Self.liveName) else { return [] }
        return try live.names().compactMap { try? Name($0) }
    }

    func folder(of certificate: Name) throws -> Folder? {
        try root.folder(Self.liveName)?.folder(certificate.rawValue)
    }

    private func makeFolder(of certificate: Name) throws -> Folder {
        try root.makeFolder(Self.liveName).makeFolder(certificate.rawValue)
    }

    static func revisions(in folder: Folder) throws -> [Int] {
        var revisions: [Int] = []
        for name in try folder.names() {
            guard let revision = revisionNumber(name),
                let status = try System.status(of: name, in: folder.descriptor.raw)
            else {
                continue
            }
            if status.isSymbolicLink { throw FileFailure.link(folder.path(of: name)) }
            if status.isDirectory { revisions.append(revision) }
        }
        return revisions.sorted()
    }

    static func currentRevision(in folder: Folder) throws -> Int? {
        let path = folder.path(of: currentName)
        var space = [UInt8](repeating: 0, count: 64)
        let count = space.withUnsafeMutableBytes { buffer in
            buffer.withMemoryRebound(to: CChar.self) { text in
                text.baseAddress.map { readlinkat(folder.descriptor.raw, currentName, $0, text.count) } ?? 0
            }
        }
        if count < 0 {
            let failure = Errno(rawValue: errno)
            if failure == .noSuchFileOrDirectory { return nil }
            // EINVAL: something that is not a link.
            if failure != .invalidArgument { throw FileFailure.unreadable(path, failure) }
        }
        if count > 0, count < space.count,
            let revision = revisionNumber(String(decoding: space[..<count], as: UTF8.self))
        {
            return revision
        }
        throw CertsError(
            .stateCorrupt, "\(path) is not a link to a revision", subject: path,
            hint: "look at the revisions beside it and set it with `ln -sfn REVISION \(path)`")
    }

    /// Only the canonical form: `01` and `+1` are not names that this program writes.
    static func revisionNumber(_ text: String) -> Int? {
        guard let number = Int(text), number > 0, String(number) == text else { return nil }
        return number
    }

    private static func notARevision(_ revision: Int, of certificate: Name) -> CertsError {
        CertsError(
            .nameUnknown, "\(certificate) has no revision \(revision)", subject: certificate.rawValue,
            hint: "`certs history \(certificate)` shows the revisions")
    }
}

extension RevisionFile {
    /// In bytes. A manifest holds the log of a rotation; the rest is PEM of at most 100 blocks.
    fileprivate var sizeLimit: Int {
        if case .manifest = self { return 4 << 20 }
        return 1 << 20
    }
}
