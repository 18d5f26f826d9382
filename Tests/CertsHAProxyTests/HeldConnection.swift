import CertsTesting
import Foundation

/// A request that HAProxy waits for the end of: its worker cannot leave.
final class HeldConnection {
    private let descriptor: Int32

    /// Sections for `RealHAProxy.start(global:)`, with a frontend at this socket.
    static func sections(socket: String) -> String {
        """

        frontend held
            mode http
            bind unix@\(socket)
            timeout client 120s
            http-request wait-for-body time 120s
            http-request return status 200
        """
    }

    init(to socket: String) throws {
        descriptor = try UnixSocket.connect(to: socket)
        UnixSocket.write("POST / HTTP/1.1\r\nHost: held\r\nContent-Length: 100\r\n\r\n".utf8, to: descriptor)
    }

    deinit { close(descriptor) }

    /// Waits, within bounds, until the worker has the request.
    static func waitUntilHeld(by haproxy: RealHAProxy) async throws {
        for _ in 0..<500 {
            if try haproxy.ask("show sess all").contains("frontend=held") { return }
            try await Task.sleep(for: .milliseconds(10))
        }
        throw NotHeld()
    }

    private struct NotHeld: Error {}
}
