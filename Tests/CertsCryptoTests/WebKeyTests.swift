import CertsCore
import CertsCrypto
import CertsTesting
import Foundation
import Testing

/// Private JSON Web Keys, as other ACME clients keep them.
@Suite struct WebKeyTests {
    /// The numbers of a key by OpenSSL's own program.
    private func members(_ type: String, _ options: [String]) throws -> (PrivateKey, [String: Secret]) {
        let directory = try TemporaryDirectory()
        let file = directory.path("key.pem")
        let made = try Tool.run(["openssl", "genpkey", "-algorithm", type, "-out", file] + options)
        try #require(made.status == 0, "\(made.output)")
        let script = """
            import sys, json
            from cryptography.hazmat.primitives.serialization import load_pem_private_key
            key = load_pem_private_key(open(sys.argv[1], "rb").read(), None)
            n = key.private_numbers()
            if sys.argv[2] == "RSA":
                p = n.public_numbers
                found = dict(n=p.n, e=p.e, d=n.d, p=n.p, q=n.q, dp=n.dmp1, dq=n.dmq1, qi=n.iqmp)
                size = lambda v: (v.bit_length() + 7) // 8
            else:
                p = n.public_numbers
                found = dict(x=p.x, y=p.y, d=n.private_value)
                size = lambda v: (key.key_size + 7) // 8
            print(json.dumps({k: v.to_bytes(size(v), "big").hex() for k, v in found.items()}))
            """
        // Debian's python3-cryptography belongs to Debian's Python.
        let printed = try Tool.run("/usr/bin/python3", "-c", script, file, type)
        try #require(printed.status == 0, "\(printed.output)")
        let numbers = try JSONDecoder().decode([String: String].self, from: Data(printed.output.utf8))
        let key = try PrivateKey(pem: Secret(copying: Data(contentsOf: URL(filePath: file))))
        return (key, try numbers.mapValues { Secret(copying: try #require(Hex.decode($0))) })
    }

    @Test func `RSA numbers make the key that they came from`() throws {
        let (key, numbers) = try members("RSA", ["-pkeyopt", "rsa_keygen_bits:2048"])
        let made = try PrivateKey(webKeyOfType: "RSA", numbers: numbers)
        #expect(made.algorithm == .rsa2048 && made.publicKeyDER == key.publicKeyDER)
        #expect(try made.pem() == key.pem())
    }

    @Test(arguments: [("P-256", KeyAlgorithm.ecdsaP256), ("P-384", .ecdsaP384), ("P-521", .ecdsaP521)])
    func `points and numbers of a curve make the key that they came from`(
        _ curve: String, _ algorithm: KeyAlgorithm
    ) throws {
        let (key, numbers) = try members("EC", ["-pkeyopt", "ec_paramgen_curve:\(curve)"])
        let made = try PrivateKey(webKeyOfType: "EC", curve: curve, numbers: numbers)
        #expect(made.algorithm == algorithm && made.publicKeyDER == key.publicKeyDER)
    }

    @Test func `numbers that are missing, strange or of two keys are refused`() throws {
        let (_, first) = try members("EC", ["-pkeyopt", "ec_paramgen_curve:P-256"])
        let (_, second) = try members("EC", ["-pkeyopt", "ec_paramgen_curve:P-256"])
        let malformed = CertsError(.keyMalformed, "")
        #expect(throws: malformed) { try PrivateKey(webKeyOfType: "EC", curve: "P-256", numbers: [:]) }
        var mixed = first
        mixed["d"] = second["d"]
        #expect(throws: malformed) { try PrivateKey(webKeyOfType: "EC", curve: "P-256", numbers: mixed) }
        var off = first
        off["x"] = Secret(copying: [UInt8](repeating: 7, count: 32))
        #expect(throws: malformed) { try PrivateKey(webKeyOfType: "EC", curve: "P-256", numbers: off) }
        #expect(throws: malformed) { try PrivateKey(webKeyOfType: "RSA", numbers: first) }
        let unsupported = CertsError(.keyUnsupported, "")
        #expect(throws: unsupported) { try PrivateKey(webKeyOfType: "EC", curve: "secp256k1", numbers: first) }
        #expect(throws: unsupported) { try PrivateKey(webKeyOfType: "OKP", numbers: first) }
    }
}
