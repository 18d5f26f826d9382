import Foundation
import Synchronization

/// The connections of a listener: at most so many at a time.
///
/// When there is no room, the connection that has been shaking hands for the longest time makes it: clients that connect
/// and say nothing can so never keep others out. Those whose handshake is done are not touched.
final class ActiveConnections: Sendable {
    private struct State {
        var sockets: [Int: AcceptedSocket] = [:]
        /// Oldest first.
        var handshaking: [Int] = []
        var next = 0
        var isStopped = false
    }

    private let limit: Int
    private let state = Mutex(State())

    init(limit: Int) { self.limit = max(1, limit) }

    var isStopped: Bool { state.withLock { $0.isStopped } }

    /// A ticket for `socket`, or `nil`: ask again in a moment.
    func admit(_ socket: AcceptedSocket) -> Int? {
        state.withLock { state in
            guard !state.isStopped else { return nil }
            guard state.sockets.count < limit else {
                // Its thread sees the end and gives the place back.
                if let oldest = state.handshaking.first {
                    state.handshaking.removeFirst()
                    state.sockets[oldest]?.interrupt()
                }
                return nil
            }
            state.next += 1
            state.sockets[state.next] = socket
            state.handshaking.append(state.next)
            return state.next
        }
    }

    func isEstablished(_ ticket: Int) { state.withLock { $0.handshaking.removeAll { $0 == ticket } } }

    func remove(_ ticket: Int) {
        state.withLock { state in
            state.handshaking.removeAll { $0 == ticket }
            state.sockets[ticket] = nil
        }
    }

    /// Interrupts all; nobody is admitted from here on.
    func stop() {
        state.withLock { state in
            state.isStopped = true
            for socket in state.sockets.values { socket.interrupt() }
        }
    }
}
