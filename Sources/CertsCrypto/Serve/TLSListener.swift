package import CertsCore
import Foundation

/// A small TLS server: for `tls-alpn-01` (RFC 8737), and for servers of tests.
///
/// It chooses certificate and protocol by what each client asks for, before anything is answered. Each connection has a
/// thread of its own; their number and the time of each handshake are bounded, so garbage and silence cost little.
package final class TLSListener: Sendable {
    /// What a client is answered with.
    package struct Identity: Sendable {
        /// Leaf first, then its intermediates.
        package var chain: [Certificate]
        package var key: PrivateKey
        /// The protocol to agree on (RFC 7301), one of those that the client offers; `nil`: none.
        package var applicationProtocol: String?

        package init(chain: [Certificate], key: PrivateKey, applicationProtocol: String? = nil) {
            self.chain = chain
            self.key = key
            self.applicationProtocol = applicationProtocol
        }
    }

    package struct Limits: Sendable {
        /// At a time.
        package var connections: Int
        /// For the whole handshake.
        package var handshake: Duration

        package init(connections: Int = 128, handshake: Duration = .seconds(5)) {
            self.connections = connections
            self.handshake = handshake
        }
    }

    /// Where it really listens.
    package let address: SocketAddress
    private let listening: ListeningSocket
    private let connections: ActiveConnections
    private let hasEnded = DispatchSemaphore(value: 0)

    /// Begins to listen; it ends with ``stop()`` or with its last reference, so keep one.
    ///
    /// - Parameters:
    ///   - address: port 0 lets the kernel choose.
    ///   - choose: what to answer a client with; `nil` refuses it with the alert `unrecognized_name`. Called on the thread
    ///     of the connection, which it may block.
    ///   - handle: called on the thread of the connection after the handshake; the connection is closed when it returns.
    /// - Throws: `listen.inUse`, `listen.failed`.
    package init(
        _ address: SocketAddress, limits: Limits = .init(),
        choose: @escaping @Sendable (ClientHello) -> Identity?,
        handle: @escaping @Sendable (TLSConnection) -> Void
    ) throws(CertsError) {
        let context = try TLSServerContext()
        listening = try ListeningSocket(address)
        self.address = listening.address
        connections = ActiveConnections(limit: limits.connections)
        // Without `self`, so that the last reference of the owner ends it.
        Thread.detachNewThread { [listening, connections, hasEnded] in
            while let socket = listening.accept(), let ticket = Self.ticket(for: socket, connections) {
                let thread = Thread {
                    Self.serve(socket, context, limits, choose) { connection in
                        connections.isEstablished(ticket)
                        handle(connection)
                    }
                    connections.remove(ticket)
                }
                thread.stackSize = 1 << 19
                thread.start()
            }
            hasEnded.signal()
        }
    }

    deinit { stop() }

    /// Ends the listener and interrupts its connections. Blocking, for a moment; the port is free when it returns.
    package func stop() {
        connections.stop()
        listening.interrupt()
        // For every other call as well.
        hasEnded.wait()
        hasEnded.signal()
    }

    /// Waits for room; `nil` when stopped.
    private static func ticket(for socket: AcceptedSocket, _ connections: ActiveConnections) -> Int? {
        while !connections.isStopped {
            if let ticket = connections.admit(socket) { return ticket }
            usleep(1000)
        }
        return nil
    }

    private static func serve(
        _ socket: AcceptedSocket, _ context: TLSServerContext, _ limits: Limits,
        _ choose: @escaping @Sendable (ClientHello) -> Identity?, _ handle: (TLSConnection) -> Void
    ) {
        // A client that cannot shake hands hears so in an alert; here it is nobody's failure.
        guard
            let connection = try? TLSConnection(
                accepting: socket, context: context, limit: Deadline(limits.handshake), choose: choose)
        else { return }
        handle(connection)
        connection.close()
    }
}
