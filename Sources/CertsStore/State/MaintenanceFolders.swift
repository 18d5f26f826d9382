package import CertsCore
import Foundation

// maintenance/deployments/, maintenance/versions/, maintenance/volumes/; made when they are first needed.

extension StateDirectory: MaintenanceFiles {
    static let maintenanceName = "maintenance"

    package func read(_ file: String, in area: MaintenanceArea, limit: Int) async throws -> Secret? {
        try Self.checkName(file)
        return try await pool.run { [self] in
            try root.folder(Self.maintenanceName)?.folder(area.rawValue)?.read(file, limit: limit)?.contents
        }
    }

    package func write(_ contents: Secret, to file: String, in area: MaintenanceArea) async throws {
        try Self.checkName(file)
        try await pool.run { [self] in
            let folder = try root.makeFolder(Self.maintenanceName).makeFolder(area.rawValue)
            try AtomicFile(folder: folder, name: file).replace(with: contents, attributes: nil)
        }
    }

    package func remove(_ file: String, in area: MaintenanceArea) async throws {
        try Self.checkName(file)
        try await pool.run { [self] in
            try root.folder(Self.maintenanceName)?.folder(area.rawValue)?.remove(file)
        }
    }

    package func names(in area: MaintenanceArea) async throws -> [String] {
        try await pool.run { [self] in
            try root.folder(Self.maintenanceName)?.folder(area.rawValue)?.names().filter { !$0.hasPrefix(".") } ?? []
        }
    }

    package func directory(of job: Name) async throws -> String {
        try await pool.run { [self] in
            try root.makeFolder(Self.jobsName).makeFolder(job.rawValue).path
        }
    }
}
