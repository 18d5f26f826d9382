import CertsCore
import Foundation
import Testing

@testable import certs

/// A valid file of which each test spoils one thing. Lines 3 to 7 are the issuer, line 9 begins the certificate.
private let valid = """
    version: 1
    issuers:
      ca:
        type: acme
        directory: https://ca.example.com/directory
        acceptTerms: true
        challenge: { type: http-01, listen: "127.0.0.1:8402" }
    certificates:
      - name: www
        dnsNames: [www.example.com]
        issuer: ca
    """

private func spoiled(_ old: String, _ new: String) -> String { valid.replacingOccurrences(of: old, with: new) }

/// The issuer with one more line, which is line 8.
private func adding(_ line: String) -> String {
    spoiled("8402\" }", "8402\" }\n    \(line)")
}

/// The issuer with another challenge, which begins at 7:16.
private func answering(_ challenge: String) -> String {
    spoiled("{ type: http-01, listen: \"127.0.0.1:8402\" }", challenge)
}

/// The certificate with another line of names, which is line 10.
private func naming(_ names: String, _ text: String = valid) -> String {
    text.replacingOccurrences(of: "dnsNames: [www.example.com]", with: names)
}

/// With a second issuer before the certificates; the certificate's `issuer` is line 12.
private func withSecond(_ issuer: String, _ reference: String) -> String {
    spoiled("certificates:", "  \(issuer)\ncertificates:").replacingOccurrences(
        of: "    issuer: ca", with: "    issuer: \(reference)")
}

private func parse(_ yaml: String) throws(CertsError) -> Declarations {
    try ConfigurationFile.parse(Array(yaml.utf8), path: "/etc/certs/certs.yml")
}

private func acme(_ yaml: String) throws -> ACMEDeclaration {
    guard case .acme(let declaration) = try #require(try parse(yaml).issuers.first).kind else {
        throw CertsError(.internal, "not an ACME issuer")
    }
    return declaration
}

private func problems(_ yaml: String) -> [String] {
    do {
        _ = try parse(yaml)
        return []
    } catch {
        return error.details
    }
}

