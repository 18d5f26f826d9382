import CertsCore
import CertsTesting
import Foundation
import Testing

@testable import CertsCrypto

@Suite struct TLSProbeTests {
    @Test("The leaf and the chain are reported as sent", arguments: TLSProbe.Versions.allCases)
    func reportsWhatIsServed(_ versions: TLSProbe.Versions) throws {
        let pki = try TestPKI()
        let leaf = try pki.leaf()
        let server = try OpenSSLServer([leaf], chain: [pki.intermediate.certificate])
        let probe = TLSProbe(host: "127.0.0.1", port: server.port, serverName: "www.example.com", versions: versions)
        // Twice: nothing is resumed.
        for _ in 0..<2 {
            let result = try probe.run()
            #expect(result.leaf == leaf.certificate)
            #expect(result.chain == [leaf.certificate, pki.intermediate.certificate])
            #expect(result.protocolVersion == (versions == .only12 ? "TLSv1.2" : "TLSv1.3"))
            #expect(!result.cipher.isEmpty && result.signatureType == "ecdsa" && result.ocspStaple == nil)
            #expect(result.address == "127.0.0.1:\(server.port)")
        }
        #expect(try TLSProbe(host: "localhost", port: server.port).run().leaf == leaf.certificate)
    }

    @Test("Each key type of a server with two is seen", arguments: TLSProbe.Versions.allCases)
    func choosesTheKeyType(_ versions: TLSProbe.Versions) throws {
        let pki = try TestPKI()
        let rsa = try pki.leaf(algorithm: .rsa2048)
        let ecdsa = try pki.leaf()
        let server = try OpenSSLServer([rsa, ecdsa])
        var probe = TLSProbe(host: "127.0.0.1", port: server.port, versions: versions, signatureAlgorithms: .onlyRSA)
        var result = try probe.run()
        #expect(result.leaf == rsa.certificate && result.signatureType == "rsa")
        probe.signatureAlgorithms = .onlyECDSA
        result = try probe.run()
        #expect(result.leaf == ecdsa.certificate && result.signatureType == "ecdsa")
    }

    /// The ways to agree on keys and to authenticate records that OpenSSL has, with each kind of certificate.
    @Test(
        "What is sent is seen without decoding it, too",
        arguments: [
            (KeyAlgorithm.ecdsaP256, ["-tls1_3"]), (.ecdsaP384, ["-tls1_3", "-groups", "P-256"]),
            (.rsa2048, ["-tls1_3"]),
            (.ed25519, ["-tls1_3", "-groups", "X448"]), (.ed25519, ["-tls1_2"]),
            (.ecdsaP256, ["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA256"]),
            (.rsa2048, ["-tls1_2", "-cipher", "AES128-SHA"]), (.rsa2048, ["-tls1_2", "-cipher", "DHE-RSA-AES128-SHA"]),
            (.rsa2048, ["-tls1_2", "-cipher", "ECDHE-RSA-CHACHA20-POLY1305"]),
        ])
    func seesWhatIsSent(_ algorithm: KeyAlgorithm, _ options: [String]) throws {
        let pki = try TestPKI()
        let leaf = try pki.leaf(algorithm: algorithm)
        let response = Data([0x30, 0x03, 0x0a, 0x01, 0x01])
        let directory = try TemporaryDirectory()
        let server = try OpenSSLServer(
            [leaf], chain: [pki.intermediate.certificate],
            options: options + ["-status_file", try directory.write(response, to: "staple.der")])
        let probe = TLSProbe(host: "127.0.0.1", port: server.port, serverName: "www.example.com")
        for _ in 0..<2 {
            let sent = try probe.sentChain()
            #expect(sent.certificates == [leaf.certificate.der, pki.intermediate.certificate.der])
            #expect(sent.staple == response)
        }
    }

    @Test func aServerWithoutTheKeyTypeIsAFailure() throws {
        let server = try OpenSSLServer([try TestPKI().leaf()])
        for versions in TLSProbe.Versions.allCases {
            let probe = TLSProbe(
                host: "127.0.0.1", port: server.port, versions: versions, signatureAlgorithms: .onlyRSA)
            let error = #expect(throws: CertsError.self) { try probe.run() }
            #expect(error?.code == .probeFailed && error?.message.contains("handshake failure") == true)
        }
    }

