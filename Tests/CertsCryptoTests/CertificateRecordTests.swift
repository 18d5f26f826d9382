import CertsCore
import CertsCrypto
import Foundation
import Testing

@Suite struct CertificateRecordTests {
    struct Shape: Sendable, CustomTestStringConvertible {
        let testDescription: String
        var subject = "/CN=shape.example.com"
        var key = ["EC", "ec_paramgen_curve:P-256"]
        var digest = "-sha256"
        var serial: String?
        var extensions = OpenSSLFixture.server("DNS:shape.example.com")
        let algorithm: String
        let bits: Int
        let signature: String
    }

    static let shapes = [
        Shape(testDescription: "P-256", algorithm: "ecdsa-p256", bits: 256, signature: "ecdsa-with-SHA256"),
        Shape(
            testDescription: "P-384", key: ["EC", "ec_paramgen_curve:P-384"], digest: "-sha384",
            algorithm: "ecdsa-p384", bits: 384,
            signature: "ecdsa-with-SHA384"),
        Shape(
            testDescription: "P-521", key: ["EC", "ec_paramgen_curve:P-521"], digest: "-sha512",
            algorithm: "ecdsa-p521", bits: 521,
            signature: "ecdsa-with-SHA512"),
        Shape(
            testDescription: "secp256k1", key: ["EC", "ec_paramgen_curve:secp256k1"], algorithm: "secp256k1", bits: 256,
            signature: "ecdsa-with-SHA256"),
        Shape(
            testDescription: "an explicit curve", key: ["EC", "ec_paramgen_curve:P-256", "ec_param_enc:explicit"],
            algorithm: "id-ecPublicKey", bits: 0, signature: "ecdsa-with-SHA256"),
        Shape(testDescription: "Ed25519", key: ["ED25519"], algorithm: "ed25519", bits: 256, signature: "ED25519"),
        Shape(
            testDescription: "RSA 2048", key: ["RSA", "rsa_keygen_bits:2048"], algorithm: "rsa-2048", bits: 2048,
            signature: "sha256WithRSAEncryption"),
        Shape(
            testDescription: "RSA 1023 and SHA-1", key: ["RSA", "rsa_keygen_bits:1023"], digest: "-sha1",
            algorithm: "rsa-1023",
            bits: 1023, signature: "sha1WithRSAEncryption"),
        Shape(
            testDescription: "odd characters and two attributes in one RDN",
            subject:
                "/C=US/O=Silent, \"Relay\" + <b>;\\\\/OU= leading#/CN=Žluťoučký kůň+emailAddress=a@example.com/serialNumber=7",
            algorithm: "ecdsa-p256", bits: 256, signature: "ecdsa-with-SHA256"),
        Shape(
            testDescription: "a negative serial", serial: "-0x1234567890", algorithm: "ecdsa-p256", bits: 256,
            signature: "ecdsa-with-SHA256"),
        Shape(
            testDescription: "a serial of 1,000 bits", serial: "0x" + String(repeating: "ab", count: 125),
            algorithm: "ecdsa-p256",
            bits: 256, signature: "ecdsa-with-SHA256"),
        Shape(
            testDescription: "no extensions that matter", subject: "/", extensions: ["nsComment=none"],
            algorithm: "ecdsa-p256",
            bits: 256, signature: "ecdsa-with-SHA256"),
    ]

