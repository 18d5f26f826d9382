import CertsCore
import CertsCrypto
import CertsTesting
import Foundation
import Testing

@testable import CertsHAProxy

/// What HAProxy 2.6 does on its own, and that we never let it: each hazard with the real binary.
@Suite(.serialized) struct HazardTests {
    // MARK: A blank line ends a payload, and the rest is executed

    @Test func runsWhatFollowsABlankLineInAPayload() async throws {
        let site = try Site()
        let haproxy = try await RealHAProxy.start(in: site.directory, crt: [site.path])
        let pem = try site.bundle(2).pem.data
        let reply = try haproxy.ask("set ssl cert \(site.path) <<", payload: pem + Data("\nshow version\n".utf8))
        #expect(reply.contains("Transaction created for certificate \(site.path)!"))
        // The reply of the injected command.
        let version = try RuntimeReply.process(try haproxy.ask("show info")).version
        #expect(reply.split(separator: "\n").contains { $0 == version })
        #expect(try haproxy.ask("abort ssl cert \(site.path)").contains("aborted"))
    }

    @Test func losesTheKeyBehindABlankLine() async throws {
        let site = try Site()
        let haproxy = try await RealHAProxy.start(in: site.directory, crt: [site.path])
        let text = String(decoding: try site.bundle(2).pem.data, as: UTF8.self)
        let split = text.replacing("-----BEGIN PRIVATE KEY-----", with: "\n-----BEGIN PRIVATE KEY-----")
        let reply = try haproxy.ask("set ssl cert \(site.path) <<", payload: Data(split.utf8))
        // Taken without its key, which became commands: our parser does not call that a success.
        #expect(reply.contains("Transaction created"))
        let name = try StoreName(site.path)
        let failure = await error { _ = try RuntimeReply.set(reply, name: name) }
        #expect(failure?.code == .targetUnexpectedReply)
        #expect(failure?.description.contains("PRIVATE") == false)
        #expect(try haproxy.ask("commit ssl cert \(site.path)").contains("at least a certificate and a private key"))
        #expect(try haproxy.ask("abort ssl cert \(site.path)").contains("aborted"))
    }

    /// How a CA, an editor or `openssl pkcs12` may write the same bundle; `L`, `C`, `K` stand for its PEM blocks.
    static let hostile: [String] = [
        "\n\nL\n\nC\n\nK\n\n", "L\r\n\r\nC\r\n\r\nK", "L\nshow version\n\nC\nK", "# comment\n\nL# chain\n\nCK",
        "LCK\n\nshow version\n", "LCK\n\ncommit ssl cert /x\n\n\n", "\u{FEFF}LCK", "\u{FEFF}\n\nLCK",
        "   \n \nL\t\n C \n\nK",
        "Bag Attributes\n    localKeyID: 01\nsubject=/CN=a\n\nissuer=/CN=b\n\nLCK",
        "Bag Attributes: <No Attributes>\n\nsubject=/CN=x\nLC\nKey Attributes: <No Attributes>\n\nK",
        "K\n\nL\n\nC", "L\n<<\n\nC\n<<\nK", "L;show version\n\nCK", "\u{0}\n\nLCK\u{0}", "LC\n\n\u{2028}\u{85}K",
        "L\u{b}\u{c}\n\u{c}\n\nCK", "\r\rL\r\rC\r\rK", "LCK" + String(repeating: "\n", count: 5000), "L\\\n\n\\\nCK",
    ]

    @Test func neverSendsABlankLineWhateverTheInput() async throws {
        let site = try Site()
        let haproxy = try await RealHAProxy.start(in: site.directory, crt: [site.path])
        let session = GrowingSite.lists(at: haproxy.socket).session
        let name = try StoreName(site.path)
        let leaf = try site.pki.leaf()
        let parts: [Character: String] = [
            "L": leaf.certificate.pem, "C": site.pki.intermediate.certificate.pem,
            "K": String(decoding: try leaf.keyPEM, as: UTF8.self),
        ]
        let expected = Data([parts["L"], parts["C"], parts["K"]].compactMap(\.self).joined().utf8)
        #expect(Self.hostile.count == 20)
        var refused: [Int] = []
        for (index, template) in Self.hostile.enumerated() {
            let input = template.map { parts[$0] ?? String($0) }.joined()
            guard let bundle = try? CanonicalBundle.canonical(Secret(copying: input.utf8)) else {
                refused.append(index)
                continue
            }
            #expect(bundle.data == expected, "input \(index)")
            #expect(CanonicalBundle.isPayload(bundle))
            let reply = try await session.connection.send(try RuntimeCommand.set(name, bundle))
            #expect(reply == "Transaction created for certificate \(name)!\n\n", "input \(index)")
            #expect(try await session.abort(name) == .aborted)
        }
        // A block that does not begin its line is none, as for OpenSSL.
        #expect(refused == [15, 17])
    }

