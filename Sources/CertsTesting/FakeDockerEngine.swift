package import Foundation

/// A Unix socket where HTTP is spoken as a test says: a Docker Engine that misbehaves.
package final class FakeDockerEngine: Sendable {
    package let path: String
    private let listener: Int32

    /// - Parameters:
    ///   - path: of the socket.
    ///   - answer: gets the first line of each request; `nil`: no answer for ever. Called on a thread of the fake.
    package init(at path: String, answer: @escaping @Sendable (_ request: String) -> Data?) throws {
        self.path = path
        listener = try UnixSocket.listen(at: path)
        let descriptor = listener
        Thread.detachNewThread {
            while case let client = UnixSocket.accepted(descriptor), client >= 0 {
                Thread.detachNewThread {
                    defer { close(client) }
                    let request = UnixSocket.read(client, until: Self.isComplete)
                    let line = String(decoding: request, as: UTF8.self).prefix { !$0.isNewline }
                    guard let reply = answer(String(line)) else {
                        _ = UnixSocket.read(client)
                        return
                    }
                    UnixSocket.write(reply, to: client)
                }
            }
        }
    }

    deinit {
        shutdown(listener, Int32(SHUT_RDWR))
        close(listener)
    }

    /// The body too: where bytes are left unread, the end of the connection becomes an error of the client.
    private static func isComplete(_ bytes: [UInt8]) -> Bool {
        let text = String(decoding: bytes, as: UTF8.self)
        guard let end = text.range(of: "\r\n\r\n") else { return false }
        let length = text.range(of: "Content-Length: ").flatMap { Int(text[$0.upperBound...].prefix { $0.isNumber }) }
        return text[end.upperBound...].utf8.count >= length ?? 0
    }

    /// An answer with this body.
    package static func reply(_ body: String, status: String = "200 OK") -> Data {
        Data("HTTP/1.1 \(status)\r\nContent-Length: \(body.utf8.count)\r\nConnection: close\r\n\r\n\(body)".utf8)
    }
}
