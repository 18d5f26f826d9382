import CertsCore
import Synchronization

/// Connections that stay open between the requests of one client, for a server that is asked often.
///
/// A request on a connection that turns out to be closed fails; it is not repeated here, because it may have been carried
/// out. A request takes a handle with its connections for itself alone, so as many stay open as requests ran side by side. Give
/// one value to one client: a connection is used again for the same host, whatever CA file it was opened with.
package final class HTTPConnections: Sendable {
    /// A connection that was idle for longer is not used again: the server may be about to close it.
    static let idleSeconds = 10

    private let idle = Mutex(Idle())
    private let limit: Int

    /// - Parameter limit: how many handles wait at most for the next request.
    package init(limit: Int = 32) {
        self.limit = limit
    }

    /// @unchecked: a handle is used by one thread at a time, and the lock hands it from one to the next.
    private struct Idle: @unchecked Sendable {
        var handles: [EasyHandle] = []
    }

    func take() throws(CertsError) -> EasyHandle {
        let box = idle.withLock { Idle(handles: $0.handles.popLast().map { [$0] } ?? []) }
        guard let handle = box.handles.first else { return try EasyHandle() }
        try handle.reset()
        return handle
    }

    func giveBack(_ handle: EasyHandle) {
        let box = Idle(handles: [handle])
        idle.withLock { if $0.handles.count < limit { $0.handles += box.handles } }
    }
}
