import CertsCore
import CertsStore
import CertsTesting
import Foundation
import Logging
import Testing

@testable import CertsCrypto
@testable import CertsIssuers

/// A state directory, a port of the loopback and proofs for it.
struct ChallengeScene: Sendable {
    let directory: TemporaryDirectory
    let state: StateDirectory
    let address: SocketAddress
    static let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

    init() async throws {
        directory = try TemporaryDirectory()
        state = try await StateDirectory.open(at: directory.path("state"), create: true)
        address = try Self.address(LoopbackPort.reserve())
    }

    static func address(_ port: Int) throws -> SocketAddress {
        try #require(SocketAddress("127.0.0.1:\(port)"))
    }

    /// The same directory as another process opens it.
    func secondState() async throws -> StateDirectory { try await StateDirectory.open(at: state.path, create: false) }

    /// The names of the files that show proofs of a type.
    func files(_ type: ChallengeType) -> [String] {
        let path = "\(state.path)/challenges/\(type.rawValue)"
        return ((try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []).filter { !$0.hasPrefix(".") }
    }

    func selfCheck(timeout: TimeInterval = 10) -> SelfCheck { SelfCheck(address: address, timeout: timeout) }

    func http(
        _ method: ChallengeDeclaration.HTTP01? = nil, files: StateDirectory? = nil,
        listeners: ChallengeListeners = .shared, selfCheck: SelfCheck? = nil
    ) -> HTTP01Solver {
        HTTP01Solver(
            method ?? .listen(address), names: [], selfCheck: selfCheck ?? self.selfCheck(), files: files ?? state,
            listeners: listeners, logger: Self.logger)
    }

    func tls(
        files: StateDirectory? = nil, listeners: ChallengeListeners = .shared, selfCheck: SelfCheck? = nil,
        patience: Duration = .seconds(30)
    ) -> TLSALPN01Solver {
        TLSALPN01Solver(
            listen: address, names: [], selfCheck: selfCheck ?? self.selfCheck(), files: files ?? state,
            listeners: listeners, patience: patience, logger: Self.logger)
    }

    static func proof(
        _ type: ChallengeType, _ identifier: AlternativeName = .dns("www.example.com"), token: String? = nil
    ) -> ChallengeProof {
        let token = token ?? Hex.encode((0..<16).map { _ in UInt8.random(in: 0...255) })
        return ChallengeProof(
            type: type, identifier: identifier, isWildcard: false, token: token,
            keyAuthorization: "\(token).9jg46WB3rR_AHD-EBXdN7cBkH1WOu0tA3M9fm21mqTI",
            accountURL: "https://ca.example.com/account/1")
    }

    /// One request, byte by byte, and everything that comes back until the end of the connection.
    static func exchange(_ request: String, at address: SocketAddress) async throws -> String {
        try await exchange(Array(request.utf8), at: address)
    }

    static func exchange(_ request: [UInt8], at address: SocketAddress) async throws -> String {
        try await BlockingPool.network.run {
            let client = LoopbackClient(port: address.port)
            client.send(request)
            return String(decoding: client.readToEnd(), as: UTF8.self)
        }
    }
}

/// A TCP client that says exactly what it is told to; at most ten seconds are waited for the other side.
final class LoopbackClient: Sendable {
    private let descriptor: Int32
    let isConnected: Bool

    init(port: Int) {
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        var limit = timeval(tv_sec: 10, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        address.sin_port = UInt16(truncatingIfNeeded: port).bigEndian
        let (client, size) = (descriptor, socklen_t(MemoryLayout<sockaddr_in>.size))
        isConnected = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { connect(client, $0, size) == 0 }
        }
    }

    deinit { close(descriptor) }

    /// `false` once the server has gone.
    @discardableResult
    func send(_ bytes: [UInt8]) -> Bool {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes {
                Foundation.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            guard count > 0 else { return false }
            rest = rest.dropFirst(count)
        }
        return true
    }

    func readToEnd() -> [UInt8] {
        var result: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 4096)
        while case let count = recv(descriptor, &buffer, buffer.count, 0), count > 0, result.count < 1 << 20 {
            result += buffer.prefix(count)
        }
        return result
    }
}

/// A plain HTTP server of a test that answers each connection as it is told, until it is released.
final class ScriptedHTTP: Sendable {
    private let listening: ListeningSocket
    let address: SocketAddress

    /// - Parameter answer: from the header of the request to the whole response.
    init(_ answer: @escaping @Sendable (String) -> String) throws {
        listening = try ListeningSocket(try ChallengeScene.address(LoopbackPort.reserve()))
        address = listening.address
        Thread.detachNewThread { [listening] in
            while let connection = listening.accept() {
                Thread.detachNewThread {
                    let limit = Deadline(.seconds(10))
                    var request = ""
                    while !request.contains("\r\n\r\n") {
                        guard let bytes = try? connection.receive(limit: limit), !bytes.isEmpty else { return }
                        request += String(decoding: bytes, as: UTF8.self)
                    }
                    try? Array(answer(request).utf8).withUnsafeBytes { try connection.send($0, limit: limit) }
                    connection.endWriting()
                }
            }
        }
    }

    deinit { listening.interrupt() }

    static func response(_ status: Int, _ body: String, _ fields: String...) -> String {
        let head = ["HTTP/1.1 \(status) Status", "Content-Length: \(body.utf8.count)", "Connection: close"] + fields
        return head.joined(separator: "\r\n") + "\r\n\r\n" + body
    }
}
