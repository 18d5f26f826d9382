import CertsCore
import CertsCrypto
import CertsTesting
import Foundation
import Testing

@testable import CertsHAProxy

@Suite struct CanonicalBundleTests {
    let pki: TestPKI

    init() throws { pki = try TestPKI() }

    @Test func isLeafChainKeyWithoutABlankLine() throws {
        let leaf = try pki.leaf()
        let bundle = try CanonicalBundle.make(
            leaf: leaf.certificate, chain: [pki.intermediate.certificate], key: try leaf.key.pem())
        let expected =
            try leaf.certificate.pem + pki.intermediate.certificate.pem + String(decoding: leaf.keyPEM, as: UTF8.self)
        #expect(bundle.data == Data(expected.utf8))
        #expect(CanonicalBundle.isPayload(bundle))
        #expect(
            try CanonicalBundle.certificates(in: bundle).map(\.fingerprint)
                == [leaf.certificate, pki.intermediate.certificate].map(\.fingerprint))
    }

    @Test func refusesTheKeyOfAnotherCertificate() async throws {
        let (leaf, other) = (try pki.leaf(), try pki.leaf())
        #expect(
            await code { _ = try CanonicalBundle.make(leaf: leaf.certificate, chain: [], key: try other.key.pem()) }
                == .keyMismatch)
    }

    @Test(arguments: ["\n\nshow version\n\n", "\r\n\r\n", "subject=/CN=x;show info\n \n", "# comment\n\n\n"])
    func leavesOutWhateverStandsBetweenTheBlocks(junk: String) throws {
        let leaf = try pki.leaf()
        let key = String(decoding: try leaf.keyPEM, as: UTF8.self)
        let hostile = junk + key + junk + leaf.certificate.pem + junk + pki.intermediate.certificate.pem + junk
        let bundle = try CanonicalBundle.canonical(Secret(copying: hostile.utf8))
        #expect(bundle.data == Data((leaf.certificate.pem + pki.intermediate.certificate.pem + key).utf8))
    }

    @Test(arguments: ["", "\n", "-----BEGIN CERTIFICATE-----\n", "a\n\nb\n", "a\r\n", "a"])
    func refusesToSendWhatIsNotCanonical(text: String) async throws {
        let name = try StoreName("/etc/a.pem")
        #expect(await code { _ = try CanonicalBundle.canonical(Secret(copying: text.utf8)) } != nil)
        guard text != "-----BEGIN CERTIFICATE-----\n" else { return }
        #expect(await code { _ = try RuntimeCommand.set(name, Secret(copying: text.utf8)) } == .internal)
    }
}
