/// What maintenance keeps in the state directory as files (0600); implemented in CertsStore.
package protocol MaintenanceFiles: Sendable {
    /// The contents; `nil`: there is no such file.
    ///
    /// - Throws: `file.tooLarge` above `limit` bytes.
    func read(_ file: String, in area: MaintenanceArea, limit: Int) async throws -> Secret?
    /// Replaces the file whole or not at all, durably.
    func write(_ contents: Secret, to file: String, in area: MaintenanceArea) async throws
    func remove(_ file: String, in area: MaintenanceArea) async throws
    /// Sorted.
    func names(in area: MaintenanceArea) async throws -> [String]
    /// The absolute path of a directory (0700) for programs that keep files of their own while a job runs.
    func directory(of job: Name) async throws -> String
}

/// The directories of the state directory in which maintenance keeps files.
package enum MaintenanceArea: String, Sendable, Hashable, CaseIterable {
    /// One file for each service: what ran in its container.
    case deployments
    /// Versions of configuration files, named by their SHA-256, and their index.
    case versions
    /// One file for each clean-up: the volumes that it found detached, and since when.
    case volumes
}