@Suite("Issuers of type acme in the configuration file")
struct ACMEConfigurationTests {
    @Test("a short declaration has the defaults")
    func readsDefaults() throws {
        #expect(
            try acme(valid)
                == ACMEDeclaration(
                    directory: "https://ca.example.com/directory", acceptTerms: true,
                    challenges: [
                        ChallengeDeclaration(
                            method: .http01(.listen(try #require(SocketAddress("127.0.0.1:8402")))))
                    ]))
    }

    @Test("every key is read, paths become absolute, and addresses mailto: URLs")
    func readsEveryKey() throws {
        let yaml = """
            version: 1
            issuers:
              ca:
                type: acme
                directory: https://ca.example.com:14000/dir
                caFile: pebble.pem
                anchors: roots.pem
                contact: [ops@Example.com, "mailto:root@example.net", ops@example.com]
                acceptTerms: false
                accountKey: rsa-3072
                externalAccount: { keyID: kid-1, keyFile: eab.key, algorithm: HS384 }
                profile: { name: shortlived, required: true }
                preferredChain: { name: ISRG Root X1 }
                validity: 7d
                renewalInfo: false
                limits: { newOrders: 300/3h, newAccounts: 10/3h, perDomain: 50/7d, perNameSet: 5/7d, failedValidations: 5/1h }
                challenges:
                  - { type: tls-alpn-01, listen: "[::1]:8403", names: [Example.com], selfCheck: false }
                  - { type: http-01, directory: acme, selfCheck: { address: "127.0.0.1:8080", port: 5002, timeout: 10s } }
            """
        let declared = try acme(yaml)
        #expect(declared.directory == "https://ca.example.com:14000/dir")
        #expect(declared.caFile == "/etc/certs/pebble.pem")
        #expect(declared.anchorsFile == "/etc/certs/roots.pem")
        #expect(declared.contact == ["mailto:ops@example.com", "mailto:root@example.net"])
        #expect(!declared.acceptTerms)
        #expect(declared.accountKey == .rsa3072)
        #expect(
            declared.externalAccount == .init(keyID: "kid-1", keyFile: "/etc/certs/eab.key", algorithm: .hs384))
        #expect(declared.profile == .init(name: "shortlived", isRequired: true))
        #expect(declared.preferredChain == .rootName("ISRG Root X1"))
        #expect(declared.validity == TimeInterval(604_800))
        #expect(!declared.usesRenewalInfo)
        #expect(declared.limits == .letsEncrypt)
        #expect(
            declared.challenges == [
                ChallengeDeclaration(
                    method: .tlsALPN01(listen: try #require(SocketAddress("[::1]:8403"))), names: ["example.com"],
                    selfCheck: SelfCheck(isEnabled: false)),
                ChallengeDeclaration(
                    method: .http01(.directory("/etc/certs/acme")),
                    selfCheck: SelfCheck(address: SocketAddress("127.0.0.1:8080"), port: 5002, timeout: 10)),
            ])
    }

    @Test("each way to change the DNS is read")
    func readsProviders() throws {
        let yaml = answering("").replacingOccurrences(of: "challenge: ", with: "challenges:") + "\n"
        let list = """
            challenges:
                  - { type: dns-01, names: ["*.example.com", example.net], provider: { type: rfc2136, server: 192.0.2.53, zone: example.com., key: { name: acme., algorithm: hmac-sha512, secretFile: tsig.key } }, propagation: { servers: [192.0.2.1, "[2001:db8::1]:5353"], resolver: "127.0.0.1:5300", timeout: 5m, interval: 10s } }
                  - { type: dns-account-01, provider: { type: command, run: [./hook, --zone, example.com], timeout: 90s }, selfCheck: false }
                  - { type: dns-persist-01, provider: { type: webhook, url: "https://dns.example.com/acme", tokenFile: token, caFile: ca.pem } }
            """
        let declared = try acme(yaml.replacingOccurrences(of: "challenges:", with: list))
        func server(_ text: String) throws -> SocketAddress { try #require(SocketAddress(text)) }
        #expect(
            declared.challenges[0]
                == ChallengeDeclaration(
                    method: .dns01(
                        .rfc2136(
                            server: try server("192.0.2.53:53"), zone: "example.com",
                            key: .init(name: "acme", algorithm: .hmacSHA512, secretFile: "/etc/certs/tsig.key")),
                        Propagation(
                            servers: [try server("192.0.2.1:53"), try server("[2001:db8::1]:5353")],
                            resolver: try server("127.0.0.1:5300"), timeout: 300, interval: 10)),
                    names: ["*.example.com", "example.net"]))
        #expect(
            declared.challenges[1]
                == ChallengeDeclaration(
                    method: .dnsAccount01(
                        .command(["/etc/certs/hook", "--zone", "example.com"], timeout: 90), .init()),
                    selfCheck: SelfCheck(isEnabled: false)))
        #expect(
            declared.challenges[2]
                == ChallengeDeclaration(
                    method: .dnsPersist01(
                        .webhook(
                            url: "https://dns.example.com/acme", tokenFile: "/etc/certs/token",
                            caFile: "/etc/certs/ca.pem"),
                        .init())))
    }

    @Test("a CA that is known by a word has its address, and its limits where they are published")
    func readsWords() throws {
        for known in KnownDirectory.allCases {
            let declared = try acme(spoiled("https://ca.example.com/directory", known.rawValue))
            #expect(declared.directory == known.url)
            #expect(declared.limits == (known == .letsEncrypt ? .letsEncrypt : .none))
        }
        #expect(
            try acme(spoiled("https://ca.example.com/directory", KnownDirectory.letsEncrypt.url)).limits == .letsEncrypt
        )
        #expect(
            try acme(
                adding("limits: none").replacingOccurrences(of: "https://ca.example.com/directory", with: "letsencrypt")
            ).limits == .none)
        #expect(try acme(adding("limits: letsencrypt")).limits == .letsEncrypt)
        #expect(try acme(adding("limits: { newOrders: 1/1s }")).limits == IssuanceLimits(newOrders: .init(1, per: 1)))
    }

    @Test("a profile and a chain can be one word")
    func readsShortForms() throws {
        #expect(try acme(adding("profile: tlsserver")).profile == .init(name: "tlsserver"))
        #expect(try acme(adding("preferredChain: ISRG Root X2")).preferredChain == .rootName("ISRG Root X2"))
        let digits = String(repeating: "AB:", count: 31) + "AB"
        #expect(
            try acme(adding("preferredChain: { fingerprint: \"\(digits)\" }")).preferredChain
                == .fingerprint(try #require(Fingerprint(hex: digits))))
    }

    @Test("several issuers are kept in their order of preference")
    func readsSeveralIssuers() throws {
        let yaml = withSecond(
            "other: { type: acme, directory: zerossl, acceptTerms: true, challenge: { type: http-01, directory: /srv } }",
            "[other, ca]")
        let certificate = try #require(try parse(yaml).certificates.first)
        #expect(certificate.issuer.rawValue == "other")
        #expect(certificate.issuers.map(\.rawValue) == ["other", "ca"])
        #expect(try parse(valid).certificates.first?.otherIssuers == [])
    }

    @Test("the address of an IP certificate, and wildcards, find their challenge")
    func fitsNames() throws {
        #expect(problems(naming("ipAddresses: [192.0.2.1, \"2001:db8::1\"]")) == [])
        let addressed = answering("{ type: http-01, directory: /srv, names: [example.com, \"2001:DB8:0::1\"] }")
        #expect(problems(naming("dnsNames: [a.example.com]\n    ipAddresses: [\"2001:db8::1\"]", addressed)) == [])
        #expect(problems(naming("ipAddresses: [192.0.2.1]", addressed)).count == 1)
        let dns = "{ type: dns-01, names: [\"*.example.com\"], provider: { type: command, run: [hook] } }"
        let both = answering("").replacingOccurrences(
            of: "challenge: ", with: "challenges: [ \(dns), { type: http-01, directory: /srv } ]")
        #expect(problems(naming("dnsNames: [\"*.example.com\", www.example.com]", both)) == [])
        #expect(problems(naming("dnsNames: [\"*.example.net\"]", both)).count == 1, "no wildcard challenge is for it")
        let hundred = (1...100).map { "n\($0).example.com" }.joined(separator: ", ")
        #expect(problems(naming("dnsNames: [\(hundred)]")) == [])
    }

    @Test("both starter configurations are valid, and the one for ACME tries the staging environment first")
    func starterIsValid() throws {
        let declarations = try parse(StarterConfiguration.acme)
        #expect(declarations.certificates.first?.issuer.rawValue == "staging")
        guard case .acme(let staging) = try #require(declarations.issuers.first).kind else {
            Issue.record("not ACME")
            return
        }
        #expect(staging.directory == KnownDirectory.letsEncryptStaging.url)
        #expect(!staging.acceptTerms, "a program agrees to nothing")
    }

    @Test("two issuers may listen in one place for the same, and not for different things")
    func sharesListeners() throws {
        func second(_ challenge: String) -> [String] {
            problems(
                withSecond(
                    "other: { type: acme, directory: zerossl, acceptTerms: true, challenge: \(challenge) }", "ca"))
        }
        #expect(second("{ type: http-01, listen: \"127.0.0.1:8402\" }") == [])
        let found = second("{ type: tls-alpn-01, listen: \"127.0.0.1:8402\" }")
        #expect(found.count == 1)
        #expect(
            found.first?.contains("would listen for tls-alpn-01 on 127.0.0.1:8402, as http-01 does") == true, "\(found)"
        )
        let metrics = problems(valid + "\nserver: { listen: \"127.0.0.1:8402\" }")
        #expect(metrics.first?.contains("as 'server' does") == true, "\(metrics)")
    }

    @Test(
        "each mistake is told with its place and what to write instead",
        arguments: wrongIssuers + wrongChallenges + wrongFits)
    func refuses(_ wrong: WrongConfiguration) {
        let found = problems(wrong.yaml)
        #expect(found.count == 1, "\(found)")
        #expect(found.first?.hasPrefix("/etc/certs/certs.yml:\(wrong.place): ") == true, "\(found)")
        #expect(found.first?.contains(wrong.text) == true, "\(found)")
        #expect(found.first?.contains("; ") == true, "without a remedy: \(found)")
    }
}

