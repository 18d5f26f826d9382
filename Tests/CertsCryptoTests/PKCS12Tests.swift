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

    @Test func countsTheIterationsOfWhatIsEncryptedInside() throws {
        // The integrity check counts to 1; the key and the certificates ask for less than the limit each, and more together.
        var (bytes, _, _) = try export("-iter 65537 -nomaciter")
        var raised = 0
        while let count = bytes.range(of: Data([0x02, 0x03, 0x01, 0x00, 0x01])) {
            bytes.replaceSubrange(count, with: [0x02, 0x03, 0x7f, 0xff, 0xff])
            raised += 1
        }
        #expect(raised == 2)
        let refused = #expect(throws: CertsError.self) { try PKCS12.read(bytes, passphrase: Secret("sesame")) }
        #expect(refused?.code == .certificateMalformed && refused?.message.contains("iterations") == true)
        #expect(CertificateFile.facts(in: bytes, passphrase: Secret("sesame")).problem == .malformed)
    }

    @Test("A key that is encrypted within an encrypted part counts as well", arguments: ["pbkdf2", "pbkdf1", "scrypt"])
    func countsTheIterationsOfTheInnermost(_ derivation: String) throws {
        let directory = try TemporaryDirectory()
        try directory.write(Self.nested, to: "nested.py")
        for (size, isAllowed) in [("large", false), ("small", true)] {
            let made = try Tool.run("python3", "nested.py", derivation, size, directory: directory.path)
            try #require(made.status == 0, "\(made.output)")
            let bytes = try Data(contentsOf: directory.url.appending(path: "nested.p12"))
            let start = ContinuousClock.now
            let refused = #expect(throws: CertsError.self) { try PKCS12.read(bytes, passphrase: Secret("sesame")) }
            #expect(refused?.code == .certificateMalformed)
            #expect(refused?.message.contains("iterations") == !isAllowed, "\(refused?.message ?? "")")
            #expect(ContinuousClock.now - start < .seconds(60), "hours would be needed to count to the end")
        }
    }

    /// OpenSSL takes no passphrase and an empty one for one another, and the keys of these are two (RFC 7292, appendix B.1).
    @Test("What either of no passphrase and an empty one opens counts", arguments: ["none", "empty"])
    func countsWhatOpenSSLWouldOpen(_ outer: String) throws {
        let directory = try TemporaryDirectory()
        try directory.write(Self.nested, to: "nested.py")
        let made = try Tool.run("python3", "nested.py", "pbkdf2", "large", outer, directory: directory.path)
        try #require(made.status == 0, "\(made.output)")
        let bytes = try Data(contentsOf: directory.url.appending(path: "nested.p12"))
        for passphrase in [nil, Secret("")] {
            let refused = #expect(throws: CertsError.self) { try PKCS12.read(bytes, passphrase: passphrase) }
            #expect(refused?.message.contains("iterations") == true, "\(refused?.message ?? "")")
        }
    }

    /// Writes a file (RFC 7292) whose encrypted part holds a key that is encrypted once more, with as many iterations as is
    /// asked for. That key itself is nonsense.
    private static let nested = """
        import hashlib, subprocess, sys
        def der(tag, *parts):
            body = b"".join(parts)
            size = len(body)
            length = bytes([size]) if size < 128 else bytes([0x82, size >> 8, size & 255])
            return bytes([tag]) + length + body
        def oid(text):
            numbers = [int(word) for word in text.split(".")]
            body = [numbers[0] * 40 + numbers[1]]
            for number in numbers[2:]:
                part = [number & 127]
                while number > 127:
                    number >>= 7
                    part.insert(0, 128 | number & 127)
                body += part
            return der(6, bytes(body))
        def integer(value): return der(2, value.to_bytes(value.bit_length() // 8 + 1, "big"))
        def octets(body): return der(4, body)
        def sequence(*parts): return der(0x30, *parts)
        salt, iv = b"12345678", b"0123456789abcdef"
        sha256 = sequence(oid("1.2.840.113549.2.9"), der(5))
        def pbes2(kdf):
            return sequence(oid("1.2.840.113549.1.5.13"), sequence(kdf, sequence(oid("2.16.840.1.101.3.4.1.42"), octets(iv))))
        def pbkdf2(count):
            return sequence(oid("1.2.840.113549.1.5.12"), sequence(octets(salt), integer(count), sha256))
        def scrypt(cost, parallel):
            return sequence(oid("1.3.6.1.4.1.11591.4.11"), sequence(octets(salt), integer(cost), integer(1), integer(parallel)))
        kind, is_large = sys.argv[1], sys.argv[2] == "large"
        inner = {
            "pbkdf2": pbes2(pbkdf2(2**31 - 1 if is_large else 1000)),
            "pbkdf1": sequence(oid("1.2.840.113549.1.12.1.3"), sequence(octets(salt), integer(2**31 - 1 if is_large else 1000))),
            "scrypt": pbes2(scrypt(2**17 if is_large else 2**4, 2**16 if is_large else 1)),
        }[kind]
        bag = sequence(oid("1.2.840.113549.1.12.10.1.2"), der(0xa0, sequence(inner, octets(b"x" * 32))))
        def fill(text): return (text * 64)[:64 * -(-len(text) // 64)]
        def pkcs12(purpose, password, size):
            # One iteration of appendix B.2, for at most two blocks.
            material = bytearray(fill(salt) + fill(password))
            result = b""
            while len(result) < size:
                block = hashlib.sha1(bytes([purpose]) * 64 + material).digest()
                result += block
                add = int.from_bytes(fill(block)[:64], "big") + 1
                for place in range(0, len(material), 64):
                    number = (int.from_bytes(material[place:place + 64], "big") + add) % (1 << 512)
                    material[place:place + 64] = number.to_bytes(64, "big")
            return result[:size]
        outer = sys.argv[3] if len(sys.argv) > 3 else "sesame"
        if outer == "sesame":
            cipher, algorithm = "-aes-256-cbc", pbes2(pbkdf2(2048))
            key = hashlib.pbkdf2_hmac("sha256", b"sesame", salt, 2048, 32)
        else:
            cipher = "-des-ede3-cbc"
            algorithm = sequence(oid("1.2.840.113549.1.12.1.3"), sequence(octets(salt), integer(1)))
            password = b"" if outer == "none" else bytes(2)
            key, iv = pkcs12(1, password, 24), pkcs12(2, password, 8)
        closed = subprocess.run(
            ["openssl", "enc", cipher, "-K", key.hex(), "-iv", iv.hex()], input=sequence(bag), capture_output=True,
            check=True).stdout
        data = oid("1.2.840.113549.1.7.1")
        encrypted = sequence(integer(0), sequence(data, algorithm, der(0x80, closed)))
        parts = sequence(sequence(oid("1.2.840.113549.1.7.6"), der(0xa0, encrypted)))
        with open("nested.p12", "wb") as file:
            file.write(sequence(integer(3), sequence(data, der(0xa0, octets(parts)))))
        """
}