    @Test(arguments: shapes) func agreesWithTheOpenSSLCommand(shape: Shape) throws {
        let fixture = try OpenSSLFixture()
        defer { fixture.remove() }
        let made = try fixture.make(
            "shape", subject: shape.subject, key: shape.key, digest: shape.digest, serial: shape.serial,
            extensions: shape.extensions)
        let record = made.certificate.record
        #expect(record.keyAlgorithm == shape.algorithm)
        #expect(record.keyBits == shape.bits)
        #expect(record.signatureAlgorithm == shape.signature)

        func ask(_ option: String...) throws -> String {
            let output = try fixture.openssl(
                ["x509", "-in", fixture.path("shape.pem"), "-noout", "-nameopt", "RFC2253,-esc_msb,utf8"] + option)
            // Long serial numbers are broken into lines by the command.
            return output.replacingOccurrences(of: "\\\n", with: "").split(separator: "=", maxSplits: 1).last.map {
                $0.trimmingCharacters(in: .newlines)
            } ?? ""
        }
        #expect(try record.subject == ask("-subject"))
        #expect(try record.issuer == ask("-issuer"))
        #expect(try record.serial == ask("-serial").lowercased())
        #expect(
            try record.sha256 == ask("-fingerprint", "-sha256").replacingOccurrences(of: ":", with: "").lowercased())
        #expect(try record.sha1 == ask("-fingerprint", "-sha1").replacingOccurrences(of: ":", with: "").lowercased())
        let text = try fixture.openssl(["x509", "-in", fixture.path("shape.pem"), "-noout", "-text"])
        let formatter = DateFormatter()
        formatter.locale = Locale(identifier: "en_US_POSIX")
        formatter.timeZone = TimeZone(identifier: "GMT")
        formatter.dateFormat = "MMM d HH:mm:ss yyyy"
        let days = formatter.string(from: record.notAfter).split(separator: " ")
        #expect(
            text.split(separator: "\n").contains { line in
                line.contains("Not After") && days.allSatisfy { line.contains($0) }
            })
        let key = try fixture.openssl(["x509", "-in", fixture.path("shape.pem"), "-noout", "-pubkey"])
        #expect(PEM.block("PUBLIC KEY", made.certificate.publicKeyDER) == key)
    }

    @Test func readsEveryFieldOfAFullCertificate() throws {
        let fixture = try OpenSSLFixture()
        defer { fixture.remove() }
        let root = try fixture.make("Field Root", extensions: OpenSSLFixture.authority)
        let made = try fixture.make(
            "fields", subject: "/O=SilentRelay/CN=first/CN=messenger.example.com", issuer: root,
            extensions: [
                "basicConstraints=critical,CA:TRUE,pathlen:3",
                "keyUsage=digitalSignature,nonRepudiation,keyAgreement,decipherOnly",
                "extendedKeyUsage=serverAuth,clientAuth,1.2.3.4", "subjectKeyIdentifier=hash",
                "authorityKeyIdentifier=keyid",
                "subjectAltName=DNS:messenger.example.com,DNS:*.example.com,IP:192.0.2.1,IP:2001:db8::1,email:a@example.com,URI:https://example.com/x",
                "authorityInfoAccess=OCSP;URI:http://ocsp.example.com,caIssuers;URI:http://ca.example.com/ca.crt",
                "crlDistributionPoints=URI:http://crl.example.com/1.crl,URI:http://crl.example.com/2.crl",
                "tlsfeature=status_request",
                "1.2.3.4.5=critical,ASN1:NULL",
            ])
        let record = made.certificate.record
        #expect(record.subject == "CN=messenger.example.com,CN=first,O=SilentRelay")
        #expect(record.subjectCommonName == "messenger.example.com")
        #expect(record.issuerCommonName == "Field Root")
        #expect(record.version == 3)
        #expect(record.dnsNames == ["messenger.example.com", "*.example.com"])
        #expect(record.ipAddresses == ["192.0.2.1", "2001:db8::1"])
        #expect(record.emailAddresses == ["a@example.com"])
        #expect(record.uris == ["https://example.com/x"])
        #expect(record.keyUsage == ["digitalSignature", "nonRepudiation", "keyAgreement", "decipherOnly"])
        #expect(record.extendedKeyUsage == ["serverAuth", "clientAuth", "1.2.3.4"])
        #expect(record.hasBasicConstraints && record.isCA)
        #expect(record.pathLength == 3)
        #expect(record.authorityKeyID == root.certificate.record.subjectKeyID)
        #expect(record.caIssuersURLs == ["http://ca.example.com/ca.crt"])
        #expect(record.ocspURLs == ["http://ocsp.example.com"])
        #expect(record.crlURLs == ["http://crl.example.com/1.crl", "http://crl.example.com/2.crl"])
        #expect(record.mustStaple)
        #expect(!record.selfSigned && root.certificate.record.selfSigned)
        #expect(record.lifetime == 30 * 86_400)
        let decoded = try JSONDecoder().decode(CertificateRecord.self, from: JSONEncoder().encode(record))
        #expect(decoded == record)
    }

    @Test(arguments: [
        ("an empty extended key usage", "extendedKeyUsage=DER:3000"),
        ("an address of five octets", "subjectAltName=DER:30078705c000020100"),
        ("a NUL in a name", "subjectAltName=DER:3005820361 0062"),
        ("names that are no DER", "subjectAltName=DER:6578616d706c65"),
        ("a path length of 80 bits", "basicConstraints=DER:300f0101ff020a7fffffffffffffffffff"),
    ])
    func showsAHostileCertificateInsteadOfFailing(name: String, line: String) throws {
        let fixture = try OpenSSLFixture()
        defer { fixture.remove() }
        let made = try fixture.make("hostile", extensions: [line.replacingOccurrences(of: " ", with: "")])
        let record = try CertificateReader.firstRecord(in: made.pem)
        #expect(record.sha256 == made.certificate.fingerprint.hex)
        #expect(record.pathLength == nil)
        #expect(record.extendedKeyUsage.isEmpty)
        #expect(record.ipAddresses == (name.contains("address") ? ["#c000020100"] : []))
        #expect(record.dnsNames == (name.contains("NUL") ? ["a\0b"] : []))
        let verdict = ChainVerifier(roots: [made.certificate], host: "a", time: Date()).verify(made.certificate)
        #expect(!verdict.valid)
    }

    @Test func readsThirtyThousandNames() throws {
        let fixture = try OpenSSLFixture()
        defer { fixture.remove() }
        let names = (0..<30_000).map { "DNS.\($0)=host\($0).example.com" }
        let made = try fixture.make("many", extensions: ["subjectAltName=@names", "[names]"] + names)
        #expect(made.certificate.record.dnsNames.count == 30_000)
        #expect(made.certificate.record.dnsNames.last == "host29999.example.com")
    }
}