private let wrongIssuers: [WrongConfiguration] = [
    .init("an unknown key", adding("challange: x"), "8:5", "did you mean 'challenge'?"),
    .init(
        "no directory", spoiled("    directory: https://ca.example.com/directory\n", ""), "4:5", "has no 'directory'"),
    .init("an http directory", spoiled("https://", "http://"), "5:16", "is not an https address"),
    .init("another scheme", spoiled("https://", "ftp://"), "5:16", "is not an https address"),
    .init(
        "no scheme", spoiled("https://ca.example.com/directory", "ca.example.com/directory"), "5:16",
        "is not an address"),
    .init("a user in the address", spoiled("https://", "https://me:secret@"), "5:16", "has a user or a fragment"),
    .init(
        "a misspelt word", spoiled("https://ca.example.com/directory", "letsencrpt"), "5:16",
        "did you mean 'letsencrypt'?"),
    .init(
        "an unknown word", spoiled("https://ca.example.com/directory", "buypass"), "5:16",
        "the https address of the CA's"),
    .init("no word on the terms", spoiled("    acceptTerms: true\n", ""), "4:5", "has no 'acceptTerms'"),
    .init(
        "terms that are no flag", spoiled("acceptTerms: true", "acceptTerms: perhaps"), "6:18", "must be true or false"),
    .init("contact as a text", adding("contact: ops@example.com"), "8:14", "must be a list"),
    .init("a contact without a domain", adding("contact: [ops]"), "8:15", "needs exactly one '@'"),
    .init("a contact with header fields", adding("contact: [\"mailto:a@example.com?subject=x\"]"), "8:15", "is not a"),
    .init("two contacts in one", adding("contact: [\"a@example.com,b@example.com\"]"), "8:15", "needs exactly one '@'"),
    .init("a telephone", adding("contact: [\"tel:+1\"]"), "8:15", "is not an e-mail address"),
    .init("an account key without a signature", adding("accountKey: ed25519"), "8:17", "is not for account keys"),
    .init("an unknown account key", adding("accountKey: dsa"), "8:17", "is not a key algorithm"),
    .init("an external account without a key", adding("externalAccount: { keyID: a }"), "8:22", "has no 'keyFile'"),
    .init("an external account without an id", adding("externalAccount: { keyFile: a }"), "8:22", "has no 'keyID'"),
    .init(
        "an unknown MAC", adding("externalAccount: { keyID: a, keyFile: b, algorithm: HS1 }"), "8:57",
        "is not an algorithm"),
    .init(
        "a secret in the file", adding("externalAccount: { keyID: a, keyFile: b, key: c }"), "8:46", "unknown key 'key'"
    ),
    .init("a profile without a name", adding("profile: { required: true }"), "8:14", "has no 'name'"),
    .init(
        "a short fingerprint", adding("preferredChain: { fingerprint: abcd }"), "8:36", "is not a SHA-256 fingerprint"),
    .init("an empty chain", adding("preferredChain: {}"), "8:21", "has no 'fingerprint'"),
    .init(
        "a chain by both", adding("preferredChain: { name: a, fingerprint: \(String(repeating: "ab", count: 32)) }"),
        "8:21",
        "has a name and a fingerprint"),
    .init("a lifetime of seconds", adding("validity: 60s"), "8:15", "out of its bounds"),
    .init("limits that nobody has", adding("limits: generous"), "8:13", "is not a set of limits"),
    .init("a rate without a time", adding("limits: { newOrders: 300 }"), "8:26", "is not a rate"),
    .init("a rate of nothing", adding("limits: { perDomain: 0/1h }"), "8:26", "is not a rate"),
    .init("a rate in no time", adding("limits: { perDomain: 1/0h }"), "8:26", "is not a rate"),
    .init("an unknown limit", adding("limits: { orders: 1/1h }"), "8:15", "unknown key 'orders'"),
]

