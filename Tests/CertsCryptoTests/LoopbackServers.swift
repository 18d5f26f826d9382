import CertsCrypto
import CertsTesting
import Foundation

/// `openssl s_server` on a free loopback port, ended with its last reference.
final class OpenSSLServer {
    let port: Int
    private let process: Int32
    private let directory: TemporaryDirectory

    convenience init(_ identities: [TestPKI.Identity], chain: [Certificate] = [], _ options: String...) throws {
        try self.init(identities, chain: chain, options: options)
    }

    init(_ identities: [TestPKI.Identity], chain: [Certificate], options: [String]) throws {
        directory = try TemporaryDirectory()
        port = try LoopbackPort.reserve()
        var arguments = ["openssl", "s_server", "-accept", "127.0.0.1:\(port)", "-quiet", "-naccept", "1000"]
        for (index, identity) in identities.enumerated() {
            let prefix = index == 0 ? "-" : "-d"
            arguments += ["\(prefix)cert", try directory.write(identity.certificate.pem, to: "cert\(index).pem")]
            arguments += ["\(prefix)key", try directory.write(identity.keyPEM, to: "key\(index).pem")]
        }
        if !chain.isEmpty {
            arguments += ["-cert_chain", try directory.write(chain.map(\.pem).joined(), to: "chain.pem")]
        }
        process = try Tool.start(arguments + options)
        try LoopbackListener.waitUntilAccepting(port)
    }

    deinit {
        kill(process, SIGKILL)
        Tool.wait(for: process)
    }
}

/// A TCP server that treats each connection badly, on a thread of its own.
final class LoopbackListener: Sendable {
    enum Behaviour: String, Sendable, CaseIterable {
        case closesAtOnce, resets, closesAfterHello, hangs, hangsAfterHello, garbage, endlessGarbage, drips,
            endlessHandshake, plainHTTP
    }

    let port: Int
    private let descriptor: Int32

    init(_ behaviour: Behaviour) throws {
        (descriptor, port) = try Self.listen()
        let listener = descriptor
        Thread.detachNewThread {
            while case let connection = accept(listener, nil, nil), connection >= 0 {
                Thread.detachNewThread { Self.serve(connection, behaviour) }
            }
        }
    }

    deinit {
        shutdown(descriptor, Int32(SHUT_RDWR))
        close(descriptor)
    }

    private static func serve(_ connection: Int32, _ behaviour: Behaviour) {
        defer { close(connection) }
        // So that no thread outlives the tests, whatever the client does.
        var limit = timeval(tv_sec: 5, tv_usec: 0)
        setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        switch behaviour {
        case .closesAtOnce: break
        case .resets:
            var linger = linger(l_onoff: 1, l_linger: 0)
            setsockopt(connection, SOL_SOCKET, SO_LINGER, &linger, socklen_t(MemoryLayout<linger>.size))
        case .closesAfterHello: _ = readSome(connection)
        case .hangs: waitForClose(connection)
        case .hangsAfterHello:
            _ = readSome(connection)
            waitForClose(connection)
        case .garbage: _ = write(Array("SSH-2.0-OpenSSH_9.2p1\r\n".utf8), to: connection)
        case .plainHTTP:
            _ = readSome(connection)
            _ = write(Array("HTTP/1.1 400 Bad Request\r\n\r\n".utf8), to: connection)
        case .endlessGarbage:
            while write([UInt8](repeating: 0x41, count: 4096), to: connection) {}
        case .drips:
            // A record header that promises 16 KiB, then single bytes without end.
            _ = write([0x16, 3, 3, 0x40, 0], to: connection)
            while write([0], to: connection) { usleep(1000) }
        case .endlessHandshake:
            // Handshake records that carry HelloRequest messages, which a client skips.
            while write([0x16, 3, 3, 0, 4, 0, 0, 0, 0], to: connection) {}
        }
    }

    private static func readSome(_ connection: Int32) -> Int {
        var buffer = [UInt8](repeating: 0, count: 4096)
        return recv(connection, &buffer, buffer.count, 0)
    }

    private static func waitForClose(_ connection: Int32) { while readSome(connection) > 0 {} }

    private static func write(_ bytes: [UInt8], to connection: Int32) -> Bool {
        send(connection, bytes, bytes.count, Int32(MSG_NOSIGNAL)) > 0
    }

    private static func listen() throws -> (Int32, Int) {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let result = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { rebound in
                bind(descriptor, rebound, size) | Foundation.listen(descriptor, 16)
                    | getsockname(descriptor, rebound, &size)
            }
        }
        guard result == 0 else { throw POSIXError(.EADDRINUSE) }
        return (descriptor, Int(UInt16(bigEndian: address.sin_port)))
    }

    struct NotListening: Error {}

    static func waitUntilAccepting(_ port: Int) throws {
        for _ in 0..<500 {
            let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
            defer { close(descriptor) }
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
            address.sin_port = UInt16(port).bigEndian
            let result = withUnsafePointer(to: &address) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
                }
            }
            if result == 0 { return }
            usleep(20000)
        }
        throw NotListening()
    }
}
