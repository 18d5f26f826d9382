import CertsCore
import CertsCrypto
import Foundation
import Testing

@Suite struct ChainVerifierTests {
    private func withFixture<Result>(_ body: (OpenSSLFixture) throws -> Result) throws -> Result {
        let fixture = try OpenSSLFixture()
        defer { fixture.remove() }
        return try body(fixture)
    }

    private func ids(_ verdict: ChainVerdict) -> [String] { verdict.findings.map(\.id) }

    @Test func acceptsAChainAndReturnsItUpToTheRoot() throws {
        try withFixture { fixture in
            let made = try fixture.chain()
            let expected = [made.leaf.certificate, made.intermediate.certificate, made.root.certificate]
            let verifier = ChainVerifier(
                roots: [made.root.certificate], untrusted: [made.intermediate.certificate], host: "www.example.com",
                time: Date())
            let verdict = verifier.verify(made.leaf.certificate)
            #expect(verdict.valid && verdict.findings.isEmpty)
            #expect(verdict.chain == expected)

            var early = verifier
            early.time = Date(timeIntervalSinceNow: -86_400)
            #expect(ids(early.verify(made.leaf.certificate)).first == "not-yet-valid")
            var late = verifier
            late.time = made.leaf.certificate.record.notAfter
            #expect(late.verify(made.leaf.certificate).valid)
            late.time += 1
            #expect(ids(late.verify(made.leaf.certificate)) == ["expired"])
            late.time = made.root.certificate.record.notAfter + 1
            #expect(ids(late.verify(made.leaf.certificate)).contains("issuer-expired"))

            var alone = verifier
            alone.untrusted = []
            #expect(ids(alone.verify(made.leaf.certificate)) == ["issuer-missing"])
            alone.untrusted = [made.intermediate.certificate, made.root.certificate]
            alone.roots = []
            #expect(ids(alone.verify(made.leaf.certificate)) == ["untrusted"])
            // An intermediate that was declared trusted is an anchor like any other.
            alone.roots = [made.intermediate.certificate]
            #expect(alone.verify(made.leaf.certificate).chain.count == 2)

            var shallow = verifier
            shallow.maxDepth = 0
            #expect(ids(shallow.verify(made.leaf.certificate)) == ["too-deep"])
            shallow.maxDepth = 1
            #expect(shallow.verify(made.leaf.certificate).valid)
            var client = verifier
            client.purpose = .client
            #expect(ids(client.verify(made.leaf.certificate)).contains("missing-client-auth"))
        }
    }

    @Test(arguments: [
        ("DNS:www.example.com", "www.example.com", true), ("DNS:www.example.com", "WWW.Example.COM", true),
        ("DNS:www.example.com", "example.com", false), ("DNS:*.example.com", "www.example.com", true),
        ("DNS:*.example.com", "a.b.example.com", false), ("DNS:*.example.com", "example.com", false),
        ("DNS:w*.example.com", "www.example.com", false), ("DNS:*.com", "example.com", false),
        ("DNS:*.co.uk", "example.co.uk", false), ("DNS:xn--bcher-kva.example", "bücher.example", true),
        ("IP:192.0.2.1", "192.0.2.1", true), ("IP:192.0.2.1", "192.0.2.2", false),
        ("IP:2001:db8::1", "2001:db8:0::1", true),
        ("DNS:192.0.2.1", "192.0.2.1", false), ("DNS:a_b.example.com", "a_b.example.com", false),
        ("email:www@example.com", "www.example.com", false), ("DNS:www.example.com", "*.example.com", false),
        ("DNS:www.example.com", "www.example.com\u{0}.evil.com", false),
    ])
    func matchesHostsAsRFC9525Says(names: String, host: String, expected: Bool) throws {
        try withFixture { fixture in
            let leaf = try fixture.make("leaf", subject: "/O=none", extensions: OpenSSLFixture.server(names))
                .certificate
            #expect(ChainVerifier(roots: [leaf], host: host, time: Date()).verify(leaf).valid == expected)
        }
    }

