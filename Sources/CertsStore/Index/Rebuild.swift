import CertsCore
package import Foundation
import SystemPackage

/// What came of making the database again from the files.
package struct Rebuild: Sendable {
    package let database: Database
    /// How many certificates were restored.
    package let certificates: Int
    /// How many revisions were read.
    package let revisions: Int
    /// Files that could not be read; the others went on, and nothing was deleted.
    package let quarantined: [Quarantined]
    /// Where the old database is now; `nil`: there was none.
    package let movedAside: String?

    package struct Quarantined: Sendable, Hashable {
        package let path: String
        package let reason: String
    }
}

extension Database {
    /// Makes the database again from `live/*/*/revision.json` and `current`; the old file is moved aside.
    ///
    /// The database must not be open elsewhere: a process that has it open is refused at its next write. The due dates
    /// and the results of scans are not in the files: the next plan and the next scan bring them back.
    package static func rebuild(in directory: StateDirectory, now: Date) async throws -> Rebuild {
        let harvest = try await directory.pool.run { try Harvest(of: directory) }
        let movedAside = try await directory.pool.run { try moveAside(in: directory.root, now: now) }
        let database = try await open(in: directory)
        try await database.write { connection in
            for state in harvest.states { try store(state, in: connection) }
            for rotation in harvest.rotations { try store(rotation, in: connection) }
        }
        return Rebuild(
            database: database, certificates: harvest.states.count, revisions: harvest.revisions,
            quarantined: harvest.quarantined, movedAside: movedAside)
    }

    /// Renames the database and, with it, its log: the pair may still be salvaged by hand.
    private static func moveAside(in root: Folder, now: Date) throws -> String? {
        let directory = root.descriptor.raw
        let stamp = Int(max(0, min(now.timeIntervalSince1970, 1e12)))
        var target = "\(fileName).corrupt-\(stamp)"
        do {
            var number = 1
            while try System.status(of: target, in: directory) != nil {
                number += 1
                target = "\(fileName).corrupt-\(stamp)-\(number)"
            }
            var moved = false
            // The database last: a crash in between leaves a database without its log, which is moved by the next try.
            for suffix in ["-shm", "-wal", "-journal", ""]
            where try System.status(of: fileName + suffix, in: directory) != nil {
                try System.retrying { renameat(directory, fileName + suffix, directory, target + suffix) }
                moved = true
            }
            if moved { try System.sync(root.descriptor) }
            return moved ? root.path(of: target) : nil
        } catch {
            throw FileFailure.unwritable(root.path(of: fileName), error)
        }
    }
}

/// What the files say.
struct Harvest: Sendable {
    var states: [CertificateState] = []
    var rotations: [Rotation] = []
    var revisions = 0
    var quarantined: [Rebuild.Quarantined] = []

    init(of directory: StateDirectory) throws {
        for certificate in try directory.certificates() {
            do {
                if let folder = try directory.folder(of: certificate) { try read(certificate, in: folder) }
            } catch {
                quarantine("\(directory.path)/\(StateDirectory.liveName)/\(certificate)", error)
            }
        }
    }

    private mutating func read(_ certificate: Name, in folder: Folder) throws {
        var manifests: [Int: RevisionManifest] = [:]
        for revision in try StateDirectory.revisions(in: folder) {
            do {
                manifests[revision] = try manifest(of: certificate, revision: revision, in: folder)
            } catch {
                quarantine(folder.path(of: "\(revision)/\(RevisionFile.manifest.fileName)"), error)
            }
        }
        var current: Int?
        do {
            current = try StateDirectory.currentRevision(in: folder)
        } catch {
            quarantine(folder.path(of: StateDirectory.currentName), error)
        }
        guard current != nil || !manifests.isEmpty else { return }
        var state = CertificateState(name: certificate)
        state.revision = current
        state.issuedRevision = Self.issued(manifests, current: current)
        let issued = state.issuedRevision.flatMap { manifests[$0] }
        (state.record, state.requested) = (issued?.record, issued?.requested)
        let live = current.flatMap { manifests[$0] }
        state.currentRecord = live?.record
        state.currentAlternates = live?.alternates ?? []
        if let rotation = live?.rotation, rotation.outcome == .committed { state.lastSuccessAt = rotation.endedAt }
        states.append(state)
        revisions += manifests.count
        rotations += manifests.sorted { $0.key < $1.key }.compactMap(\.value.rotation).filter(\.isFinished)
    }

    /// The revision that is to be served: the newest that was not revoked since, unless somebody has gone back from it.
    private static func issued(_ manifests: [Int: RevisionManifest], current: Int?) -> Int? {
        let fit = manifests.filter { $0.value.revocation == nil && !$0.value.isKeyCompromised }
        guard let newest = fit.keys.max(), newest > current ?? 0 else { return current }
        let last = current.flatMap { manifests[$0]?.rotation }
        guard let last, last.purpose != .issue, last.outcome == .committed, let endedAt = last.endedAt,
            let issuedAt = fit[newest]?.issuedAt
        else { return newest }
        return endedAt > issuedAt ? current : newest
    }

    private func manifest(of certificate: Name, revision: Int, in folder: Folder) throws -> RevisionManifest? {
        let name = RevisionFile.manifest.fileName
        guard let found = try folder.folder(String(revision))?.read(name, limit: 4 << 20) else { return nil }
        let manifest: RevisionManifest
        do {
            manifest = try RevisionManifest(decoding: found.contents)
        } catch {
            throw Self.malformed("it is not the JSON of a manifest")
        }
        guard manifest.schema == 1 else { throw Self.malformed("its schema is \(manifest.schema), not 1") }
        guard !manifest.records.isEmpty else { throw Self.malformed("it has no certificate") }
        guard manifest.certificate == certificate, manifest.revision == revision else {
            throw Self.malformed("it speaks of revision \(manifest.revision) of \(manifest.certificate)")
        }
        return manifest
    }

    private static func malformed(_ why: String) -> CertsError {
        CertsError(.stateCorrupt, why, hint: "restore the file from a backup, or rotate the certificate")
    }

    private mutating func quarantine(_ path: String, _ error: any Error) {
        quarantined.append(.init(path: path, reason: CertsError.wrapping(error).description))
    }
}
