import CertsCore
import CertsCrypto
import Foundation
import Testing

@testable import CertsIssuers

/// The forms of RFC 7515, 7517, 7518 and 7638, against their own examples and against OpenSSL.
@Suite struct JOSETests {
    @Test func base64URLAsInAppendixC() {
        #expect(Base64URL.encode(Data([3, 236, 255, 224, 193])) == "A-z_4ME")
        #expect(Base64URL.decode("A-z_4ME") == Data([3, 236, 255, 224, 193]))
        #expect(Base64URL.decode("A-z_4ME=") == Data([3, 236, 255, 224, 193]))
        for text in ["", "A+z/4ME", "A z", "é", "A=z"] { #expect(Base64URL.decode(text) == nil, "\(text)") }
    }

    /// RFC 7638 §3.1: the key, its canonical form and its thumbprint.
    @Test func theThumbprintOfTheExample() throws {
        let canonical =
            #"{"e":"AQAB","kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"}"#
        let thumbprint = Base64URL.encode(Digest.sha256.data(of: Data(canonical.utf8)))
        #expect(thumbprint == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs")
    }

    @Test(arguments: [
        (KeyAlgorithm.ecdsaP256, "ES256", ["crv", "kty", "x", "y"], 64),
        (.ecdsaP384, "ES384", ["crv", "kty", "x", "y"], 96), (.ecdsaP521, "ES512", ["crv", "kty", "x", "y"], 132),
        (.rsa2048, "RS256", ["e", "kty", "n"], 256),
    ])
    func aSignatureHasTheSizeOfItsAlgorithm(
        _ type: KeyAlgorithm, _ name: String, _ members: [String], _ size: Int
    ) throws {
        let key = try WebKey(PrivateKey.generate(type))
        #expect(key.algorithm == name)
        #expect(key.members.keys.sorted() == members)
        // Small integers are padded: none of many is shorter.
        for index in 0..<(type.isRSA ? 3 : 300) {
            #expect(try key.key.webSignature(over: Data("\(index)".utf8)).count == size)
        }
        if !type.isRSA {
            #expect(Base64URL.decode(key.members["x"] ?? "")?.count == size / 2)
            #expect(Base64URL.decode(key.members["y"] ?? "")?.count == size / 2)
        }
    }

    @Test func anEd25519KeyIsNoneOfThem() throws {
        #expect(throws: CertsError(.keyUnsupported, "")) { try WebKey(PrivateKey.generate(.ed25519)) }
    }

    @Test func aReadHasNoPayloadAndAnEmptyObjectHasOne() throws {
        let key = try WebKey(PrivateKey.generate(.ecdsaP256))
        let header = WebSignature.Header(alg: key.algorithm, nonce: "n", url: "https://ca.example/a/b", kid: "k")
        #expect(try WebSignature.sign(nil, header, with: key.key).payload == "")
        struct Empty: Encodable {}
        let signed = try WebSignature.sign(Empty(), header, with: key.key)
        #expect(signed.payload == "e30")
        let protected = try #require(Base64URL.decode(signed.protected))
        #expect(
            String(decoding: protected, as: UTF8.self)
                == #"{"alg":"ES256","kid":"k","nonce":"n","url":"https://ca.example/a/b"}"#)
    }

    /// RFC 4231 §4.3, test case 2.
    @Test(arguments: [
        (MessageAuthentication.sha256, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
        (
            .sha384,
            "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e8e2240ca5e69e2c78b3239ecfab21649"
        ),
        (
            .sha512,
            "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737"
        ),
    ])
    func messagesAreAuthenticated(_ algorithm: MessageAuthentication, _ expected: String) throws {
        let code = try algorithm.code(
            of: Data("what do ya want for nothing?".utf8), key: Secret(copying: "Jefe".utf8))
        #expect(Hex.encode(code) == expected)
    }

    @Test func linksSeveralInOneFieldAndSeveralFields() {
        let field =
            #"<https://ca/1>;rel="alternate", <https://ca/dir>; rel=index,<https://ca/2>;title="x";rel="alternate""#
        #expect(LinkField.targets(field, relation: "alternate") == ["https://ca/1", "https://ca/2"])
        #expect(LinkField.targets(field, relation: "index") == ["https://ca/dir"])
        for odd in ["", "<", "<>", ">;rel=alternate<", "<x;rel=alternate", "rel=alternate"] {
            #expect(LinkField.targets(odd, relation: "alternate").filter { !$0.isEmpty } == [])
        }
    }

    @Test(arguments: [
        ("2026-11-25T04:00:00Z", 1_795_579_200.0), ("2026-11-25T04:00:00.123456789Z", 1_795_579_200),
        ("2026-11-25T05:00:00+01:00", 1_795_579_200),
    ])
    func datesOfTheProtocol(_ text: String, _ seconds: Double) {
        #expect(ProtocolDate.parse(text)?.timeIntervalSince1970 == seconds)
    }

    @Test(arguments: ["", "tomorrow", "2026-13-45T00:00:00Z", String(repeating: "2", count: 100)])
    func whatIsNoDate(_ text: String) {
        #expect(ProtocolDate.parse(text) == nil)
    }

    /// RFC 9773 §4.1, whose example is this certificate's identifiers.
    @Test func theIdentifierOfACertificateKeepsTheLeadingZeroOfItsSerial() throws {
        let key = Data([
            0x69, 0x88, 0x5b, 0x6b, 0x87, 0x46, 0x40, 0x41, 0xe1, 0xb3, 0x7b, 0x84, 0x7b, 0xa0, 0xae, 0x2c, 0xde, 0x01,
            0xc8, 0xd4,
        ])
        let serial = Data([0x00, 0x87, 0x65, 0x43, 0x21])
        #expect("\(Base64URL.encode(key)).\(Base64URL.encode(serial))" == "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE")
    }
}
