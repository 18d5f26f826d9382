import CertsCore
import CertsTesting
import Foundation
import Testing

@testable import CertsCrypto
@testable import CertsIssuers

@Suite struct TLSALPN01SolverTests {
    static func probe(
        _ address: SocketAddress, _ name: String?, _ protocols: [String] = ["acme-tls/1"]
    ) async throws -> ProbeResult {
        try await BlockingPool.network.run {
            try TLSProbe(
                host: "127.0.0.1", port: address.port, serverName: name, applicationProtocols: protocols
            ).run()
        }
    }

    @Test func onlyTheProtocolAndAKnownNameGetAHandshake() async throws {
        let scene = try await ChallengeScene()
        let solver = scene.tls()
        let proof = ChallengeScene.proof(.tlsALPN01)
        try await solver.present(proof)
        #expect(try await Self.probe(scene.address, "WWW.example.com").applicationProtocol == "acme-tls/1")
        for (name, protocols) in [
            ("other.example.com", ["acme-tls/1"]), ("www.example.com", []), ("www.example.com", ["h2", "http/1.1"]),
            (nil, ["acme-tls/1"]), ("..", ["acme-tls/1"]), (String(repeating: "x.", count: 120), ["acme-tls/1"]),
            ("../../etc/passwd", ["acme-tls/1"]),
        ] {
            await #expect(throws: CertsError(.probeFailed, "")) {
                try await Self.probe(scene.address, name, protocols)
            }
        }
        try await solver.check(proof)
        try await solver.remove(proof)
        #expect(!LoopbackClient(port: scene.address.port).isConnected)
    }

    @Test(arguments: [
        ("192.0.2.7", "7.2.0.192.in-addr.arpa"),
        ("2001:db8::7", "7.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa"),
    ])
    func anAddressIsShownUnderItsReverseName(_ text: String, _ name: String) async throws {
        let scene = try await ChallengeScene()
        let solver = scene.tls()
        let proof = ChallengeScene.proof(.tlsALPN01, .ip(try #require(IPAddress(text))))
        try await solver.present(proof)
        let leaf = try await Self.probe(scene.address, name).leaf
        #expect(leaf.record.ipAddresses == [text] && leaf.record.dnsNames == [])
        try await solver.check(proof)
        try await solver.remove(proof)
    }

    @Test func opensslReadsTheExtension() async throws {
        let key = try PrivateKey.generate(.ecdsaP256)
        let digest = Digest.sha256.data(of: Data("token.thumbprint".utf8))
        let certificate = try ChallengeCertificate.make(
            for: .dns("www.example.com"), digest: digest, key: key, now: Date())
        let directory = try TemporaryDirectory()
        let file = try directory.write(certificate.pem, to: "cert.pem")
        let output = try await BlockingPool.network.run {
            let text = try Tool.run("openssl", "x509", "-in", file, "-noout", "-text").output
            return text + (try Tool.run("openssl", "asn1parse", "-in", file).output)
        }
        #expect(output.contains("1.3.6.1.5.5.7.1.31: critical"))
        #expect(output.contains("DNS:www.example.com"))
        #expect(output.uppercased().contains("HEX DUMP]:0420" + Hex.encode(digest).uppercased()))
    }

    @Test func anObjectionNamesWhatIsWrong() throws {
        let pki = try TestPKI()
        let digest = Digest.sha256.data(of: Data("a".utf8))
        func objection(
            _ shown: Data?, _ names: [String] = ["www.example.com"], critical: Bool = true
        ) throws -> String? {
            let identity = try pki.selfSigned(names) { template in
                if let shown {
                    template.extraExtensions = [
                        .init(oid: ChallengeCertificate.extensionOID, critical: critical, der: shown)
                    ]
                }
            }
            return ChallengeCertificate.objection(
                to: identity.certificate, for: .dns("www.example.com"), digest: digest)
        }
        let octets = Data([4, 32]) + digest
        #expect(try objection(octets) == nil)
        #expect(try objection(octets, ["WWW.example.com"]) == nil)
        #expect(try objection(nil)?.contains("no acmeIdentifier") == true)
        #expect(try objection(octets, ["www.example.com", "b.example.com"])?.contains("b.example.com") == true)
        #expect(try objection(octets, critical: false)?.contains("critical") == true)
        #expect(try objection(Data([4, 32]) + Digest.sha256.data(of: Data("b".utf8)))?.contains("another") == true)
        #expect(try objection(Data([4, 33]) + digest) != nil)
        #expect(try objection(Data()) != nil)
    }

    @Test func twoOrdersForOneNameTakeTurns() async throws {
        let scene = try await ChallengeScene()
        let solver = scene.tls()
        let (one, two) = (ChallengeScene.proof(.tlsALPN01), ChallengeScene.proof(.tlsALPN01))
        try await solver.present(one)
        async let second: Void = solver.present(two)
        try await Task.sleep(for: .milliseconds(300))
        try await solver.check(one)
        try await solver.remove(one)
        try await second
        try await solver.check(two)
        // Late, and not about what is shown by now.
        try await solver.remove(one)
        try await solver.check(two)
        try await solver.remove(two)
        #expect(scene.files(.tlsALPN01) == [])
    }

    @Test func aProofThatADeadProcessLeftIsReplacedInTheEnd() async throws {
        let scene = try await ChallengeScene()
        func die() async throws {
            let dead = scene.tls(files: try await scene.secondState(), listeners: ChallengeListeners())
            try await dead.present(ChallengeScene.proof(.tlsALPN01))
        }
        try await die()
        let solver = scene.tls(patience: .milliseconds(200))
        let proof = ChallengeScene.proof(.tlsALPN01)
        try await solver.present(proof)
        try await solver.check(proof)
        try await solver.remove(proof)
        #expect(scene.files(.tlsALPN01) == [])
    }

    @Test func aSelfCheckSaysWhatAnswersInstead() async throws {
        let scene = try await ChallengeScene()
        let proof = ChallengeScene.proof(.tlsALPN01)
        func failure(_ server: SocketAddress) async -> CertsError? {
            await #expect(throws: CertsError.self) {
                try await ALPNCheck(SelfCheck(address: server, timeout: 0.2)).run(proof)
            }
        }
        let identity = try TestPKI().selfSigned(["www.example.com"])
        let ordinary = try TLSListener(try ChallengeScene.address(LoopbackPort.reserve())) { _ in
            TLSListener.Identity(chain: [identity.certificate], key: identity.key)
        } handle: { _ in
        }
        let closed = await failure(scene.address)
        #expect(closed?.code == .challengeFailed && closed?.hint?.contains("port 443") == true)
        let other = await failure(ordinary.address)
        #expect(other?.code == .challengeFailed && other?.message.contains("does not speak") == true)
        #expect(other?.hint?.contains("haproxy-rules") == true)
        ordinary.stop()
    }
}
