import CertsCore

/// How HAProxy is told to read its files again: one file for each method.
protocol Reloader: Sendable {
    /// Looks whether a reload can be asked for, and whether it would reach HAProxy; changes nothing.
    ///
    /// - Parameter bundlePaths: the files that HAProxy is to read again, as this host names them.
    /// - Returns: what stands in the way (errors), and what deserves a look (warnings); empty: all is well.
    func check(bundlePaths: [String]) async -> [Finding]

    /// Asks for the reload, and waits for its outcome as far as this method can see one.
    ///
    /// Whatever it says, only a handshake proves what is served.
    ///
    /// - Parameter limit: how long the new process may take to load.
    /// - Throws: `target.reloadFailed` with HAProxy's own words where they can be had, `target.unreachable`,
    ///   `target.timeout`.
    func reload(within limit: Duration) async throws -> ReloadOutcome
}

/// What a reload is known to have done.
struct ReloadOutcome: Sendable, Equatable {
    var evidence: Evidence
    /// Processes that finish their connections with the old certificate in memory.
    var oldWorkers: [OldWorker] = []

    enum Evidence: Sendable, Equatable {
        /// A worker that was not there before has loaded its files.
        case newWorker(pid: Int)
        /// HAProxy's master said so (`Success=1`, HAProxy 2.7 and later).
        case reported
        /// The method cannot see the outcome: it was asked for, no more.
        case askedFor
    }
}

/// A worker that a reload has told to end; it accepts no connection, and keeps those that it has.
struct OldWorker: Sendable, Equatable {
    var pid: Int
    /// Connections that are still open; `nil`: not known.
    var connections: Int?
    /// Since it was started, in seconds; `nil`: not known.
    var age: Double?
}
