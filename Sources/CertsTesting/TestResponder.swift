package import Foundation
import Synchronization

/// An OCSP responder on a loopback port, behaving well or badly; the command's own server would listen on every address.
///
/// It listens until the test process ends: the optimiser may release a server before the last use of its address.
package final class TestResponder: Sendable {
    package struct Request: Sendable {
        /// Request line and header fields, as they came.
        package let head: String
        package let body: Data
    }

    package enum Behaviour: Sendable {
        /// What it returns is sent as an OCSP response.
        case answers(@Sendable (Request) throws -> Data)
        /// A page with the status 200, as from the login of a hotel.
        case page
        /// A body of so many bytes.
        case flood(Int)
        case status(Int)
        case hangs
        case closes
    }

    /// `http://127.0.0.1:PORT/ocsp`.
    package let url: String
    private let received = Mutex<[Request]>([])

    package var requests: [Request] { received.withLock { $0 } }

    package init(_ behaviour: Behaviour) throws {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = inet_addr("127.0.0.1")
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let result = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, size) | listen(descriptor, 16) | getsockname(descriptor, $0, &size)
            }
        }
        guard result == 0 else { throw POSIXError(.EADDRINUSE) }
        url = "http://127.0.0.1:\(UInt16(bigEndian: address.sin_port))/ocsp"
        Thread.detachNewThread { [self] in
            while case let connection = accept(descriptor, nil, nil), connection >= 0 {
                Thread.detachNewThread { [self] in serve(connection, behaviour) }
            }
        }
    }

    private func serve(_ connection: Int32, _ behaviour: Behaviour) {
        defer { close(connection) }
        // So that no thread outlives the tests, whatever the client does.
        var limit = timeval(tv_sec: 30, tv_usec: 0)
        setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        guard let request = Self.read(connection) else { return }
        received.withLock { $0.append(request) }
        switch behaviour {
        case .answers(let answer):
            // An answer that cannot be made is seen by the client as a connection that breaks.
            guard let body = try? answer(request) else { return }
            Self.send(connection, 200, "application/ocsp-response", body)
        case .page: Self.send(connection, 200, "text/html", Data("<html>Welcome. Please log in.</html>".utf8))
        case .flood(let count): Self.send(connection, 200, "application/ocsp-response", Data(count: count))
        case .status(let status): Self.send(connection, status, "text/plain", Data("no".utf8))
        case .hangs:
            var byte: UInt8 = 0
            while recv(connection, &byte, 1, 0) > 0 {}
        case .closes: break
        }
    }

    private static func read(_ connection: Int32) -> Request? {
        var bytes = Data()
        var buffer = [UInt8](repeating: 0, count: 4096)
        while bytes.count < 1 << 20 {
            let count = recv(connection, &buffer, buffer.count, 0)
            guard count > 0 else { return nil }
            bytes.append(contentsOf: buffer[..<count])
            guard let end = bytes.firstRange(of: Data("\r\n\r\n".utf8)) else { continue }
            let head = String(decoding: bytes[..<end.lowerBound], as: UTF8.self)
            let length = head.lowercased().firstRange(of: "content-length: ").flatMap {
                Int(head[$0.upperBound...].prefix { $0.isNumber })
            }
            let body = bytes[end.upperBound...]
            if body.count >= length ?? 0 { return Request(head: head, body: Data(body)) }
        }
        return nil
    }

    private static func send(_ connection: Int32, _ status: Int, _ type: String, _ body: Data) {
        // A redirect leads nowhere: nobody may follow it.
        let head =
            "HTTP/1.1 \(status) Status\r\nContent-Type: \(type)\r\nContent-Length: \(body.count)\r\n"
            + "Location: http://127.0.0.1:1/\r\nConnection: close\r\n\r\n"
        var rest = ArraySlice(Array(head.utf8) + body)
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes {
                Foundation.send(connection, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            guard count > 0 else { return }
            rest = rest.dropFirst(count)
        }
    }
}
