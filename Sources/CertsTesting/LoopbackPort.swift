import Foundation
import Synchronization

/// TCP ports of the loopback for servers that tests start.
///
/// A port that was free a moment ago may be taken a moment later, and two HAProxys may even share one without a word
/// (`SO_REUSEPORT`): then a test talks to the server of another. So each port is reserved, across processes, until this
/// process ends, and lies below the range that the kernel gives to outgoing connections.
package enum LoopbackPort {
    /// The locks that keep the reserved ports; the kernel frees them with the process.
    private static let reserved = Mutex<[Int32]>([])

    package static func reserve() throws -> Int {
        let directory = "/tmp/certs-test-ports"
        mkdir(directory, 0o777)
        for _ in 0..<1000 {
            let port = Int.random(in: 20_000..<32_000)
            let lock = open("\(directory)/\(port)", O_CREAT | O_RDWR | O_CLOEXEC, 0o666)
            guard lock >= 0 else { throw POSIXError(.init(rawValue: errno) ?? .EIO) }
            if flock(lock, LOCK_EX | LOCK_NB) == 0, isFree(port) {
                reserved.withLock { $0.append(lock) }
                return port
            }
            close(lock)
        }
        throw POSIXError(.EADDRINUSE)
    }

    /// Whether somebody accepts connections there.
    package static func isServed(_ port: Int) -> Bool { UnixSocket.accepts(port: port) }

    private static func isFree(_ port: Int) -> Bool {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { return false }
        defer { close(descriptor) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = UInt16(port).bigEndian
        address.sin_addr.s_addr = inet_addr("127.0.0.1")
        return withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
            }
        }
    }
}
