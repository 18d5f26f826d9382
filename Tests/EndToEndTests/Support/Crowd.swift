import CertsCore
import CertsCrypto
import CertsTesting
import Foundation
import Testing

/// Twelve certificates in one directory that one HAProxy, with its master, loads whole.
///
/// What it serves at first is valid for a year, as bought certificates are: every new one ends before the one that it
/// replaces.
final class Crowd: Sendable {
    static let names = (1...12).map { String(format: "c%02d", $0) }

    let directory: TemporaryDirectory
    let pki: TestPKI
    let balancer: Balancer

    func host(_ name: String) -> String { "\(name).example.com" }
    func bundle(_ name: String) -> String { directory.path("site/\(name).pem") }

    private init(_ method: String, _ socket: String) throws {
        directory = try TemporaryDirectory(prefix: "certs-e2e-crowd")
        let pki = try TestPKI()
        self.pki = pki
        try FileManager.default.createDirectory(atPath: directory.path("site"), withIntermediateDirectories: false)
        for name in Self.names {
            let first = try pki.selfSigned(["\(name).example.com"]) {
                $0.notAfter = pki.now.addingTimeInterval(365 * 86400)
            }
            try directory.write(try first.bundle(chain: []), to: "site/\(name).pem")
        }
        balancer = try Balancer(in: directory, crt: [directory.path("site")], isMaster: true)
        let declared = Self.names.map {
            "  - { name: \($0), dnsNames: [\($0).example.com], key: { algorithm: ecdsa-p256 }, issuer: local, targets: [loadbalancer] }"
        }
        try directory.write(
            """
            version: 1
            state: ./state
            issuers:
              local: { type: local-ca, commonName: Crowd CA, validity: 90d }
            certificates:
            \(declared.joined(separator: "\n"))
            targets:
              - name: loadbalancer
                type: haproxy
                bundle: ./site/{name}.pem
                reload: { method: \(method), socket: ./\(socket).sock }
                verifyWithin: 3s
                endpoints: [ { address: "127.0.0.1:\(balancer.port)" } ]

            """, to: "certs.yml")
    }

    /// - Parameters:
    ///   - method: `master` or `runtime`.
    ///   - socket: the name of the socket that the target declares: `master`, `admin`, or that of a relay.
    static func make(_ method: String, _ socket: String) async throws -> Crowd {
        let crowd = try await blocking.run { try Crowd(method, socket) }
        try await crowd.balancer.start()
        return crowd
    }

    @discardableResult
    func certs(
        _ arguments: String..., exits status: Int32, fault: String? = nil,
        sourceLocation: SourceLocation = #_sourceLocation
    ) async throws -> Program.Outcome {
        let all = arguments + ["--config", directory.path("certs.yml")]
        let outcome = try await RotationScene.program(all, fault).run()
        #expect(outcome.status == status, "certs \(arguments): \(outcome.all)", sourceLocation: sourceLocation)
        return outcome
    }

    func processes() async throws -> (reloads: Int, workers: [String]) {
        let balancer = balancer
        return try await blocking.run { try balancer.processes() }
    }

    /// Expects of every certificate that it is served, and that the same one lies on the disk.
    /// - Returns: the SHA-256 of each, by name.
    @discardableResult
    func expectServed(_ comment: Comment? = nil, sourceLocation: SourceLocation = #_sourceLocation) async throws
        -> [String: String]
    {
        let port = balancer.port
        var all: [String: String] = [:]
        for name in Self.names {
            let (host, path) = (host(name), bundle(name))
            let (served, disk) = try await blocking.run {
                (
                    try TLSProbe(host: "127.0.0.1", port: port, serverName: host).run().leaf.record.sha256,
                    try CertificateReader.certificates(in: try Data(contentsOf: URL(filePath: path))).first?.record
                        .sha256
                )
            }
            #expect(served == disk, "\(name): \(comment?.rawValue ?? "")", sourceLocation: sourceLocation)
            all[name] = served
        }
        return all
    }
}
