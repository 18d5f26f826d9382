import CertsCore
import Foundation

extension StateDirectory {
    /// Removes the temporary files (`.NAME.tmp`) of processes that died while writing, and nothing else.
    ///
    /// Those that a living process is writing are locked by it and stay.
    package func removeLeftovers() async throws {
        try await pool.run { [self] in
            try Self.removeLeftovers(in: root)
            if let live = try root.folder(Self.liveName) {
                for certificate in try certificates() {
                    guard let folder = try live.folder(certificate.rawValue) else { continue }
                    // A link cannot be locked: the certificate's lock stands for it.
                    if let lock = try KernelLock.attempt({ try live.folder(certificate.rawValue) ?? folder }) {
                        defer { lock.release() }
                        try Self.removeLeftovers(in: folder)
                    }
                    for revision in try Self.revisions(in: folder) {
                        if let directory = try folder.folder(String(revision)) {
                            try Self.removeLeftovers(in: directory)
                        }
                    }
                }
            }
            for area in IssuerArea.allCases {
                guard let folder = try root.folder(area.rawValue) else { continue }
                for name in try folder.names() where Name.isValid(name) {
                    if let owned = try folder.folder(name) { try Self.removeLeftovers(in: owned) }
                }
            }
            for area in MaintenanceArea.allCases {
                if let folder = try root.folder(Self.maintenanceName)?.folder(area.rawValue) {
                    try Self.removeLeftovers(in: folder)
                }
            }
        }
    }

    private static func removeLeftovers(in folder: Folder) throws {
        var removed = false
        for name in try folder.names() where name.hasPrefix(".") && name.hasSuffix(".tmp") && name.utf8.count > 5 {
            do {
                if try AtomicFile.removeIfAbandoned(name, in: folder) { removed = true }
            } catch {
                throw FileFailure.unwritable(folder.path(of: name), error)
            }
        }
        if removed { try folder.sync() }
    }
}
