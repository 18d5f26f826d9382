import CertsCore
import CertsCrypto
import Foundation
import Testing

@Suite struct CertificateReaderTests {
    let fixture: OpenSSLFixture
    let one: OpenSSLFixture.Made
    let two: OpenSSLFixture.Made

    init() throws {
        fixture = try OpenSSLFixture()
        one = try fixture.make("one.example.com", extensions: OpenSSLFixture.server("DNS:one.example.com"))
        two = try fixture.make(
            "two.example.com", key: ["ED25519"], extensions: OpenSSLFixture.server("DNS:two.example.com"))
        fixture.remove()
    }

    private func text(_ data: Data) -> String { String(decoding: data, as: UTF8.self) }

    @Test func readsDERAndPEMOfTheSameCertificateAlike() throws {
        let fromDER = try CertificateReader.certificates(in: one.certificate.der)
        let fromPEM = try CertificateReader.certificates(in: one.pem)
        #expect(fromDER == fromPEM)
        #expect(try CertificateReader.firstRecord(in: one.certificate.der) == one.certificate.record)
        #expect(try CertificateReader.record(der: one.certificate.der) == one.certificate.record)
        #expect(one.certificate.fingerprint.hex == one.certificate.record.sha256)
    }

    @Test func skipsTextKeysAndAByteOrderMarkBetweenBlocks() throws {
        let key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"
        let bundle =
            "\u{feff}" + text(one.pem) + "\r\nsubject=/CN=x\r\n# -----BEGIN CERTIFICATE----- is only a comment\r\n"
            + key
            + text(two.pem).replacingOccurrences(of: "\n", with: "\r\n")
        #expect(try CertificateReader.certificates(in: Data(bundle.utf8)) == [one.certificate, two.certificate])
    }

    @Test func writesCanonicalPEMThatReadsBack() throws {
        #expect(one.certificate.pem == text(one.pem))
        #expect(try CertificateReader.certificates(in: Data(one.certificate.pem.utf8)) == [one.certificate])
    }

    @Test func namesTheBlockThatIsDamaged() throws {
        let damaged = text(two.pem).replacingOccurrences(of: "MI", with: "M!")
        let error = #expect(throws: CertsError.self) {
            try CertificateReader.certificates(in: one.pem + Data(damaged.utf8))
        }
        #expect(error?.code == .certificateMalformed)
        #expect(error?.message.contains("block 2") == true)
    }

    @Test(arguments: ["", "garbage", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
    func saysThatThereIsNoCertificate(input: String) throws {
        let error = #expect(throws: CertsError.self) { try CertificateReader.certificates(in: Data(input.utf8)) }
        #expect(error?.code == .certificateMissing)
        #expect(error?.hint != nil)
    }

    @Test func refusesAFileThatIsCutOff() throws {
        let error = #expect(throws: CertsError.self) { try CertificateReader.firstRecord(in: one.pem.prefix(300)) }
        #expect(error?.code == .certificateMalformed)
        #expect(error?.message.contains("end line") == true)
    }

    @Test func refusesMoreBlocksAndBytesThanAllowed() throws {
        let many = Data(String(repeating: text(one.pem), count: 101).utf8)
        #expect(throws: CertsError(.fileTooLarge, "")) { try CertificateReader.certificates(in: many) }
        #expect(try CertificateReader.records(in: many, limit: 200).count == 101)
        let huge = Data(count: CertificateReader.sizeLimit + 1)
        #expect(throws: CertsError(.fileTooLarge, "")) { try CertificateReader.certificates(in: huge) }
    }

    @Test func refusesBytesAfterTheEndOfACertificate() throws {
        #expect(throws: CertsError(.certificateMalformed, "")) { try Certificate(der: one.certificate.der + Data([0])) }
        #expect(throws: CertsError(.certificateMalformed, "")) {
            try CertificateReader.record(der: one.certificate.der + Data([0]))
        }
        #expect(throws: CertsError(.certificateMalformed, "")) { try Certificate(der: Data()) }
    }

    /// Whatever a mutated certificate is, each entry either answers or throws; none may trap.
    @Test func survivesEveryMutationOfACertificate() throws {
        let der = one.certificate.der
        var accepted = 0
        for index in 0..<der.count {
            for value: UInt8 in [0x00, 0x7f, 0x80, 0xff, der[der.startIndex + index] ^ 0x01] {
                var mutated = der
                mutated[mutated.startIndex + index] = value
                accepted += try exercise(mutated)
            }
            accepted += try exercise(der.prefix(index))
        }
        #expect(accepted > 0)
    }

    private func exercise(_ der: Data) throws -> Int {
        let pem = Data(PEM.block("CERTIFICATE", der).utf8)
        if let record = try? CertificateReader.firstRecord(in: pem) { #expect(record.sha256.count == 64) }
        guard let certificate = try? Certificate(der: der) else { return 0 }
        let now = Date()
        // The mutant is a leaf, an intermediate and a root in turn.
        for roots in [[certificate], [two.certificate]] {
            let verifier = ChainVerifier(roots: roots, untrusted: [certificate], host: "one.example.com", time: now)
            _ = verifier.verify(one.certificate)
            if certificate != one.certificate, roots == [two.certificate] {
                #expect(!verifier.verify(certificate).valid)
            }
        }
        _ = BundleChecks.findings(
            chain: [certificate, one.certificate], keySPKI: certificate.publicKeyDER, names: [.dns("one.example.com")],
            anchors: [two.certificate], keyAlgorithm: .ecdsaP256, now: now)
        return 1
    }
}
