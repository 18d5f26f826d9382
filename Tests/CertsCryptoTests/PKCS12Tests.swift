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
            "sh", "-c",
            "openssl pkcs12 -export -inkey key.pem -in leaf.pem -certfile chain.pem -passout pass:\(passphrase) \(options) -out a.p12",
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
    }

    @Test func neverTrapsOnADamagedFile() throws {
        let (bytes, _, _) = try export("")
        for index in 0..<120 {
            var damaged = bytes
            damaged[index] ^= 0xff
            _ = try? PKCS12.read(damaged, passphrase: Secret("sesame"))
        }
        #expect(try PKCS12.read(bytes, passphrase: Secret("sesame")).key != nil)
    }

    @Test func refusesAFileThatWouldTakeHours() throws {
        // Four bytes of content in the iteration count, so that it can be raised in place to 2^31 - 1.
        var (bytes, _, _) = try export("-iter 8388609 -keypbe NONE -certpbe NONE")
        let count = try #require(bytes.range(of: Data([0x02, 0x04, 0x00, 0x80, 0x00, 0x01]), options: .backwards))
        bytes.replaceSubrange(count, with: [0x02, 0x04, 0x7f, 0xff, 0xff, 0xff])
        let start = ContinuousClock.now
        #expect(throws: CertsError(.certificateMalformed, "")) { try PKCS12.read(bytes, passphrase: Secret("sesame")) }
        #expect(ContinuousClock.now - start < .seconds(60), "hours would be needed to count to the end")
    }
}
