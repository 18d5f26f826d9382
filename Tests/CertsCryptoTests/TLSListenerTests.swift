import CertsCore
import CertsTesting
import Foundation
import Testing

@testable import CertsCrypto

@Suite struct TLSListenerTests {
    static let loopback = SocketAddress("127.0.0.1:1").map { SocketAddress(address: $0.address, port: 0) }
    static let pki = Result { try TestPKI() }

    /// Shows `a.example.com` and `b.example.com` their own certificates, with `acme-tls/1` where it is offered.
    struct Site {
        let listener: TLSListener
        let a: TestPKI.Identity
        let b: TestPKI.Identity

        init(limits: TLSListener.Limits = .init()) throws {
            let pki = try TLSListenerTests.pki.get()
            let (a, b) = (try pki.leaf(["a.example.com"]), try pki.leaf(["b.example.com"]))
            (self.a, self.b) = (a, b)
            let chain = [pki.intermediate.certificate]
            listener = try TLSListener(try #require(TLSListenerTests.loopback), limits: limits) { hello in
                let known = ["a.example.com": a, "b.example.com": b]
                guard let identity = hello.serverName.flatMap({ known[$0] }) else { return nil }
                return TLSListener.Identity(
                    chain: [identity.certificate] + chain, key: identity.key,
                    applicationProtocol: hello.protocols.contains("acme-tls/1") ? "acme-tls/1" : nil)
            } handle: { connection in
                guard let bytes = try? connection.read(within: .seconds(5)) else { return }
                try? connection.write(
                    Array("\(connection.applicationProtocol ?? "none") ".utf8) + bytes, within: .seconds(5))
            }
        }

        func probe(_ name: String?) async throws -> ProbeResult {
            let port = listener.address.port
            return try await BlockingPool.network.run {
                try TLSProbe(host: "127.0.0.1", port: port, serverName: name).run()
            }
        }
    }

    @Test func answersEachNameWithItsOwnChain() async throws {
        let site = try Site()
        let first = try await site.probe("a.example.com")
        #expect(first.leaf == site.a.certificate && first.chain.count == 2)
        #expect(try await site.probe("B.example.COM").leaf == site.b.certificate)
        withExtendedLifetime(site) {}
    }

    @Test(arguments: ["other.example.com", nil]) func refusesWhatIsNotChosen(_ name: String?) async throws {
        let site = try Site()
        await #expect(throws: CertsError(.probeFailed, "")) { try await site.probe(name) }
        #expect(try await site.probe("a.example.com").leaf == site.a.certificate, "it goes on")
        withExtendedLifetime(site) {}
    }

    @Test(arguments: ["-tls1_2", "-tls1_3"]) func agreesOnTheProtocolAndCarriesBytes(_ version: String) async throws {
        let site = try Site()
        let port = site.listener.address.port
        func talk(_ options: [String]) async throws -> String {
            let command =
                "printf hello | timeout 20 openssl s_client -quiet -connect 127.0.0.1:\(port) "
                + "-servername a.example.com \(version) \(options.joined(separator: " ")) 2>&1"
            return try await BlockingPool.network.run { try Tool.run("sh", "-c", command).output }
        }
        #expect(try await talk(["-alpn", "h2,acme-tls/1"]).contains("acme-tls/1 hello"))
        #expect(try await talk([]).contains("none hello"))
        withExtendedLifetime(site) {}
    }

    @Test func anOldVersionIsRefused() async throws {
        let site = try Site()
        let port = site.listener.address.port
        let outcome = try await BlockingPool.network.run {
            try Tool.run(
                "openssl", "s_client", "-connect", "127.0.0.1:\(port)", "-servername", "a.example.com", "-tls1_1",
                "-cipher", "ALL:@SECLEVEL=0")
        }
        #expect(outcome.status != 0)
        withExtendedLifetime(site) {}
    }

    @Test func aHundredTogetherAreAllServed() async throws {
        let site = try Site()
        let results = await concurrently(Array(0..<100), width: 32) { index in
            try? await site.probe(index.isMultiple(of: 2) ? "a.example.com" : "b.example.com")
        }
        let right = results.enumerated().filter { index, result in
            result?.leaf == (index.isMultiple(of: 2) ? site.a : site.b).certificate
        }
        #expect(right.count == 100)
    }

