import CertsCore
import Foundation

/// One deadline over several waits, by the monotonic clock.
struct Deadline: Sendable {
    private let start = ContinuousClock.now
    private let end: ContinuousClock.Instant

    init(_ duration: Duration) { end = start.advanced(by: duration) }

    private init(end: ContinuousClock.Instant) { self.end = end }

    /// Seconds since it was set.
    var elapsed: TimeInterval { (ContinuousClock.now - start) / .seconds(1) }

    var isOver: Bool { ContinuousClock.now >= end }

    /// For `poll`, rounded up so that it never spins; 0 when over.
    var milliseconds: Int32 {
        let left = (end - ContinuousClock.now) / .milliseconds(1)
        return left <= 0 ? 0 : Int32(min(left.rounded(.up), 1_000_000_000))
    }

    /// An equal share of what is left, for the first of `count` attempts.
    func share(of count: Int) -> Deadline {
        let left = end - ContinuousClock.now
        return Deadline(end: .now.advanced(by: left / max(1, count)))
    }

    static func timeout(_ what: String) -> CertsError {
        CertsError(
            .probeTimeout, "\(what) before the deadline", hint: "see whether it is reachable and not overloaded",
            retry: .later)
    }
}

/// A connected TCP socket in non-blocking mode, closed with its scope.
struct SocketConnection: ~Copyable {
    private let descriptor: Int32
    /// The numeric address of the peer.
    let address: String

    /// Tries the addresses of `host` in the resolver's order; each gets an equal share of the time that is left.
    init(host: String, port: Int, limit: Deadline) throws(CertsError) {
        guard let port = UInt16(exactly: port), port > 0 else {
            throw CertsError(.probeUnreachable, "\(port) is not a port", hint: "use 1 to 65535")
        }
        let addresses = try Resolution.addresses(of: host, port: port, limit: limit)
        var last = CertsError(.probeUnreachable, "the name has no address", hint: "check the name")
        for (index, address) in addresses.enumerated() {
            if limit.isOver { throw Deadline.timeout("no connection") }
            do throws(CertsError) {
                descriptor = try Self.connect(address, limit: limit.share(of: addresses.count - index))
                self.address = address.text
                return
            } catch {
                last = error
            }
        }
        throw last
    }

    deinit { close(descriptor) }

    private static func connect(_ address: Resolution.Address, limit: Deadline) throws(CertsError) -> Int32 {
        let type = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_NONBLOCK.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        let descriptor = socket(address.family, type, Int32(IPPROTO_TCP))
        guard descriptor >= 0 else { throw failure("no socket", errno, as: .probeUnreachable) }
        let result = address.bytes.withUnsafeBytes { bytes in
            bytes.withMemoryRebound(to: sockaddr.self) { rebound in
                rebound.baseAddress.map { Foundation.connect(descriptor, $0, socklen_t(bytes.count)) } ?? -1
            }
        }
        do throws(CertsError) {
            if result != 0 {
                guard errno == EINPROGRESS || errno == EINTR else {
                    throw failure("cannot connect to \(address.text)", errno, as: .probeUnreachable)
                }
                try wait(descriptor, POLLOUT, limit, "no connection to \(address.text)")
                var code: Int32 = 0
                var size = socklen_t(MemoryLayout<Int32>.size)
                guard getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &code, &size) == 0 else {
                    throw failure("cannot connect to \(address.text)", errno, as: .probeUnreachable)
                }
                if code != 0 { throw failure("cannot connect to \(address.text)", code, as: .probeUnreachable) }
            }
            return descriptor
        } catch {
            close(descriptor)
            throw error
        }
    }

    /// Sends all of `bytes`.
    func send(_ bytes: UnsafeRawBufferPointer, limit: Deadline) throws(CertsError) {
        var sent = 0
        while sent < bytes.count {
            let rest = UnsafeRawBufferPointer(rebasing: bytes[sent...])
            // MSG_NOSIGNAL: a peer that has closed is an error here, not a SIGPIPE that ends the process.
            let count = Foundation.send(descriptor, rest.baseAddress, rest.count, Int32(MSG_NOSIGNAL))
            if count >= 0 {
                sent += count
            } else if errno == EAGAIN || errno == EWOULDBLOCK {
                try Self.wait(descriptor, POLLOUT, limit, "the server did not read the handshake")
            } else if errno != EINTR {
                throw Self.failure("the connection broke in the handshake", errno)
            }
        }
    }

    /// Waits for bytes; up to 16 KiB of them.
    func receive(limit: Deadline) throws(CertsError) -> [UInt8] {
        while true {
            // Before each read: a peer that drips bytes must not get past the deadline.
            if limit.isOver { throw Deadline.timeout("the server did not finish the handshake") }
            var count = 0
            let buffer = [UInt8](unsafeUninitializedCapacity: 16384) { space, used in
                count = recv(descriptor, space.baseAddress, space.count, 0)
                used = max(0, count)
            }
            if count > 0 { return buffer }
            if count == 0 {
                throw CertsError(
                    .probeFailed, "the server closed the connection in the handshake", hint: "see the server's log",
                    retry: .later)
            }
            if errno == EAGAIN || errno == EWOULDBLOCK {
                try Self.wait(descriptor, POLLIN, limit, "the server did not finish the handshake")
            } else if errno != EINTR {
                throw Self.failure("the connection broke in the handshake", errno)
            }
        }
    }

    private static func wait(_ descriptor: Int32, _ events: Int32, _ limit: Deadline, _ what: String) throws(CertsError)
    {
        while true {
            var entry = pollfd(fd: descriptor, events: Int16(events), revents: 0)
            let ready = poll(&entry, 1, limit.milliseconds)
            if ready > 0 { return }
            if ready == 0, limit.isOver { throw Deadline.timeout(what) }
            if ready < 0, errno != EINTR { throw failure(what, errno) }
        }
    }

    private static func failure(
        _ what: String, _ code: Int32, as kind: CertsError.Code = .probeFailed
    ) -> CertsError {
        CertsError(
            kind, "\(what): \(String(cString: strerror(code)))",
            hint: code == ECONNREFUSED
                ? "see whether the server runs and listens there" : "check address, port and network",
            retry: .later)
    }
}
