import CertsCore
import Foundation

/// A client that says exactly what it is told to, on a socket of its own.
final class Client {
    /// `POLLRDHUP` of poll(2), which the C library shows with `_GNU_SOURCE` only: the other side has closed its half.
    private static let hungUp: Int32 = 0x2000

    private let descriptor: Int32

    init(_ port: Int) throws {
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = UInt16(port).bigEndian
        address.sin_addr.s_addr = inet_addr("127.0.0.1")
        let connected = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
            }
        }
        guard connected else { throw POSIXError(.ECONNREFUSED) }
    }

    deinit { close(descriptor) }

    /// `false` once the server has gone.
    @discardableResult
    func send(_ text: String) -> Bool {
        Array(text.utf8).withUnsafeBytes { Foundation.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
            >= 0
    }

    /// Everything until the server closes, at most for `seconds`.
    func readAll(seconds: Int = 10) -> String {
        var bytes: [UInt8] = []
        _ = isClosed(within: seconds, collect: { bytes += $0 })
        return String(decoding: bytes, as: UTF8.self)
    }

    /// Reads until the server closes; `meanwhile` runs about every 20 ms.
    func isClosed(within seconds: Int, meanwhile: () -> Void = {}, collect: ([UInt8]) -> Void = { _ in }) -> Bool {
        wait(seconds, POLLIN, meanwhile) {
            var buffer = [UInt8](repeating: 0, count: 65536)
            let count = recv(self.descriptor, &buffer, buffer.count, Int32(MSG_DONTWAIT))
            if count > 0 { collect(Array(buffer[..<count])) }
            return count == 0 || (count < 0 && errno != EAGAIN)
        }
    }

    /// Reads nothing, and waits until the connection is gone.
    func isReset(within seconds: Int, meanwhile: () -> Void = {}) -> Bool { wait(seconds, 0, meanwhile) { false } }

    private func wait(_ seconds: Int, _ events: Int32, _ meanwhile: () -> Void, _ isDone: () -> Bool) -> Bool {
        let end = ContinuousClock.now + .seconds(seconds)
        while ContinuousClock.now < end {
            var state = pollfd(fd: descriptor, events: Int16(events) | Int16(Self.hungUp), revents: 0)
            let ready = poll(&state, 1, 20)
            if ready > 0, events != 0, isDone() { return true }
            if ready > 0, events == 0, Int32(state.revents) & (POLLHUP | POLLERR | Self.hungUp) != 0 { return true }
            meanwhile()
        }
        return false
    }
}

/// Runs blocking work of a test: on the cooperative pool it would keep the server itself from running.
func blocking<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) async throws -> Value {
    try await BlockingPool.network.run(body)
}

/// Sends `text` on a connection of its own and returns everything that comes back.
func exchange(_ port: Int, _ text: String) async throws -> String {
    try await blocking {
        let client = try Client(port)
        client.send(text)
        return client.readAll()
    }
}
