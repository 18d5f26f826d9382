import CertsCore
import Foundation

/// A socket to one server, with one deadline for everything. Blocking: only on a thread of ``BlockingPool``.
struct Connection: ~Copyable {
    enum Problem: Error {
        case timeout
        case unreachable(String)
        case noRoute(String)
        case malformed
    }

    private let descriptor: Int32
    private let deadline: ContinuousClock.Instant

    /// A connected UDP socket hears nobody but the server that it asked.
    static func udp(to server: SocketAddress, deadline: ContinuousClock.Instant) throws(Problem) -> Connection {
        try Connection(server, Int32(SOCK_DGRAM.rawValue), deadline)
    }

    static func tcp(to server: SocketAddress, deadline: ContinuousClock.Instant) throws(Problem) -> Connection {
        try Connection(server, Int32(SOCK_STREAM.rawValue), deadline)
    }

    private init(_ server: SocketAddress, _ kind: Int32, _ deadline: ContinuousClock.Instant) throws(Problem) {
        let family = server.address.isIPv6 ? AF_INET6 : AF_INET
        let flags = Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue)
        descriptor = socket(family, kind | flags, 0)
        self.deadline = deadline
        guard descriptor >= 0 else { throw Self.problem(errno) }
        let code = server.withSocketAddress { connect(descriptor, $0, $1) } == 0 ? 0 : errno
        guard code != 0 else { return }
        guard code == EINPROGRESS else { throw Self.problem(code) }
        try wait(for: POLLOUT)
        var pending: Int32 = 0
        var size = socklen_t(MemoryLayout<Int32>.size)
        getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &pending, &size)
        guard pending == 0 else { throw Self.problem(pending) }
    }

    deinit { if descriptor >= 0 { close(descriptor) } }

    /// Sends one datagram.
    func send(datagram: [UInt8]) throws(Problem) {
        guard Foundation.send(descriptor, datagram, datagram.count, Int32(MSG_NOSIGNAL)) == datagram.count else {
            throw Self.problem(errno)
        }
    }

    /// The next datagram.
    func receiveDatagram() throws(Problem) -> [UInt8] {
        try receive(atMost: 65535)
    }

    /// Sends one message with its length before it (RFC 1035 §4.2.2).
    func send(message: [UInt8]) throws(Problem) {
        guard let length = UInt16(exactly: message.count) else { throw .malformed }
        var rest = [UInt8(length >> 8), UInt8(length & 0xff)] + message
        while !rest.isEmpty {
            try wait(for: POLLOUT)
            let count = Foundation.send(descriptor, rest, rest.count, Int32(MSG_NOSIGNAL))
            if count < 0, errno == EAGAIN || errno == EINTR { continue }
            guard count > 0 else { throw Self.problem(errno) }
            rest.removeFirst(count)
        }
    }

    /// One message: at most 65535 bytes, as its length says.
    func receiveMessage() throws(Problem) -> [UInt8] {
        let length = try receive(exactly: 2)
        return try receive(exactly: Int(length[0]) << 8 | Int(length[1]))
    }

    private func receive(exactly count: Int) throws(Problem) -> [UInt8] {
        var bytes: [UInt8] = []
        while bytes.count < count {
            let more = try receive(atMost: count - bytes.count)
            // The other side closed in the middle.
            guard !more.isEmpty else { throw .malformed }
            bytes += more
        }
        return bytes
    }

    private func receive(atMost limit: Int) throws(Problem) -> [UInt8] {
        var buffer = [UInt8](repeating: 0, count: limit)
        while true {
            try wait(for: POLLIN)
            let count = recv(descriptor, &buffer, limit, 0)
            if count >= 0 { return Array(buffer.prefix(count)) }
            guard errno == EAGAIN || errno == EINTR else { throw Self.problem(errno) }
        }
    }

    private func wait(for event: Int32) throws(Problem) {
        while true {
            let left = ContinuousClock.now.duration(to: deadline)
            guard left > .zero else { throw .timeout }
            let milliseconds =
                min(left.components.seconds, 3600) * 1000 + left.components.attoseconds / 1_000_000_000_000_000
            var entry = pollfd(fd: descriptor, events: Int16(event), revents: 0)
            let ready = poll(&entry, 1, Int32(milliseconds) + 1)
            if ready > 0 { return }
            if ready < 0, errno != EINTR { throw Self.problem(errno) }
        }
    }

    private static func problem(_ code: Int32) -> Problem {
        let words = String(cString: strerror(code))
        switch code {
        case ENETUNREACH, EADDRNOTAVAIL, EAFNOSUPPORT, EACCES, EPERM: return .noRoute(words)
        default: return .unreachable(words)
        }
    }
}

extension SocketAddress {
    /// Lends the address in the form of the kernel.
    fileprivate func withSocketAddress<Result>(_ body: (UnsafePointer<sockaddr>, socklen_t) -> Result) -> Result {
        let port = UInt16(truncatingIfNeeded: port).bigEndian
        if address.isIPv6 {
            var value = sockaddr_in6()
            value.sin6_family = sa_family_t(AF_INET6)
            value.sin6_port = port
            withUnsafeMutableBytes(of: &value.sin6_addr) { $0.copyBytes(from: address.bytes) }
            return Self.lend(&value, body)
        }
        var value = sockaddr_in()
        value.sin_family = sa_family_t(AF_INET)
        value.sin_port = port
        withUnsafeMutableBytes(of: &value.sin_addr) { $0.copyBytes(from: address.bytes) }
        return Self.lend(&value, body)
    }

    private static func lend<Value, Result>(
        _ value: inout Value, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Result
    ) -> Result {
        withUnsafePointer(to: &value) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, socklen_t(MemoryLayout<Value>.size)) }
        }
    }
}
