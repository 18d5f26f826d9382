import CertsCore
import CertsCrypto
import CertsTesting
import Foundation
import Testing

/// The whole way with HAProxy in front: the CA's questions come through it by the printed rules, the new certificate is
/// swapped in, seen, and no visitor notices.
@Suite struct ACMEThroughHAProxyTests {
    @Test(arguments: ["http-01", "tls-alpn-01"])
    func `the answer goes through HAProxy and no request is lost`(_ type: String) async throws {
        let directory = try TemporaryDirectory(prefix: "certs-e2e-acme-front")
        let pebble = try await Pebble.start(in: directory)
        defer { pebble.stop() }
        let (outside, listener, inner) = (
            type == "http-01" ? pebble.httpPort : pebble.tlsPort, try LoopbackPort.reserve(), try LoopbackPort.reserve()
        )
        // Visitors come by the frontend in TCP mode where there is one.
        let visitors = type == "http-01" ? inner : outside
        let first = try TestPKI().selfSigned([RotationScene.name]).bundle(chain: [])
        try FileManager.default.createDirectory(atPath: directory.path("certs"), withIntermediateDirectories: false)
        let bundle = try directory.write(first, to: "certs/server.pem")
        chmod(bundle, 0o600)
        try directory.write(
            Data(
                """
                version: 1
                state: ./state
                issuers:
                  ca:
                    type: acme
                    directory: \(pebble.directoryURL)
                    caFile: \(pebble.caFile)
                    acceptTerms: true
                    challenge: { type: \(type), listen: "127.0.0.1:\(listener)", selfCheck: { address: "127.0.0.1:\(outside)", port: \(outside) } }
                certificates:
                  - { name: messenger, dnsNames: [\(RotationScene.name)], key: { algorithm: ecdsa-p256 }, issuer: ca, targets: [front] }
                targets:
                  - name: front
                    type: haproxy
                    bundle: \(bundle)
                    reload: { method: runtime, socket: \(directory.path("admin.sock")) }
                    endpoints: [ { address: "127.0.0.1:\(visitors)", serverName: \(RotationScene.name) } ]

                """.utf8), to: "certs.yml")
        func certs(_ arguments: String...) async throws -> Program.Outcome {
            try await Program(
                arguments: [RotationScene.executable] + arguments + ["--config", directory.path("certs.yml")]
            ).run()
        }
        let rules = try await certs("acme", "haproxy-rules", "ca").text.replacing("bind :", with: "bind 127.0.0.1:")
            .replacing("127.0.0.1:8443", with: "127.0.0.1:\(inner)")
        let proxied = type == "http-01" ? "" : "accept-proxy"
        try directory.write(
            Data(
                """
                global
                    stats socket \(directory.path("admin.sock")) mode 600 level admin
                defaults
                    timeout connect 5s
                    timeout client 20s
                    timeout server 20s
                \(rules)
                frontend site
                    mode http
                    bind 127.0.0.1:\(inner) \(proxied) ssl crt \(bundle)
                    http-request return status 200 content-type text/plain string ok

                """.utf8), to: "haproxy.cfg")
        let balancer = try Program(
            arguments: [
                "setpriv", "--pdeathsig", "KILL", Balancer.executable, "-db", "-f", directory.path("haproxy.cfg"),
            ]
        ).start(output: directory.path("haproxy.log"), errors: directory.path("haproxy.log"))
        defer { kill(balancer, SIGTERM) }
        #expect(try await eventually { Loopback.accepts(visitors) })

        let before = try CertificateReader.certificates(in: first)[0].record.sha256
        let watch = Watch(port: visitors)
        var seen = [before]
        for _ in 0..<5 {
            let rotated = try await certs("rotate", "messenger")
            #expect(rotated.status == 0, "\(rotated.all)")
            let leaf = try CertificateReader.certificates(in: Data(contentsOf: URL(filePath: bundle)))[0]
            #expect(leaf.record.issuerCommonName?.contains("Pebble") == true)
            seen.append(leaf.record.sha256)
        }
        // Long enough for one more visitor.
        #expect(try await eventually { watch.seen.contains(seen.last ?? "") })
        try await watch.end()
        #expect(watch.failures.isEmpty, "\(watch.failures.prefix(3))")
        #expect(watch.seen.isSubset(of: Set(seen)))
        #expect(Set(seen).count == 6)
        #expect(pebble.certificates == 5)
    }
}
