import CertsCore
import CertsTesting
import Foundation
import Testing

@testable import CertsCrypto

@Suite struct CertificateRequestTests {
    let subject = Subject(
        commonName: "messenger.example.com", organization: "SilentRelay", organizationalUnit: "Ops",
        locality: "München",
        state: "Bayern", country: "DE")
    let names: [AlternativeName] = [
        .dns("messenger.example.com"), .dns("*.example.com"), .init(description: "ip:192.0.2.1"),
        .init(description: "ip:2001:db8::1"), .email("ops@example.com"), .uri("spiffe://example.com/messenger"),
    ].compactMap { $0 }

    @Test("openssl verifies and prints the request", arguments: KeyAlgorithm.allCases)
    func openSSLAccepts(_ algorithm: KeyAlgorithm) throws {
        let request = try CertificateRequest.make(subject: subject, names: names, key: .generate(algorithm))
        let directory = try TemporaryDirectory()
        let path = try directory.write(request.pem, to: "csr.pem")
        let shown = try Tool.run(
            "openssl", "req", "-in", path, "-verify", "-noout", "-text", "-nameopt", "RFC2253,utf8,-esc_msb")
        #expect(shown.status == 0 && shown.output.contains("self-signature verify OK"), "\(shown.output)")
        #expect(shown.output.contains("CN=messenger.example.com,OU=Ops,O=SilentRelay,L=München,ST=Bayern,C=DE"))
        #expect(
            shown.output.contains(
                "DNS:messenger.example.com, DNS:*.example.com, IP Address:192.0.2.1, IP Address:2001:DB8:0:0:0:0:0:1, "
                    + "email:ops@example.com, URI:spiffe://example.com/messenger"))
        #expect(shown.output.contains("TLS Web Server Authentication"))
        #expect(shown.output.contains("Key Encipherment") == algorithm.isRSA)
    }

    @Test func readsBackWhatItMade() throws {
        let key = try PrivateKey.generate(.ecdsaP256)
        let made = try CertificateRequest.make(subject: subject, names: names, key: key)
        #expect(made.publicKeyDER == key.publicKeyDER)
        #expect(made.spkiSHA256 == key.spkiSHA256)
        #expect(try CertificateRequest(der: made.der) == made)
        #expect(try CertificateRequest(pem: Data(made.pem.utf8)) == made)
        #expect(try CertificateRequest(pem: Data(("junk\n" + made.pem + "junk").utf8)).pem == made.pem)
    }

    @Test func dropsDuplicatesAndConvertsNames() throws {
        let request = try CertificateRequest.make(
            subject: Subject(), names: [.dns("Example.COM"), .dns("example.com"), .dns("bücher.example")],
            key: .generate(.ecdsaP256))
        #expect(request.names == [.dns("example.com"), .dns("xn--bcher-kva.example")])
        #expect(request.subjectText.isEmpty)
    }

    @Test(
        "A name that a certificate cannot carry is refused",
        arguments: [
            AlternativeName.dns(""), .dns("a..b"), .dns("w*.example.com"), .dns("a.*.example.com"),
            .dns("under_score.example"),
            .dns("example.com\0.evil.example"), .dns("192.0.2.1"), .email("nobody"), .email("a@b@c"),
            .email("ä@example.com"),
            .uri("no-scheme"), .uri("https:"), .uri("https://a b/"), .dns("a,DNS:b.example"),
        ])
    func refusesNames(_ name: AlternativeName) throws {
        let key = try PrivateKey.generate(.ed25519)
        #expect(throws: CertsError(.nameInvalid, "")) {
            try CertificateRequest.make(subject: Subject(), names: [name], key: key)
        }
    }

    @Test(
        "A subject outside of RFC 5280 is refused",
        arguments: [
            Subject(commonName: String(repeating: "a", count: 65)), Subject(commonName: ""),
            Subject(commonName: "a\nb"),
            Subject(country: "USA"), Subject(country: "us"), Subject(country: "ÄÖ"), Subject(organization: "\u{0}"),
            Subject(locality: String(repeating: "a", count: 129)),
        ])
    func refusesSubjects(_ subject: Subject) throws {
        let key = try PrivateKey.generate(.ed25519)
        let error = #expect(throws: CertsError.self) {
            try CertificateRequest.make(subject: subject, names: [.dns("a.example")], key: key)
        }
        #expect(error?.code == .nameInvalid && error?.hint != nil)
    }

    @Test func takesTheLongestCommonName() throws {
        let subject = Subject(commonName: String(repeating: "ü", count: 64))
        let request = try CertificateRequest.make(
            subject: subject, names: [.dns("a.example")], key: .generate(.ed25519))
        #expect(try CertificateRequest(der: request.der).subject == subject)
    }

    @Test func refusesTrailingBytesAndBrokenSignatures() throws {
        let request = try CertificateRequest.make(subject: subject, names: names, key: .generate(.ecdsaP256))
        let malformed = CertsError(.requestMalformed, "")
        #expect(throws: malformed) { try CertificateRequest(der: request.der + [0]) }
        #expect(throws: malformed) { try CertificateRequest(der: Data()) }
        #expect(throws: malformed) { try CertificateRequest(pem: Data()) }
        #expect(throws: malformed) { try CertificateRequest(der: Data(count: 70000)) }
        #expect(throws: malformed) { try CertificateRequest(pem: Data("garbage".utf8)) }
        let other = Data(request.der).replacingFirst("messenger", with: "massenger")
        let error = #expect(throws: CertsError.self) { try CertificateRequest(der: other) }
        #expect(error?.code == .requestMalformed && error?.message.contains("not signed with its own key") == true)
    }

    @Test func neverTrapsOnADamagedRequest() throws {
        let request = try CertificateRequest.make(subject: subject, names: names, key: .generate(.ecdsaP256))
        for index in request.der.indices {
            var damaged = request.der
            damaged[index] ^= 0x41
            _ = try? CertificateRequest(der: damaged)
            #expect(throws: CertsError(.requestMalformed, "")) {
                try CertificateRequest(der: request.der.prefix(index))
            }
        }
    }

    @Test(
        "Foreign requests are read with their names",
        arguments: [
            ("DNS:A.example,DNS:a.example,IP:10.0.0.1", ["dns:a.example", "ip:10.0.0.1"], 0),
            ("DNS:b.example,RID:1.2.3,otherName:1.2.3.4;UTF8:x,dirName:dn", ["dns:b.example"], 3),
        ])
    func readsForeign(_ names: String, _ expected: [String], _ foreign: Int) throws {
        let request = try foreignRequest("subjectAltName=\(names)")
        #expect(request.names.map(\.description) == expected)
        #expect(request.foreignNameCount == foreign)
        #expect(request.subject.commonName == "second")
        #expect(request.subjectText == "CN=second,CN=first\\,x,O=Ünit")
    }

    @Test(
        "Foreign names that cannot be are refused",
        arguments: ["DNS:a_b.example", "DNS:a b.example", "DNS:*", "email:x"])
    func refusesForeign(_ name: String) {
        #expect(throws: CertsError(.requestMalformed, "")) { try foreignRequest("subjectAltName=\(name)") }
    }

    private func foreignRequest(_ line: String) throws -> CertificateRequest {
        let directory = try TemporaryDirectory()
        try directory.write(
            """
            [req]
            prompt=no
            distinguished_name=dn
            req_extensions=ext
            string_mask=utf8only
            utf8=yes
            [dn]
            O=Ünit
            1.CN=first,x
            2.CN=second
            [ext]
            \(line)
            """, to: "req.cnf")
        let made = try Tool.run(
            "openssl", "req", "-new", "-newkey", "rsa:2048", "-nodes", "-config", "req.cnf", "-keyout", "key.pem",
            "-out", "csr.pem",
            directory: directory.path)
        try #require(made.status == 0, "\(made.output)")
        return try CertificateRequest(pem: Data(contentsOf: directory.url.appending(path: "csr.pem")))
    }
}

extension Data {
    func replacingFirst(_ old: String, with new: String) -> Data {
        guard let range = range(of: Data(old.utf8)) else { return self }
        var copy = self
        copy.replaceSubrange(range, with: Data(new.utf8))
        return copy
    }
}
