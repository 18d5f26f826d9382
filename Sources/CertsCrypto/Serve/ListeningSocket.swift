import CertsCore
import Foundation

/// A TCP socket that listens, closed with its last reference.
final class ListeningSocket: Sendable {
    private let descriptor: Int32
    /// Where it really listens: with the port that the kernel chose, if it was asked to.
    let address: SocketAddress

    /// - Parameter address: port 0 lets the kernel choose.
    /// - Throws: `listen.inUse` where somebody else listens, `listen.failed`.
    init(_ address: SocketAddress) throws(CertsError) {
        let family = address.address.isIPv6 ? AF_INET6 : AF_INET
        let type = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_NONBLOCK.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        let descriptor = socket(family, type, Int32(IPPROTO_TCP))
        guard descriptor >= 0 else { throw Self.failure(address, errno) }
        do throws(CertsError) {
            var isOn: Int32 = 1
            // Connections of an earlier listener that are still dying out must not keep the port from us.
            setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &isOn, socklen_t(MemoryLayout<Int32>.size))
            guard Self.bind(descriptor, address), listen(descriptor, 256) == 0 else {
                throw Self.failure(address, errno)
            }
            self.address = SocketAddress(address: address.address, port: Self.port(of: descriptor))
            self.descriptor = descriptor
        } catch {
            close(descriptor)
            throw error
        }
    }

    deinit { close(descriptor) }

    /// Makes ``accept()`` end.
    func interrupt() { shutdown(descriptor, Int32(SHUT_RDWR)) }

    /// Waits for the next connection; `nil` after ``interrupt()``.
    func accept() -> AcceptedSocket? {
        while true {
            var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            let ready = poll(&entry, 1, -1)
            if ready < 0, errno != EINTR { return nil }
            guard ready > 0 else { continue }
            let client = Foundation.accept(descriptor, nil, nil)
            if client >= 0 {
                // `accept4`, which does both at once, is hidden from Swift. A child that is started in between inherits the
                // connection, but does not keep it open: it is shut down before it is closed.
                _ = fcntl(client, F_SETFD, FD_CLOEXEC)
                _ = fcntl(client, F_SETFL, O_NONBLOCK)
                return AcceptedSocket(owning: client)
            }
            switch errno {
            case EINVAL, EBADF: return nil
            // Out of descriptors or memory: others must let go first, and asking at once again would only spin.
            case EMFILE, ENFILE, ENOBUFS, ENOMEM: usleep(20_000)
            default: continue
            }
        }
    }

    private static func bind(_ descriptor: Int32, _ address: SocketAddress) -> Bool {
        let port = UInt16(truncatingIfNeeded: address.port).bigEndian
        let bytes = address.address.bytes
        if address.address.isIPv6 {
            var full = sockaddr_in6()
            full.sin6_family = sa_family_t(AF_INET6)
            full.sin6_port = port
            withUnsafeMutableBytes(of: &full.sin6_addr) { $0.copyBytes(from: bytes) }
            return bind(descriptor, &full)
        }
        var full = sockaddr_in()
        full.sin_family = sa_family_t(AF_INET)
        full.sin_port = port
        withUnsafeMutableBytes(of: &full.sin_addr) { $0.copyBytes(from: bytes) }
        return bind(descriptor, &full)
    }

    private static func bind<Address>(_ descriptor: Int32, _ address: inout Address) -> Bool {
        withUnsafeBytes(of: &address) { bytes in
            bytes.withMemoryRebound(to: sockaddr.self) { rebound in
                rebound.baseAddress.map { Foundation.bind(descriptor, $0, socklen_t(bytes.count)) == 0 } ?? false
            }
        }
    }

    private static func port(of descriptor: Int32) -> Int {
        var storage = sockaddr_storage()
        var size = socklen_t(MemoryLayout<sockaddr_storage>.size)
        let result = withUnsafeMutablePointer(to: &storage) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(descriptor, $0, &size) }
        }
        // The port lies at the same place in both families.
        return result == 0
            ? withUnsafeBytes(of: &storage) { Int($0[2]) << 8 | Int($0[3]) } : 0
    }

    private static func failure(_ address: SocketAddress, _ code: Int32) -> CertsError {
        let hint =
            switch code {
            case EADDRINUSE: "`ss -ltnp` shows who listens there; stop it, or listen on another address"
            case EACCES: "a port below 1024 needs CAP_NET_BIND_SERVICE; listen on a higher one, behind HAProxy"
            case EADDRNOTAVAIL: "this host does not have the address: `ip address` shows those that it has"
            default: "check the address"
            }
        return CertsError(
            code == EADDRINUSE ? .listenInUse : .listenFailed,
            "cannot listen on \(address): \(String(cString: strerror(code)))", subject: address.description, hint: hint,
            retry: .later)
    }
}