    /// Blank lines inside of a block: an older form of encrypted keys has them (RFC 1421 §4.4), and broken tools.
    @Test func neverSendsABlankLineFromInsideOfABlock() async throws {
        let leaf = try TestPKI().leaf()
        let pem = leaf.certificate.pem.replacing(
            "-----BEGIN CERTIFICATE-----\n", with: "-----BEGIN CERTIFICATE-----\n\n")
        let key = String(decoding: try leaf.keyPEM, as: UTF8.self)
        for input in [pem + key, leaf.certificate.pem.replacing("\n", with: "\r\n\r\n") + key] {
            guard let bundle = try? CanonicalBundle.canonical(Secret(copying: input.utf8)) else { continue }
            #expect(bundle.data == Data((leaf.certificate.pem + key).utf8))
        }
    }

    // MARK: A command of tune.bufsize bytes

    @Test func neverBuildsACommandThatHAProxyCannotTake() throws {
        let site = try Site()
        var refused = 0
        for length in [10, 100, 1000, 4000] {
            let name = try StoreName("/" + String(repeating: "n", count: length) + ".pem")
            for copies in stride(from: 0, through: 60, by: 3) {
                let bundle = try site.bundle(2, chainCopies: copies).pem
                do throws(CertsError) {
                    #expect(try RuntimeCommand.set(name, bundle).size <= 16_000)
                } catch {
                    #expect(error.code == .targetBundleTooLarge)
                    refused += 1
                }
            }
        }
        #expect(refused > 20)
        #expect(RuntimeCommand.sizeLimit < 16_384)
    }

    /// HAProxy takes itself down or hangs at exactly tune.bufsize; our guard never sends it. This HAProxy is this test's.
    @Test func showsWhatHAProxyDoesAtExactlyItsBufferSize() async throws {
        let site = try Site()
        let haproxy = try await RealHAProxy.start(in: site.directory, crt: [site.path], isMaster: false)
        let pem = try site.bundle(2, chainCopies: 20).pem.data
        // A line of text before the first block pads it: HAProxy skips it as any reader of PEM does.
        let command = "set ssl cert \(site.path) <<\n"
        let ask = { (size: Int) in
            let padding = size - command.utf8.count - pem.count - 2
            let bytes = Data(command.utf8) + Data(repeating: UInt8(ascii: "#"), count: padding) + [10] + pem + [10]
            #expect(bytes.count == size)
            return try FakeHAProxy.ask(haproxy.socket, bytes, patience: 3)
        }
        #expect(try ask(16_383).contains("Transaction created"))
        #expect(try haproxy.ask("abort ssl cert \(site.path)").contains("aborted"))
        #expect(try !ask(16_384).contains("Transaction created"))
        haproxy.crash()
    }

    // MARK: HAProxy checks no policy

    @Test func takesACertificateOfAnotherKeyTypeInTheRSAMember() async throws {
        let site = try Site()
        let rsa = try site.pki.leaf(algorithm: .rsa2048)
        let ecdsa = try site.pki.leaf()
        for (identity, suffix) in [(rsa, "rsa"), (ecdsa, "ecdsa")] {
            try site.directory.write(
                try identity.bundle(chain: [site.pki.intermediate.certificate]), to: "certs/pair.pem.\(suffix)")
        }
        let haproxy = try await RealHAProxy.start(in: site.directory, crt: [site.directory.path("certs/pair.pem")])
        let isServedToRSA = {
            try Tool.run(
                "openssl", "s_client", "-connect", "127.0.0.1:\(haproxy.port)", "-servername", Site.host, "-tls1_2",
                "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"
            ).output.contains("Cipher is ECDHE-RSA-AES128-GCM-SHA256")
        }
        #expect(try isServedToRSA())
        let member = try StoreName(site.directory.path("certs/pair.pem.rsa"))
        try haproxy.ask("set ssl cert \(member) <<", payload: try site.bundle(2).pem.data)
        #expect(try RuntimeReply.commit(try haproxy.ask("commit ssl cert \(member)"), name: member) == 1)
        #expect(try !isServedToRSA())
    }

    @Test(arguments: ["expired", "not yet valid", "another host"])
    func servesWhateverItIsGiven(kind: String) async throws {
        let site = try Site()
        let haproxy = try await RealHAProxy.start(in: site.directory, crt: [site.path])
        let now = site.pki.now
        let wrong = try site.pki.leaf(kind == "another host" ? ["other.test"] : [Site.host]) { template in
            if kind == "expired" { template.notAfter = now.addingTimeInterval(-3600) }
            if kind == "not yet valid" { template.notBefore = now.addingTimeInterval(86400) }
        }
        try haproxy.ask("set ssl cert \(site.path) <<", payload: try wrong.bundle(chain: []))
        let name = try StoreName(site.path)
        #expect(try RuntimeReply.commit(try haproxy.ask("commit ssl cert \(name)"), name: name) == 1)
        #expect(try await Site.served(haproxy.port) == wrong.certificate.fingerprint)
    }
}
