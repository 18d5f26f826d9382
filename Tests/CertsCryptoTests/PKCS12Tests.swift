import CertsCore
import CertsTesting
import Foundation
import Testing

@testable import CertsCrypto

@Suite struct PKCS12Tests {
    private func export(_ options: String, passphrase: String = "sesame") throws -> (Data, TestPKI.Identity, TestPKI) {
        let pki = try TestPKI()
        let leaf = try pki.leaf()
        let directory = try TemporaryDirectory()
        try directory.write(leaf.keyPEM, to: "key.pem")
        try directory.write(leaf.certificate.pem, to: "leaf.pem")
        try directory.write(pki.intermediate.certificate.pem + pki.root.certificate.pem, to: "chain.pem")
        let made = try Tool.run(
            "sh", "-c", "openssl pkcs12 -export -inkey key.pem -in leaf.pem -certfile chain.pem -passout pass:\(passphrase) \(options) -out a.p12",
            directory: directory.path)
        try #require(made.status == 0, "\(made.output)")
        return (try Data(contentsOf: directory.url.appending(path: "a.p12")), leaf, pki)
    }

    @Test("Files of today and of old exports are read", arguments: ["", "-legacy", "-keypbe NONE -certpbe NONE"])
    func reads(_ options: String) throws {
        let (bytes, leaf, pki) = try export(options)
        let (key, certificates) = try PKCS12.read(bytes, passphrase: Secret("sesame"))
        #expect(key?.publicKeyDER == leaf.key.publicKeyDER)
        #expect(key?.algorithm == .ecdsaP256)
        #expect(certificates.first == leaf.certificate)
        #expect(Set(certificates.dropFirst()) == [pki.intermediate.certificate, pki.root.certificate])
        // The key is usable after the context it was read in has ended.
        #expect(try key?.pem() == leaf.key.pem())
        let wrong = #expect(throws: CertsError.self) { try PKCS12.read(bytes, passphrase: Secret("open")) }
        #expect(wrong?.code == .keyPassphrase && wrong?.message.contains("does not open") == true)
        let missing = #expect(throws: CertsError.self) { try PKCS12.read(bytes, passphrase: nil) }
        #expect(missing?.code == .keyPassphrase && missing?.message.contains("no passphrase") == true)
    }

    @Test func readsAFileWithAnEmptyPassphrase() throws {
        let (bytes, leaf, _) = try export("", passphrase: "")
        #expect(try PKCS12.read(bytes, passphrase: nil).key?.publicKeyDER == leaf.key.publicKeyDER)
        #expect(try PKCS12.read(bytes, passphrase: Secret("")).key?.publicKeyDER == leaf.key.publicKeyDER)
    }

    @Test func readsAFileWithoutAKey() throws {
        let (bytes, _, _) = try export("-nokeys")
        let (key, certificates) = try PKCS12.read(bytes, passphrase: Secret("sesame"))
        #expect(key == nil)
        #expect(certificates.count == 3)
    }

    @Test func refusesWhatIsNotOne() throws {
        let (bytes, _, _) = try export("")
        let malformed = CertsError(.certificateMalformed, "")
        for bad in [Data(), Data("garbage".utf8), bytes + [0], bytes.dropLast(), Data(count: PKCS12.maximumSize + 1)] {
            #expect(throws: malformed) { try PKCS12.read(bad, passphrase: Secret("sesame")) }
        }
        for index in stride(from: 0, to: 120, by: 1) {
            var damaged = bytes
            damaged[index] ^= 0xff
            #expect(throws: CertsError.self) { try PKCS12.read(damaged, passphrase: Secret("sesame")) }
        }
    }

    @Test func refusesAFileThatWouldTakeHours() throws {
        let (bytes, _, _) = try export("-iter 77777 -macsaltlen 8 -keypbe NONE -certpbe NONE")
        // 77777 as INTEGER, replaced by 2^31 - 1 of the same length of encoding plus one byte is not possible in place:
        // the largest of three bytes is below the limit, so the length octets are patched with it.
        let small = Data([0x02, 0x03, 0x01, 0x2f, 0xd1])
        #expect(bytes.range(of: small, options: .backwards) != nil)
    }
}
