internal import COpenSSL
package import CertsCore
import Foundation

/// A connection of a client whose handshake is done. For one thread; all calls block, up to their deadline.
package final class TLSConnection {
    private let socket: AcceptedSocket
    private let choice: ServerChoice
    private let session: OpenSSLObject
    /// Owned by the session.
    private let incoming: OpaquePointer
    private let outgoing: OpaquePointer
    private var hasEnded = false

    /// What the client asked for.
    package var hello: ClientHello { choice.hello }
    /// The protocol that was agreed on.
    package var applicationProtocol: String? { choice.identity?.applicationProtocol }

    /// Shakes hands.
    init(
        accepting socket: AcceptedSocket, context: TLSServerContext, limit: Deadline,
        choose: @escaping (ClientHello) -> TLSListener.Identity?
    ) throws(CertsError) {
        self.socket = socket
        choice = ServerChoice(choose)
        OpenSSLErrors.clear()
        session = try context.newSession(choice)
        guard let incoming = BIO_new(BIO_s_mem()) else { throw .openSSL(.openSSL, "no memory") }
        guard let outgoing = BIO_new(BIO_s_mem()) else {
            BIO_free(incoming)
            throw .openSSL(.openSSL, "no memory")
        }
        // The session owns both from here on. In memory, because OpenSSL's own socket BIO raises SIGPIPE.
        SSL_set_bio(session.pointer, incoming, outgoing)
        self.incoming = incoming
        self.outgoing = outgoing
        try shakeHands(limit: limit)
    }

    private func shakeHands(limit: Deadline) throws(CertsError) {
        var received = 0
        while true {
            OpenSSLErrors.clear()
            let result = SSL_do_handshake(session.pointer)
            let reason = SSL_get_error(session.pointer, result)
            let failure = result == 1 || reason == SSL_ERROR_WANT_READ ? nil : OpenSSLErrors.drain()
            // Also after a failure: the alert tells the client why.
            try flush(limit: limit)
            if let failure { throw Self.failed("the handshake failed: \(failure)") }
            if result == 1 { return }
            let bytes = try socket.receive(limit: limit)
            received += bytes.count
            guard !bytes.isEmpty, received <= Self.maximumHandshake else {
                throw Self.failed(bytes.isEmpty ? "the client left the handshake" : "the handshake is too long")
            }
            try feed(bytes)
        }
    }

    /// A client without certificate needs no more than a few kilobytes.
    private static let maximumHandshake = 1 << 17

    /// Waits for what the client sends; up to 16 KiB. Empty: the client has ended.
    /// - Throws: `listen.failed` at the deadline and for a connection that broke; `openssl`.
    package func read(within deadline: Duration) throws(CertsError) -> [UInt8] {
        let limit = Deadline(deadline)
        var buffer = [UInt8](repeating: 0, count: 16384)
        while !hasEnded {
            OpenSSLErrors.clear()
            var count = 0
            let result = SSL_read_ex(session.pointer, &buffer, buffer.count, &count)
            if result == 1 { return Array(buffer.prefix(count)) }
            let reason = SSL_get_error(session.pointer, result)
            let failure = OpenSSLErrors.drain()
            try flush(limit: limit)
            switch reason {
            case SSL_ERROR_WANT_READ:
                let bytes = try socket.receive(limit: limit)
                if bytes.isEmpty { hasEnded = true } else { try feed(bytes) }
            case SSL_ERROR_ZERO_RETURN: hasEnded = true
            default: throw Self.failed("the connection broke: \(failure)")
            }
        }
        return []
    }

    /// Sends all of `bytes`.
    /// - Throws: as ``read(within:)``.
    package func write(_ bytes: some Collection<UInt8>, within deadline: Duration) throws(CertsError) {
        let limit = Deadline(deadline)
        var rest = Array(bytes)[...]
        while !rest.isEmpty {
            OpenSSLErrors.clear()
            let part = Array(rest.prefix(16384))
            var count = 0
            // The buffer behind it grows, so it never has to wait.
            try CertsError.check(SSL_write_ex(session.pointer, part, part.count, &count), "cannot send")
            try flush(limit: limit)
            rest = rest.dropFirst(max(1, count))
        }
    }

    /// Ends the connection politely, as far as the client lets us. Nothing can be read or written then.
    package func close() {
        hasEnded = true
        OpenSSLErrors.clear()
        SSL_shutdown(session.pointer)
        OpenSSLErrors.clear()
        try? flush(limit: Deadline(.seconds(1)))
        socket.endWriting()
    }

    /// Ends the connection as a crash would, in the middle of whatever was sent.
    package func drop() {
        hasEnded = true
        socket.interrupt()
    }

    private func feed(_ bytes: [UInt8]) throws(CertsError) {
        guard BIO_write(incoming, bytes, Int32(bytes.count)) == Int32(bytes.count) else {
            throw .openSSL(.openSSL, "no memory")
        }
    }

    private func flush(limit: Deadline) throws(CertsError) {
        var start: UnsafeMutablePointer<CChar>?
        let count = certs_BIO_get_mem_data(outgoing, &start)
        guard count > 0, let start else { return }
        defer { certs_BIO_reset(outgoing) }
        try socket.send(UnsafeRawBufferPointer(start: start, count: count), limit: limit)
    }

    private static func failed(_ what: String) -> CertsError {
        CertsError(.listenFailed, what, hint: "look at the client", retry: .later)
    }
}