private let wrongChallenges: [WrongConfiguration] = [
    .init(
        "no challenge", spoiled("    challenge: { type: http-01, listen: \"127.0.0.1:8402\" }\n", ""), "4:5",
        "has no 'challenge'"),
    .init("a challenge twice", adding("challenges: [ { type: http-01, directory: /a } ]"), "8:17", "write all of them"),
    .init(
        "no challenges", answering("").replacingOccurrences(of: "challenge: ", with: "challenges: []"), "7:17",
        "is empty"),
    .init("a word instead of a block", answering("http-01"), "7:16", "must be a block"),
    .init("no type", answering("{ listen: \"127.0.0.1:8402\" }"), "7:16", "has no 'type'"),
    .init("an unknown type", answering("{ type: http-02 }"), "7:24", "did you mean 'http-01'?"),
    .init("neither listener nor directory", answering("{ type: http-01 }"), "7:16", "has no 'listen'"),
    .init(
        "a listener and a directory", answering("{ type: http-01, listen: \"127.0.0.1:1\", directory: /a }"), "7:67",
        "leave one of them out"),
    .init("a listener without a port", answering("{ type: http-01, listen: 127.0.0.1 }"), "7:41", "with a port"),
    .init(
        "a listener by name", answering("{ type: http-01, listen: \"localhost:80\" }"), "7:41", "is not an IP address"),
    .init("no listener", answering("{ type: tls-alpn-01 }"), "7:16", "has no 'listen'"),
    .init(
        "a wildcard by http", answering("{ type: http-01, directory: /a, names: [\"*.example.com\", example.com] }"),
        "7:56",
        "cannot be proved by http-01"),
    .init(
        "a wrong name", answering("{ type: http-01, directory: /a, names: [a..b, example.com] }"), "7:56", "empty label"
    ),
    .init(
        "a wrong self-check", answering("{ type: http-01, directory: /a, selfCheck: maybe }"), "7:59", "true or false"),
    .init(
        "a self-check at a name", answering("{ type: http-01, directory: /a, selfCheck: { address: lb } }"), "7:70",
        "is not an IP address"),
    .init(
        "a self-check of the DNS",
        answering("{ type: dns-01, selfCheck: { timeout: 1s }, provider: { type: command, run: [a] } }"),
        "7:43", "under 'propagation'"),
    .init("no provider", answering("{ type: dns-01 }"), "7:16", "has no 'provider'"),
    .init(
        "an unknown provider", answering("{ type: dns-01, provider: { type: route53 } }"), "7:50",
        "known: rfc2136, command"),
    .init("a provider without a type", answering("{ type: dns-01, provider: { run: [a] } }"), "7:42", "has no 'type'"),
    .init("no server", answering("{ type: dns-01, provider: { type: rfc2136 } }"), "7:42", "has no 'server'"),
    .init(
        "a server by name", answering("{ type: dns-01, provider: { type: rfc2136, server: ns1 } }"), "7:67",
        "not the address of a name server"),
    .init(
        "a wildcard zone",
        answering("{ type: dns-01, provider: { type: rfc2136, server: 192.0.2.1, zone: \"*.example.com\" } }"),
        "7:84", "a zone has no wildcard"),
    .init(
        "a key without a secret",
        answering("{ type: dns-01, provider: { type: rfc2136, server: 192.0.2.1, key: { name: a } } }"), "7:83",
        "has no 'secretFile'"),
    .init(
        "an old MAC",
        answering(
            "{ type: dns-01, provider: { type: rfc2136, server: 192.0.2.1, key: { name: a, secretFile: b, algorithm: hmac-md5 } } }"
        ), "7:120", "is not an algorithm"),
    .init(
        "a strange key name",
        answering(
            "{ type: dns-01, provider: { type: rfc2136, server: 192.0.2.1, key: { name: \"a b\", secretFile: c } } }"),
        "7:91", "is not the name of a key"),
    .init(
        "a hook for a shell", answering("{ type: dns-01, provider: { type: command, run: [a b] } }"), "7:65", "no shell"
    ),
    .init("no hook", answering("{ type: dns-01, provider: { type: command } }"), "7:42", "has no 'run'"),
    .init(
        "an http webhook", answering("{ type: dns-01, provider: { type: webhook, url: \"http://a/\" } }"), "7:64",
        "is not an https address"),
    .init(
        "a hasty question",
        answering("{ type: dns-01, provider: { type: command, run: [a] }, propagation: { interval: 0s } }"),
        "7:96", "out of its bounds"),
    .init(
        "a challenge that is never used",
        answering("").replacingOccurrences(
            of: "challenge: ",
            with: "challenges: [ { type: http-01, directory: /a }, { type: http-01, directory: /b } ]"),
        "7:53", "is never used"),
]

