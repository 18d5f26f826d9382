import CertsCore
import CertsCrypto
import CertsTesting
import Foundation
import Testing

@testable import CertsHAProxy

/// What HAProxy itself counts of our handshakes. Those of one kind share an `SSL_CTX`, over all threads.
@Suite struct FreshHandshakeTests {
    private struct Counters: Equatable {
        var handshakes = 0
        var resumed = 0
        var failed = 0

        /// Sums over the rows of `show stat` that have these columns.
        init(_ haproxy: RealHAProxy) throws {
            let lines = try haproxy.ask("show stat").split(separator: "\n")
            let columns = try #require(
                lines.first?.split(separator: ",", omittingEmptySubsequences: false).map(String.init))
            func sum(_ column: String) throws -> Int {
                let index = try #require(columns.firstIndex(of: column), "HAProxy has no counter \(column)")
                return lines.dropFirst().reduce(0) { sum, line in
                    let cells = line.split(separator: ",", omittingEmptySubsequences: false)
                    return sum + (cells.indices.contains(index) ? Int(cells[index]) ?? 0 : 0)
                }
            }
            handshakes = try sum("ssl_sess")
            resumed = try sum("ssl_reused_sess")
            failed = try sum("ssl_failed_handshake")
        }
    }

    /// The connection that found HAProxy ready shook no hands, and may not be counted as failed yet: one more behind it,
    /// then no connection at all.
    private static func countersAtRest(of haproxy: RealHAProxy) throws -> Counters {
        _ = try TLSProbe(host: "127.0.0.1", port: haproxy.port).run()
        for _ in 0..<1000 {
            let lines = try haproxy.ask("show info").split(separator: "\n")
            if lines.contains("CurrSslConns: 0"), lines.contains("CurrConns: 0") { return try Counters(haproxy) }
            usleep(10_000)
        }
        throw CertsError(.internal, "HAProxy never came to rest")
    }

    @Test func `every handshake of many threads is a full one that HAProxy saw to its end`() async throws {
        let site = try Site()
        let haproxy = try await RealHAProxy.start(in: site.directory, crt: [site.path], isMaster: false)
        let expected = site.first.fingerprint
        let before = try await BlockingPool.network.run { try Self.countersAtRest(of: haproxy) }
        let probes = TLSProbe.Versions.allCases.flatMap { versions in
            [TLSProbe.SignatureAlgorithms.any, .onlyECDSA].map {
                TLSProbe(
                    host: "127.0.0.1", port: haproxy.port, serverName: Site.host, versions: versions,
                    signatureAlgorithms: $0)
            }
        }
        let count = probes.count * 20
        let pool = BlockingPool(name: "probes", width: 8)
        try await withThrowingTaskGroup(of: Fingerprint.self) { group in
            for index in 0..<count {
                group.addTask { try await pool.run { try probes[index % probes.count].run().leaf.fingerprint } }
            }
            for try await served in group { #expect(served == expected) }
        }
        // The last of our bytes may still be on the way to it.
        let after = try await BlockingPool.network.run {
            for _ in 0..<500 where try Counters(haproxy).handshakes < before.handshakes + count { usleep(20_000) }
            return try Counters(haproxy)
        }
        #expect(after.handshakes - before.handshakes == count)
        #expect(after.resumed - before.resumed == 0)
        #expect(after.failed - before.failed == 0)
    }
}
