import CertsCore
import CertsCrypto
import CertsTesting
import Foundation
import Testing

/// 200 certificates in one run, by all three challenges, at a Pebble that refuses half of the nonces, wants an external
/// account, and has other roots and longer chains.
@Suite(.serialized) struct ACMECrowdTests {
    private static let names = (0..<200).map { String(format: "c%03d", $0) }

    @Test(arguments: [0, 50, 100])
    func `two hundred certificates and no failure`(_ reuse: Int) async throws {
        let directory = try TemporaryDirectory(prefix: "certs-e2e-acme-crowd")
        let mac = Data((1...32).map { UInt8($0) }).base64EncodedString().replacing("+", with: "-").replacing(
            "/", with: "_"
        ).replacing("=", with: "")
        let pebble = try await Pebble.start(
            in: directory,
            .init(
                externalAccounts: ["kid-1": mac], requiresExternalAccount: true, nonceRejections: 50,
                authorizationReuse: reuse, alternateRoots: 2, chainLength: 2))
        defer { pebble.stop() }
        try directory.write(Data(mac.utf8), to: "eab.key")
        chmod(directory.path("eab.key"), 0o600)
        let root = try #require(try CertificateReader.certificates(in: try await pebble.root(1)).first)
        let hook = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../challtestsrv-dns")
        var text = """
            version: 1
            state: ./state
            schedule: { concurrency: 32 }
            issuers:
              ca:
                type: acme
                directory: \(pebble.directoryURL)
                caFile: \(pebble.caFile)
                acceptTerms: true
                externalAccount: { keyID: kid-1, keyFile: eab.key }
                preferredChain: \(root.record.subjectCommonName ?? "")
                challenges:
                  - { type: http-01, names: [http.example.com], listen: "127.0.0.1:\(pebble.httpPort)", selfCheck: { address: "127.0.0.1:\(pebble.httpPort)" } }
                  - { type: tls-alpn-01, names: [tls.example.com], listen: "127.0.0.1:\(pebble.tlsPort)", selfCheck: { address: "127.0.0.1:\(pebble.tlsPort)" } }
                  - { type: dns-01, provider: { type: command, run: ["\(hook.standardizedFileURL.path)", "\(pebble.dns.managementURL)"] }, propagation: { servers: ["\(pebble.dns.dnsAddress)"], resolver: "\(pebble.dns.dnsAddress)" } }
            certificates:

            """
        for (index, name) in Self.names.enumerated() {
            let domain =
                ["\(name).http.example.com", "\(name).tls.example.com", "*.\(name).dns.example.com"][index % 3]
            text += "  - { name: \(name), dnsNames: [\"\(domain)\"], key: { algorithm: ecdsa-p256 }, issuer: ca }\n"
        }
        try directory.write(Data(text.utf8), to: "certs.yml")
        let configuration = directory.path("certs.yml")

        let rotated = try await Program(
            arguments: [RotationScene.executable, "rotate", "--config", configuration], deadline: 600
        ).run()
        #expect(rotated.status == 0, "\(rotated.all.suffix(3000))")
        #expect(pebble.certificates == Self.names.count)
        for name in Self.names {
            let live = directory.path("state/live/\(name)/current")
            let leaf = try CertificateReader.certificates(in: Data(contentsOf: URL(filePath: live + "/cert.pem")))[0]
            let chain = try CertificateReader.certificates(in: Data(contentsOf: URL(filePath: live + "/chain.pem")))
            #expect(leaf.record.dnsNames.first?.contains(name) == true)
            #expect(chain.count == 2)
            #expect(chain.last?.record.issuerCommonName == root.record.subjectCommonName)
        }
    }
}
