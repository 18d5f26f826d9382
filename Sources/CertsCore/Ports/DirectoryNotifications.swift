/// Tells that something changed in watched directories, to look sooner; implemented in CertsStore (inotify(7)).
///
/// A notification may be lost or never come (network file systems, bind mounts, links): only a look is the truth.
package protocol DirectoryNotifications: Sendable {
    /// Replaces the directories that are watched. Those that the kernel refuses are left out.
    func watch(_ directories: [String]) async
    /// Waits for a change.
    /// - Returns: whether there was one within `limit`.
    func changed(within limit: Duration) async -> Bool
}