    @Test(arguments: [
        ("subjectAltName=", "san-missing"), ("extendedKeyUsage=", "missing-server-auth"),
        ("extendedKeyUsage=clientAuth", "missing-server-auth"),
        ("extendedKeyUsage=serverAuth,anyExtendedKeyUsage", "extended-key-usage"),
        ("basicConstraints=critical,CA:TRUE", "leaf-is-ca"),
        ("keyUsage=critical,digitalSignature,keyCertSign", "leaf-is-ca"),
        ("keyUsage=critical,cRLSign", "key-usage"),
        ("nameConstraints=permitted;DNS:example.com", "leaf-name-constraints"),
        ("1.2.3.4=critical,ASN1:NULL", "extension-unknown-critical"),
        ("subjectAltName=critical,DNS:www.example.com", "extension-criticality"),
        ("authorityInfoAccess=DER:6d616c", "extension-malformed"),
        ("subjectAltName=DNS:www.example.com,DNS:-x.example.com", "name-malformed"),
        ("policyConstraints=requireExplicitPolicy:0", "extension-criticality"),
        ("authorityKeyIdentifier=", "authority-key-id"),
    ])
    func refusesALeaf(line: String, id: String) throws {
        try withFixture { fixture in
            let root = try fixture.make("Root", extensions: OpenSSLFixture.authority)
            let name = line.prefix { $0 != "=" }
            let kept = OpenSSLFixture.server("DNS:www.example.com").filter { !$0.hasPrefix("\(name)=") }
            // `none` keeps the command from adding the identifier by itself.
            let added =
                line.hasSuffix("=") ? (name == "authorityKeyIdentifier" ? ["authorityKeyIdentifier=none"] : []) : [line]
            let leaf = try fixture.make("www.example.com", issuer: root, extensions: kept + added).certificate
            let verdict = ChainVerifier(roots: [root.certificate], host: "www.example.com", time: Date()).verify(leaf)
            #expect(!verdict.valid)
            #expect(ids(verdict).contains(id), "\(verdict.findings)")
            #expect(verdict.findings.allSatisfy { !$0.remedy.isEmpty && $0.severity == .error })
        }
    }

    @Test(arguments: [
        ("basicConstraints=CA:FALSE", "not-a-ca"), ("basicConstraints=", "not-a-ca"),
        ("basicConstraints=CA:TRUE", "extension-criticality"),
        ("keyUsage=critical,cRLSign", "not-a-ca"), ("extendedKeyUsage=clientAuth", "issuer-purpose"),
        ("subjectKeyIdentifier=none", "subject-key-id"), ("1.2.3.4=critical,ASN1:NULL", "extension-unknown-critical"),
        ("nameConstraints=critical,permitted;DNS:.example.com", "name-constraints-malformed"),
        ("nameConstraints=critical,permitted;IP:192.0.2.0/255.0.255.0", "name-constraints-malformed"),
        ("nameConstraints=critical,DER:3000", "name-constraints-malformed"),
    ])
    func refusesAnIntermediate(line: String, id: String) throws {
        try withFixture { fixture in
            let root = try fixture.make("Root", extensions: OpenSSLFixture.authority)
            let name = line.prefix { $0 != "=" }
            let lines =
                OpenSSLFixture.authority.filter { !$0.hasPrefix("\(name)=") } + (line.hasSuffix("=") ? [] : [line])
            let middle = try fixture.make("Middle", issuer: root, extensions: lines)
            let server = OpenSSLFixture.server("DNS:www.example.com").map {
                id == "subject-key-id" && $0.hasPrefix("authority") ? "authorityKeyIdentifier=none" : $0
            }
            let leaf = try fixture.make("www.example.com", issuer: middle, extensions: server).certificate
            let verdict = ChainVerifier(roots: [root.certificate], untrusted: [middle.certificate], time: Date())
                .verify(leaf)
            #expect(!verdict.valid)
            #expect(ids(verdict).contains(id), "\(verdict.findings)")
        }
    }