    @Test func theServerNameIsSentAndAnAddressIsNot() throws {
        let pki = try TestPKI()
        let named = try pki.leaf(["named.example"])
        let standard = try pki.leaf(["default.example"])
        let directory = try TemporaryDirectory()
        let server = try OpenSSLServer(
            [standard], "-servername", "named.example", "-cert2", directory.write(named.certificate.pem, to: "c.pem"),
            "-key2",
            directory.write(named.keyPEM, to: "k.pem"))
        func leaf(_ name: String?) throws -> Certificate {
            try TLSProbe(host: "127.0.0.1", port: server.port, serverName: name).run().leaf
        }
        #expect(try leaf("named.example") == named.certificate)
        #expect(try leaf("other.example") == standard.certificate)
        #expect(try leaf(nil) == standard.certificate)
        #expect(try leaf("127.0.0.1") == standard.certificate)
        #expect(try leaf("::1") == standard.certificate)
    }

    @Test func seesExpiredCertificatesToo() throws {
        let pki = try TestPKI()
        let expired = try pki.leaf { $0.notAfter = pki.now.addingTimeInterval(-60) }
        let server = try OpenSSLServer([expired])
        #expect(try TLSProbe(host: "127.0.0.1", port: server.port).run().leaf == expired.certificate)
    }

    @Test func returnsTheStapledResponseAndVerifiesIt() throws {
        let pki = try TestPKI()
        let leaf = try pki.leaf()
        let directory = try TemporaryDirectory()
        func probe(_ response: Data, chain: [Certificate]) throws -> ProbeResult {
            let server = try OpenSSLServer(
                [leaf], chain: chain, "-status_file", directory.write(response, to: UUID().uuidString))
            return try TLSProbe(host: "127.0.0.1", port: server.port).run()
        }
        let signer = ResponseSigner(issuer: pki.intermediate)
        let good = try signer.response(about: [leaf.certificate])
        let result = try probe(good, chain: [pki.intermediate.certificate])
        #expect(result.ocspStaple == good)
        #expect(try result.staple(now: Date())?.status == .good)
        #expect(throws: CertsError(.stapleRefused, "")) { try result.staple(now: Date().addingTimeInterval(90000)) }

        let alone = try probe(signer.response(about: [pki.leaf().certificate]), chain: [])
        #expect(throws: CertsError(.certificateMissing, "")) { try alone.staple(now: Date()) }
        #expect(throws: CertsError(.stapleRefused, "")) {
            try alone.staple(issuer: pki.intermediate.certificate, now: Date())
        }
    }

    @Test func whereNothingIsStapledThereIsNothingToVerify() throws {
        let server = try OpenSSLServer([try TestPKI().leaf()])
        #expect(try TLSProbe(host: "127.0.0.1", port: server.port).run().staple(now: Date()) == nil)
    }

    @Test("A server that misbehaves is an error within the deadline", arguments: LoopbackListener.Behaviour.allCases)
    func survives(_ behaviour: LoopbackListener.Behaviour) throws {
        let server = try LoopbackListener(behaviour)
        let start = ContinuousClock.now
        let error = #expect(throws: CertsError.self) {
            try TLSProbe(host: "127.0.0.1", port: server.port, deadline: .milliseconds(700)).run()
        }
        #expect(ContinuousClock.now - start < .seconds(30), "bounded by its deadline, however busy the machine is")
        let hangs: Set<LoopbackListener.Behaviour> = [.hangs, .hangsAfterHello, .drips]
        #expect(
            error?.code == (hangs.contains(behaviour) ? .probeTimeout : .probeFailed), "\(String(describing: error))")
        #expect(error?.message.contains("127.0.0.1:\(server.port)") == true)
        #expect(error?.retry == .later)
    }

    @Test func aRefusedConnectionSaysSo() throws {
        let error = try #require(throws: CertsError.self) {
            try TLSProbe(host: "127.0.0.1", port: LoopbackPort.reserve()).run()
        }
        #expect(error.code == .probeUnreachable && error.message.contains("Connection refused"))
    }

    @Test(
        "An address that cannot be is refused",
        arguments: ["", "a\0b", "no-such-host.invalid", String(repeating: "a", count: 300)])
    func refusesHosts(_ host: String) {
        let error = #expect(throws: CertsError.self) {
            try TLSProbe(host: host, port: 443, deadline: .seconds(2)).run()
        }
        #expect(error?.code == .probeUnreachable || error?.code == .probeTimeout)
    }

    @Test("A port that cannot be is refused", arguments: [-1, 0, 65536, Int.max])
    func refusesPorts(_ port: Int) {
        #expect(throws: CertsError(.probeUnreachable, "")) { try TLSProbe(host: "127.0.0.1", port: port).run() }
    }
}
