import CertsCore
import Foundation
import Synchronization

/// A server on a loopback port, UDP and TCP, that answers whatever a test wants; it ends with its last reference.
final class FakeDNSServer: Sendable {
    /// What to send back for one message; each element is a message of its own.
    typealias Answers = @Sendable (_ query: [UInt8], _ isTCP: Bool) -> [[UInt8]]

    let address: SocketAddress
    private let datagrams: Int32
    private let stream: Int32
    private let counted: Received

    /// How many messages came, by way.
    private final class Received: Sendable {
        let udp = Atomic(0)
        let tcp = Atomic(0)
    }

    var udpQueries: Int { counted.udp.load(ordering: .relaxed) }
    var tcpQueries: Int { counted.tcp.load(ordering: .relaxed) }

    /// - Parameter fromElsewhere: whether datagrams come back from another port, as a forger's would.
    init(fromElsewhere: Bool = false, _ answers: @escaping Answers) throws {
        stream = try Self.bound(SOCK_STREAM, port: 0)
        let port = Self.port(of: stream)
        datagrams = try Self.bound(SOCK_DGRAM, port: port)
        guard listen(stream, 8) == 0, let address = SocketAddress("127.0.0.1:\(port)") else {
            throw POSIXError(.EADDRINUSE)
        }
        self.address = address
        counted = Received()
        let sender = try fromElsewhere ? Self.bound(SOCK_DGRAM, port: 0) : datagrams
        Thread.detachNewThread { [datagrams, counted] in Self.serveDatagrams(datagrams, sender, counted, answers) }
        Thread.detachNewThread { [stream, counted] in Self.serveStream(stream, counted, answers) }
    }

    deinit {
        // Wakes the threads, which close their sockets.
        shutdown(stream, Int32(SHUT_RDWR))
        shutdown(datagrams, Int32(SHUT_RDWR))
    }

    private static func serveDatagrams(_ socket: Int32, _ sender: Int32, _ counted: Received, _ answers: Answers) {
        defer {
            close(socket)
            if sender != socket { close(sender) }
        }
        var buffer = [UInt8](repeating: 0, count: 65535)
        while true {
            var peer = sockaddr_in()
            var size = socklen_t(MemoryLayout<sockaddr_in>.size)
            let count = withUnsafeMutablePointer(to: &peer) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { recvfrom(socket, &buffer, 65535, 0, $0, &size) }
            }
            guard count > 0 else { return }
            counted.udp.add(1, ordering: .relaxed)
            for answer in answers(Array(buffer.prefix(count)), false) {
                withUnsafePointer(to: &peer) {
                    $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                        _ = sendto(sender, answer, answer.count, 0, $0, size)
                    }
                }
            }
        }
    }

    private static func serveStream(_ socket: Int32, _ counted: Received, _ answers: Answers) {
        defer { close(socket) }
        while true {
            let connection = accept(socket, nil, nil)
            guard connection >= 0 else { return }
            defer { close(connection) }
            var header = [UInt8](repeating: 0, count: 2)
            guard recv(connection, &header, 2, Int32(MSG_WAITALL)) == 2 else { continue }
            var query = [UInt8](repeating: 0, count: Int(header[0]) << 8 | Int(header[1]))
            guard recv(connection, &query, query.count, Int32(MSG_WAITALL)) == query.count else { continue }
            counted.tcp.add(1, ordering: .relaxed)
            for answer in answers(query, true) {
                let framed = [UInt8(answer.count >> 8), UInt8(answer.count & 0xff)] + answer
                _ = send(connection, framed, framed.count, Int32(MSG_NOSIGNAL))
            }
        }
    }

    private static func bound(_ kind: __socket_type, port: Int) throws -> Int32 {
        let descriptor = socket(AF_INET, Int32(kind.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = UInt16(port).bigEndian
        address.sin_addr.s_addr = inet_addr("127.0.0.1")
        let code = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard code == 0 else { throw POSIXError(.EADDRINUSE) }
        return descriptor
    }

    private static func port(of descriptor: Int32) -> Int {
        var address = sockaddr_in()
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        _ = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(descriptor, $0, &size) }
        }
        return Int(UInt16(bigEndian: address.sin_port))
    }
}

/// Messages in bytes, written by hand.
enum Message {
    /// The question of a query as it stands in it, without what follows (EDNS).
    static func question(_ query: [UInt8]) -> [UInt8] {
        var index = 12
        while index < query.count, query[index] != 0 { index += Int(query[index]) + 1 }
        return Array(query[12..<min(query.count, index + 5)])
    }

    /// An answer to `query`: `answers` are whole records, whose names may point to byte 12.
    static func answer(
        _ query: [UInt8], code: UInt8 = 0, flags: UInt8 = 0x84, count: Int? = nil, _ answers: [[UInt8]] = []
    ) -> [UInt8] {
        let number = count ?? answers.count
        return [query[0], query[1], flags, 0x80 | code, 0, 1, UInt8(number >> 8), UInt8(number & 0xff), 0, 0, 0, 0]
            + question(query) + answers.joined()
    }

    /// A record for the name of the question.
    static func record(_ type: UInt16, _ fields: [UInt8]) -> [UInt8] {
        [0xc0, 12, UInt8(type >> 8), UInt8(type & 0xff), 0, 1, 0, 0, 0, 5, UInt8(fields.count >> 8)]
            + [UInt8(fields.count & 0xff)] + fields
    }

    static func text(_ text: String) -> [UInt8] { record(16, [UInt8(text.utf8.count)] + Array(text.utf8)) }
}
