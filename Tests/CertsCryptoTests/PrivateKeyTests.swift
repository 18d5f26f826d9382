import CertsCore
import CertsTesting
import Foundation
import Testing

@testable import CertsCrypto

@Suite struct PrivateKeyTests {
    @Test("A generated key is what was asked for, and survives its PEM", arguments: KeyAlgorithm.allCases)
    func generates(_ algorithm: KeyAlgorithm) throws {
        let key = try PrivateKey.generate(algorithm)
        #expect(key.algorithm == algorithm)
        #expect(key.algorithmName == algorithm.rawValue)
        let pem = try key.pem()
        #expect(pem.text.hasPrefix("-----BEGIN PRIVATE KEY-----\n"))
        #expect(pem.text.hasSuffix("\n-----END PRIVATE KEY-----\n"))
        #expect(!pem.text.contains("\n\n"))
        let again = try PrivateKey(pem: pem)
        #expect(again.algorithm == algorithm)
        #expect(again.bits == key.bits)
        #expect(again.publicKeyDER == key.publicKeyDER)
        #expect(try again.pem() == pem)
        let directory = try TemporaryDirectory()
        let path = try directory.write(pem.text, to: "key.pem")
        let shown = try Tool.run("openssl", "pkey", "-in", path, "-check", "-noout")
        #expect(shown.status == 0 && shown.output.contains("Key is valid"), "\(shown.output)")
        let pin = try Tool.run(
            "sh", "-c", "openssl pkey -in \(path) -pubout -outform DER | openssl dgst -sha256 -binary | base64")
        #expect(pin.output == key.spkiSHA256 + "\n")
    }

    @Test func twoKeysDiffer() throws {
        let first = try PrivateKey.generate(.ecdsaP256)
        let second = try PrivateKey.generate(.ecdsaP256)
        #expect(first.spkiSHA256 != second.spkiSHA256)
    }

    @Test(
        "Every form of an unencrypted key is read",
        arguments: [
            ("openssl genrsa -traditional 2048", KeyAlgorithm.rsa2048), ("openssl genrsa 3072", .rsa3072),
            ("openssl ecparam -genkey -name prime256v1", .ecdsaP256),
            ("openssl ecparam -genkey -name secp384r1 -noout", .ecdsaP384),
            ("openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-521", .ecdsaP521),
            ("openssl genpkey -algorithm ed25519", .ed25519),
            ("echo junk before; openssl genpkey -algorithm ed25519; echo junk after", .ed25519),
        ])
    func readsForms(_ command: String, _ algorithm: KeyAlgorithm) throws {
        let pem = try Tool.run("sh", "-c", "{ \(command); } 2>/dev/null").output
        #expect(try PrivateKey(pem: Secret(pem)).algorithm == algorithm)
    }

