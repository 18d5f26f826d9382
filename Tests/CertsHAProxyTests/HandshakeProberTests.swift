import CertsCore
import CertsCrypto
import CertsHAProxy
import CertsTesting
import Foundation
import Synchronization
import Testing

@Suite struct HandshakeProberTests {
    @Test func aLookAtManyEndpointsSeesEachOnce() async throws {
        let pki = try TestPKI()
        let leaves = try (0..<3).map { try pki.leaf(["host-\($0).example.com"]) }
        let loopback = try #require(SocketAddress("127.0.0.1:1"))
        let listener = try TLSListener(SocketAddress(address: loopback.address, port: 0)) { hello in
            leaves.first { $0.certificate.record.dnsNames.first == hello.serverName }.map {
                TLSListener.Identity(chain: [$0.certificate, pki.intermediate.certificate], key: $0.key)
            }
        } handle: { _ in
        }
        defer { listener.stop() }
        let closed = try LoopbackPort.reserve()
        let endpoints = (0..<60).map { index in
            Endpoint(
                host: "127.0.0.1", port: index % 6 == 5 ? closed : listener.address.port,
                serverName: "host-\(index % 4).example.com")
        }
        let seen = Mutex<[Int: [Result<SentChain, CertsError>]]>([:])
        await HandshakeProber().look(at: endpoints, width: 4, deadline: .seconds(60)) { index, result in
            seen.withLock { $0[index, default: []].append(result) }
        }
        for (index, endpoint) in endpoints.enumerated() {
            let results = seen.withLock { $0[index] ?? [] }
            #expect(results.count == 1)
            switch try #require(results.first) {
            case .success(let sent):
                let leaf = try #require(leaves.first { $0.certificate.record.dnsNames.first == endpoint.serverName })
                #expect(sent.certificates == [leaf.certificate.der, pki.intermediate.certificate.der])
            case .failure(let error):
                #expect(error.code == (endpoint.port == closed ? .probeUnreachable : .probeFailed))
                #expect(endpoint.port == closed || endpoint.serverName == "host-3.example.com")
            }
        }
    }
}
