import CertsCore
import Foundation

/// A connection that a client made to us, in non-blocking mode; closed with its last reference, so that another thread may
/// interrupt it without meeting a descriptor that was given to somebody else meanwhile.
final class AcceptedSocket: Sendable {
    private let descriptor: Int32

    /// Takes ownership of `descriptor`.
    init(owning descriptor: Int32) { self.descriptor = descriptor }

    deinit { close(descriptor) }

    /// Ends both directions: whoever waits for bytes sees the end.
    func interrupt() { shutdown(descriptor, Int32(SHUT_RDWR)) }

    /// Tells the client that nothing more comes.
    func endWriting() { shutdown(descriptor, Int32(SHUT_WR)) }

    /// Sends all of `bytes`.
    func send(_ bytes: UnsafeRawBufferPointer, limit: Deadline) throws(CertsError) {
        var sent = 0
        while sent < bytes.count {
            let rest = UnsafeRawBufferPointer(rebasing: bytes[sent...])
            // MSG_NOSIGNAL: a client that has gone is an error here, not a SIGPIPE that ends the process.
            let count = Foundation.send(descriptor, rest.baseAddress, rest.count, Int32(MSG_NOSIGNAL))
            if count >= 0 {
                sent += count
            } else if errno == EAGAIN || errno == EWOULDBLOCK {
                try wait(POLLOUT, limit)
            } else if errno != EINTR {
                throw Self.broken(errno)
            }
        }
    }

    /// Waits for bytes; up to 16 KiB of them. Empty: the client has ended.
    func receive(limit: Deadline) throws(CertsError) -> [UInt8] {
        while true {
            // Before each read: a client that drips bytes must not get past the deadline.
            if limit.isOver { throw Self.tooSlow }
            var count = 0
            let buffer = [UInt8](unsafeUninitializedCapacity: 16384) { space, used in
                count = recv(descriptor, space.baseAddress, space.count, 0)
                used = max(0, count)
            }
            if count >= 0 { return buffer }
            if errno == EAGAIN || errno == EWOULDBLOCK {
                try wait(POLLIN, limit)
            } else if errno != EINTR {
                throw Self.broken(errno)
            }
        }
    }

    private func wait(_ events: Int32, _ limit: Deadline) throws(CertsError) {
        while true {
            var entry = pollfd(fd: descriptor, events: Int16(events), revents: 0)
            let ready = poll(&entry, 1, limit.milliseconds)
            if ready > 0 { return }
            if ready == 0, limit.isOver { throw Self.tooSlow }
            if ready < 0, errno != EINTR { throw Self.broken(errno) }
        }
    }

    private static var tooSlow: CertsError {
        CertsError(.listenFailed, "the client was too slow", hint: "look at the client", retry: .later)
    }

    private static func broken(_ code: Int32) -> CertsError {
        CertsError(
            .listenFailed, "the connection of the client broke: \(String(cString: strerror(code)))",
            hint: "look at the client", retry: .later)
    }
}