    @Test(arguments: [
        ("permitted;DNS:example.com", "DNS:a.b.example.com", true),
        ("permitted;DNS:example.com", "DNS:example.org", false),
        ("permitted;DNS:example.com", "DNS:badexample.com", false),
        ("permitted;DNS:example.com", "DNS:*.example.com", true),
        ("permitted;DNS:www.example.com", "DNS:*.example.com", false),
        ("excluded;DNS:www.example.com", "DNS:*.example.com", false),
        ("excluded;DNS:example.com", "DNS:EXAMPLE.com", false), ("excluded;DNS:example.com", "DNS:example.org", true),
        ("permitted;IP:192.0.2.0/255.255.255.0", "IP:192.0.2.9", true),
        ("permitted;IP:192.0.2.0/255.255.255.0", "IP:192.0.3.9", false),
        ("permitted;IP:192.0.2.0/255.255.255.0", "IP:2001:db8::1", false),
        ("excluded;IP:::/::", "IP:2001:db8::1", false),
        ("permitted;IP:192.0.2.0/255.255.255.0", "DNS:example.com", true),
        ("permitted;email:example.com", "email:a@example.com", true),
        ("permitted;email:example.com", "email:a@sub.example.com", false),
        ("permitted;email:.example.com", "email:a@sub.example.com", true),
        ("permitted;email:a@example.com", "email:b@example.com", false),
        ("permitted;URI:.example.com", "URI:https://www.example.com/x", true),
        ("permitted;URI:www.example.com", "URI:https://example.com/", false),
        ("permitted;URI:www.example.com", "URI:urn:none", false),
        ("excluded;URI:www.example.com", "URI:https://www.example.com:8443/", false),
        ("permitted;dirName:dir", "DNS:example.com", true), ("excluded;dirName:dir", "DNS:example.com", false),
        ("permitted;dirName:other", "DNS:example.com", false), ("excluded;RID:1.2.3", "RID:1.2.3.4", false),
        ("excluded;RID:1.2.3", "DNS:example.com", true),
    ])
    func appliesNameConstraintsOfEveryForm(constraint: String, names: String, expected: Bool) throws {
        try withFixture { fixture in
            let root = try fixture.make("Root", extensions: OpenSSLFixture.authority)
            let sections = ["[dir]", "O=Silent relay", "[other]", "O=Other"]
            let middle = try fixture.make(
                "Middle", issuer: root,
                extensions: OpenSSLFixture.authority + ["nameConstraints=critical,\(constraint)"] + sections)
            let leaf = try fixture.make(
                "leaf", subject: "/O=Silent  Relay", issuer: middle, extensions: OpenSSLFixture.server(names)
            ).certificate
            let verdict = ChainVerifier(roots: [root.certificate], untrusted: [middle.certificate], time: Date())
                .verify(leaf)
            #expect(verdict.valid == expected, "\(verdict.findings)")
            if !expected { #expect(ids(verdict) == ["name-constraints"]) }
        }
    }

    @Test func findsTheOneGoodPathAmongDeadEnds() throws {
        try withFixture { fixture in
            let root = try fixture.make("Root", extensions: OpenSSLFixture.authority)
            let foreign = try fixture.make("Foreign", extensions: OpenSSLFixture.authority)
            let good = try fixture.make(
                "good", subject: "/CN=Issuing", issuer: root, extensions: OpenSSLFixture.authority)
            // The same authority three times over: not known to us, not allowed the name, not allowed to sign.
            let unknown = try fixture.make(
                "unknown", subject: "/CN=Issuing", issuer: foreign, reuseKeyOf: good,
                extensions: OpenSSLFixture.authority)
            let narrow = try fixture.make(
                "narrow", subject: "/CN=Issuing", issuer: root, reuseKeyOf: good,
                extensions: OpenSSLFixture.authority + ["nameConstraints=critical,permitted;DNS:example.org"])
            let noCA = try fixture.make(
                "noca", subject: "/CN=Issuing", issuer: root, reuseKeyOf: good,
                extensions: [
                    "basicConstraints=critical,CA:FALSE", "subjectKeyIdentifier=hash", "authorityKeyIdentifier=keyid",
                ])
            let leaf = try fixture.make(
                "www.example.com", issuer: good, extensions: OpenSSLFixture.server("DNS:www.example.com")
            ).certificate
            var verifier = ChainVerifier(
                roots: [root.certificate],
                untrusted: [unknown, narrow, noCA, foreign, good].map(\.certificate), host: "www.example.com",
                time: Date())
            #expect(verifier.verify(leaf).chain == [leaf, good.certificate, root.certificate])
            verifier.untrusted = [unknown, noCA, narrow].map(\.certificate)
            #expect(!verifier.verify(leaf).valid)
        }
    }

    @Test(arguments: [
        (["RSA", "rsa_keygen_bits:1024"], "-sha256"), (["RSA", "rsa_keygen_bits:2052"], "-sha256"),
        (["EC", "ec_paramgen_curve:secp256k1"], "-sha256"),
        (["EC", "ec_paramgen_curve:P-256", "ec_param_enc:explicit"], "-sha256"),
        (["ED448"], "-sha256"), (["RSA", "rsa_keygen_bits:2048"], "-sha1"),
    ])
    func refusesWeakKeysAndSignatures(key: [String], digest: String) throws {
        try withFixture { fixture in
            let leaf = try fixture.make(
                "leaf.example.com", key: key, digest: digest, extensions: OpenSSLFixture.server("DNS:leaf.example.com")
            ).certificate
            let found = ids(ChainVerifier(roots: [leaf], time: Date()).verify(leaf))
            #expect(found.contains(digest == "-sha1" ? "weak-signature" : "weak-key"))
        }
    }

    @Test func refusesAPathThatIsLongerThanAnAuthorityAllows() throws {
        try withFixture { fixture in
            let limited = ["basicConstraints=critical,CA:TRUE,pathlen:0"] + OpenSSLFixture.authority.dropFirst()
            let root = try fixture.make("Root", extensions: limited)
            let middle = try fixture.make("Middle", issuer: root, extensions: OpenSSLFixture.authority)
            let leaf = try fixture.make(
                "www.example.com", issuer: middle, extensions: OpenSSLFixture.server("DNS:www.example.com")
            ).certificate
            #expect(
                ids(
                    ChainVerifier(roots: [root.certificate], untrusted: [middle.certificate], time: Date()).verify(leaf)
                ) == ["path-length"])
        }
    }