    @Test func clientsThatSayNothingKeepNobodyOut() async throws {
        let site = try Site(limits: .init(connections: 8, handshake: .seconds(60)))
        let silent = (0..<40).map { _ in RawClient(port: site.listener.address.port) }
        #expect(silent.allSatisfy { $0.isConnected })
        for name in ["a.example.com", "b.example.com"] {
            #expect(try await site.probe(name).chain.count == 2)
        }
        withExtendedLifetime((site, silent)) {}
    }

    @Test func aSlowHandshakeEndsAtItsDeadline() async throws {
        let site = try Site(limits: .init(handshake: .milliseconds(300)))
        let port = site.listener.address.port
        let took = try await BlockingPool.network.run {
            let client = RawClient(port: port)
            // The header of a record that never comes.
            client.send([0x16, 3, 1, 0x40, 0])
            return try #require(client.timeUntilEnd(atMost: 10))
        }
        #expect(took < 5)
        withExtendedLifetime(site) {}
    }

    enum Garbage: CaseIterable {
        case plainHTTP, zeros, ones, oldHello, nothing

        var bytes: [UInt8] {
            switch self {
            case .plainHTTP: Array("GET / HTTP/1.1\r\nHost: a\r\n\r\n".utf8)
            case .zeros: [UInt8](repeating: 0, count: 100_000)
            case .ones: [UInt8](repeating: 0xff, count: 100_000)
            case .oldHello: [0x80, 0x2e, 1, 3, 1]
            case .nothing: []
            }
        }
    }

    @Test(arguments: Garbage.allCases) func garbageEndsTheConnectionAndNothingElse(_ garbage: Garbage) async throws {
        let site = try Site(limits: .init(handshake: .seconds(1)))
        let port = site.listener.address.port
        let took = try await BlockingPool.network.run {
            let client = RawClient(port: port)
            client.send(garbage.bytes)
            return try #require(client.timeUntilEnd(atMost: 10))
        }
        #expect(took < 8)
        #expect(try await site.probe("a.example.com").leaf == site.a.certificate)
        withExtendedLifetime(site) {}
    }

    @Test func whatEndsIsFreeAtOnce() async throws {
        let first = try Site()
        let address = first.listener.address
        let client = RawClient(port: address.port)
        #expect(throws: CertsError(.listenInUse, "")) {
            try TLSListener(address) { _ in
                nil
            } handle: { _ in
            }
        }
        first.listener.stop()
        first.listener.stop()
        let second = try TLSListener(address) { _ in
            nil
        } handle: { _ in
        }
        #expect(second.address == address)
        #expect(client.timeUntilEnd(atMost: 5) != nil)
    }

    @Test func anAddressOfAnotherHostIsRefused() throws {
        let other = try #require(SocketAddress("192.0.2.1:4433"))
        #expect(throws: CertsError(.listenFailed, "")) {
            try TLSListener(other) { _ in
                nil
            } handle: { _ in
            }
        }
    }

    @Test func aHelloIsReadWithinItsBounds() {
        func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }
        let name: [UInt8] = [0, 14, 0, 0, 11] + bytes("example.COM")
        #expect(ClientHello.serverName(in: name) == "example.com")
        #expect(ClientHello.serverName(in: Array(name.dropLast())) == nil)
        #expect(ClientHello.serverName(in: [0, 8, 0, 0, 5] + bytes("a\u{1b}[1m")) == nil)
        #expect(ClientHello.serverName(in: []) == nil)
        #expect(ClientHello.protocols(in: [0, 3, 2] + bytes("h2")) == ["h2"])
        #expect(ClientHello.protocols(in: [0, 3, 9] + bytes("h2")) == [])
        #expect(ClientHello.protocols(in: [0xff, 0xff, 2] + bytes("h2")) == [])
    }
}

/// A TCP client without TLS.
final class RawClient: Sendable {
    private let descriptor: Int32
    let isConnected: Bool

    init(port: Int) {
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
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

    func send(_ bytes: [UInt8]) { _ = Foundation.send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL)) }

    /// Seconds until the server ended the connection; `nil`: it did not.
    func timeUntilEnd(atMost seconds: Int) -> Double? {
        var limit = timeval(tv_sec: seconds, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        let start = ContinuousClock.now
        var buffer = [UInt8](repeating: 0, count: 4096)
        var count = 0
        repeat { count = recv(descriptor, &buffer, buffer.count, 0) } while count > 0
        if count < 0, errno == EAGAIN { return nil }
        return (ContinuousClock.now - start) / .seconds(1)
    }
}