    @Test(
        "A key that is none of ours loads, with its name and no algorithm",
        arguments: [
            ("openssl genrsa 1024", "rsa-1024"), ("openssl genrsa 2056", "rsa-2056"),
            ("openssl ecparam -genkey -name secp256k1 -noout", "secp256k1"),
            (
                "openssl ecparam -genkey -name prime256v1 -param_enc explicit -noout",
                "prime256v1 with explicit parameters"
            ),
            ("openssl genpkey -algorithm x25519", "x25519"),
            ("openssl genpkey -algorithm rsa-pss -pkeyopt rsa_keygen_bits:2048", "rsa-pss-2048"),
        ])
    func loadsForeignKeys(_ command: String, _ name: String) throws {
        let pem = try Tool.run("sh", "-c", "\(command) 2>/dev/null").output
        let key = try PrivateKey(pem: Secret(pem))
        #expect(key.algorithm == nil)
        #expect(key.algorithmName == name)
        #expect(throws: CertsError(.keyUnsupported, "")) {
            try CertificateRequest.make(subject: Subject(), names: [.dns("a.example")], key: key)
        }
    }

    @Test(
        "An encrypted key needs its passphrase, and each failure has its own sentence",
        arguments: [
            "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -aes256 -pass pass:sesame",
            "openssl genrsa -aes128 -traditional -passout pass:sesame 2048",
            "openssl ecparam -genkey -name prime256v1 -noout | openssl ec -aes256 -passout pass:sesame",
        ])
    func encrypted(_ command: String) throws {
        let pem = Secret(try Tool.run("sh", "-c", "\(command) 2>/dev/null").output)
        #expect(try PrivateKey(pem: pem, passphrase: Secret("sesame")).algorithm != nil)
        let missing = #expect(throws: CertsError.self) { try PrivateKey(pem: pem) }
        #expect(missing?.code == .keyPassphrase && missing?.message.contains("no passphrase was given") == true)
        let wrong = #expect(throws: CertsError.self) { try PrivateKey(pem: pem, passphrase: Secret("open")) }
        #expect(wrong?.code == .keyPassphrase && wrong?.message.contains("does not open") == true)
        let long = #expect(throws: CertsError.self) {
            try PrivateKey(pem: pem, passphrase: Secret(String(repeating: "x", count: 5000)))
        }
        #expect(long?.code == .keyPassphrase)
        #expect(throws: CertsError(.keyPassphrase, "")) { try PrivateKey(pem: pem, passphrase: Secret("")) }
    }

    @Test(
        "What is not a key is refused",
        arguments: [
            "", "\0", "garbage", "-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n",
            "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIA\n",
            String(repeating: "A", count: PrivateKey.maximumFileSize + 1),
            "-----BEGIN PRIVATE KEY-----\n!!!!\n-----END PRIVATE KEY-----\n",
        ])
    func refusesGarbage(_ text: String) {
        #expect(throws: CertsError(.keyMalformed, "")) { try PrivateKey(pem: Secret(text)) }
    }

    @Test func refusesAPublicKeyAndACertificate() throws {
        let pki = try TestPKI()
        #expect(throws: CertsError(.keyMalformed, "")) { try PrivateKey(pem: Secret(pki.root.certificate.pem)) }
        let block = PEM.block("PUBLIC KEY", pki.root.key.publicKeyDER)
        #expect(throws: CertsError(.keyMalformed, "")) { try PrivateKey(pem: Secret(block)) }
    }

    @Test func refusesAKeyWhoseHalvesDoNotBelongTogether() throws {
        // PKCS#8 of P-256 ends with the public point: the end of another key's point makes it another key's, or none.
        let first = try Self.der(of: .generate(.ecdsaP256))
        let second = try Self.der(of: .generate(.ecdsaP256))
        let mixed = first.dropLast(64) + second.suffix(64)
        #expect(throws: CertsError(.keyMalformed, "")) { try PrivateKey(pem: Secret(PEM.block("PRIVATE KEY", mixed))) }
    }

    @Test func neverTrapsOnADamagedKey() throws {
        let whole = try Self.der(of: .generate(.ed25519))
        for index in whole.indices {
            var damaged = whole
            damaged[index] ^= 0xff
            _ = try? PrivateKey(pem: Secret(PEM.block("PRIVATE KEY", damaged)))
            _ = try? PrivateKey(pem: Secret(PEM.block("PRIVATE KEY", whole.prefix(index))))
        }
        #expect(try PrivateKey(pem: Secret(PEM.block("PRIVATE KEY", whole))).algorithm == .ed25519)
    }

    @Test func matchesItsCertificateOnly() throws {
        let pki = try TestPKI()
        let leaf = try pki.leaf()
        #expect(leaf.key.matches(leaf.certificate))
        #expect(!leaf.key.matches(pki.intermediate.certificate))
    }

    private static func der(of key: PrivateKey) throws -> Data {
        let body = try key.pem().text.split(separator: "\n").filter { !$0.hasPrefix("-") }.joined()
        return try #require(Data(base64Encoded: body))
    }
}

extension Secret {
    convenience init(_ text: String) { self.init(copying: Array(text.utf8)) }

    var text: String { withBytes { String(decoding: $0, as: UTF8.self) } }
}