    @Test func believesOnlySoundCRLs() throws {
        try withFixture { fixture in
            let root = try fixture.make("Root", extensions: OpenSSLFixture.authority)
            let leaf = try fixture.make(
                "www.example.com", issuer: root, serial: "0x77",
                extensions: OpenSSLFixture.server("DNS:www.example.com")
            ).certificate
            func crl(revoking serial: String?, extensions: String = "crl_extensions=crl_ext") throws -> Data {
                let index = serial.map { "R\t400101000000Z\t240101000000Z\t\($0)\tunknown\t/CN=x\n" } ?? ""
                try Data(index.utf8).write(to: URL(fileURLWithPath: fixture.path("index.txt")))
                try Data("01\n".utf8).write(to: URL(fileURLWithPath: fixture.path("crlnumber")))
                let text = """
                    [ca]
                    default_ca=x
                    [x]
                    database=\(fixture.path("index.txt"))
                    crlnumber=\(fixture.path("crlnumber"))
                    default_md=sha256
                    default_crl_days=10
                    \(extensions)
                    [crl_ext]
                    authorityKeyIdentifier=keyid
                    """
                try Data(text.utf8).write(to: URL(fileURLWithPath: fixture.path("ca.cnf")))
                let output = fixture.path("list.crl")
                try fixture.openssl([
                    "ca", "-config", fixture.path("ca.cnf"), "-gencrl", "-cert", fixture.path("Root.pem"), "-keyfile",
                    fixture.path("Root.key"), "-out", output,
                ])
                return try Data(contentsOf: URL(fileURLWithPath: output))
            }
            func verdict(_ crls: [Data], at time: Date = Date()) -> [String] {
                ids(
                    ChainVerifier(roots: [root.certificate], host: "www.example.com", time: time, crls: crls).verify(
                        leaf))
            }
            let clean = try crl(revoking: "55")
            #expect(verdict([clean]) == [])
            let revoking = try crl(revoking: "77")
            #expect(verdict([revoking]) == ["revoked"])
            #expect(verdict([clean], at: Date(timeIntervalSinceNow: 11 * 86_400)) == ["crl-invalid"])
            #expect(verdict([Data("junk".utf8)]).contains("crl-malformed"))
            var forged = String(decoding: clean, as: UTF8.self).split(separator: "\n").map(String.init)
            forged[forged.count - 2] = String(forged[forged.count - 2].reversed()).replacingOccurrences(
                of: "=", with: "A")
            #expect(verdict([Data(forged.joined(separator: "\n").utf8)]) != [])
            let other = try fixture.make("Other Root", extensions: OpenSSLFixture.authority).certificate
            let foreign = ChainVerifier(roots: [other], time: Date(), crls: [clean]).verify(leaf)
            #expect(!foreign.valid)
        }
    }
}
