/// What is known of the certificates that are only watched; implemented in CertsStore.
package protocol WatchInventory: Sendable {
    /// The certificates found by scans.
    func scannedFiles() async throws -> [ScannedFile]
    /// Calls `body` with each, by path; one is in memory at a time.
    func forEachScannedFile(_ body: @escaping @Sendable (ScannedFile) throws -> Void) async throws
    /// The files by path, without what is in them: all that a scan needs to know what has changed.
    func knownFiles() async throws -> [PathKey: ScannedFile.Known]
    /// Those of the files at these paths that are known.
    func scannedFiles(at paths: [String]) async throws -> [ScannedFile]
    /// Replaces what is known of the files below `root`, and counts what is bad of `source`, in one transaction. A file
    /// without a source keeps the one that it has.
    func replaceScannedFiles(
        below root: String, changed: [ScannedFile], removed: [String], source: WatchSourceRecord,
        errors: [WatchReason: Int]) async throws
    /// What was last seen of the watched endpoints, by label.
    func sightings() async throws -> [EndpointSighting]
    /// Records what was seen, and counts what went wrong, in one transaction.
    func save(_ sightings: [EndpointSighting], source: WatchSourceRecord, errors: [WatchReason: Int]) async throws
    /// Forgets the files and endpoints that are not declared any more. Files that `certs scan` found stay.
    func forgetWatched(except sources: [Name], endpoints: [String]) async throws
    func watchSources() async throws -> [WatchSourceRecord]
    func watchErrors() async throws -> [WatchErrorCount]
}