private let wrongFits: [WrongConfiguration] = [
    .init(
        "an e-mail address", naming("dnsNames: [a.example.com]\n    emailAddresses: [a@example.com]"), "11:21",
        "signs no e-mail"),
    .init("a URI", naming("dnsNames: [a.example.com]\n    uris: [\"spiffe://a/b\"]"), "11:11", "signs no URIs"),
    .init(
        "101 names", naming("dnsNames: [\((1...101).map { "n\($0).example.com" }.joined(separator: ", "))]"), "10:15",
        "takes up to 100"),
    .init(
        "a wildcard without dns-01", naming("dnsNames: [\"*.example.com\"]"), "10:15", "can only be proved in the DNS"),
    .init(
        "an address by dns-01",
        naming("ipAddresses: [192.0.2.1]", answering("{ type: dns-01, provider: { type: command, run: [a] } }")),
        "10:18", "only be proved by http-01"),
    .init(
        "a name that no challenge is for", answering("{ type: http-01, directory: /a, names: [example.net] }"), "10:15",
        "is for 'www.example.com'"),
    .init("no issuer of several", spoiled("issuer: ca", "issuer: []"), "11:13", "is empty"),
    .init("an issuer twice", spoiled("issuer: ca", "issuer: [ca, ca]"), "11:18", "is named twice"),
    .init("an unknown one of several", spoiled("issuer: ca", "issuer: [ca, cb]"), "11:18", "there is no issuer 'cb'"),
    .init(
        "an issuer behind one that never fails", withSecond("local: { type: local-ca, commonName: CA }", "[local, ca]"),
        "12:14", "are never asked"),
    .init(
        "a key that public CAs do not sign",
        spoiled("https://ca.example.com/directory", "letsencrypt") + "\n    key: { algorithm: ed25519 }", "12:10",
        "signs no ed25519 keys"),
    .init(
        "a staple that Let's Encrypt does not give",
        spoiled("https://ca.example.com/directory", "letsencrypt") + "\n    staple: true", "12:13",
        "name no OCSP responder"),
]
