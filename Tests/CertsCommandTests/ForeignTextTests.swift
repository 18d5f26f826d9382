import CertsCore
import Foundation
import Testing

@testable import certs

/// The files of settings of other clients.
@Suite struct ForeignTextTests {
    static let renewal = """
        # renew_before_expiry = 30 days
        renew_before_expiry = 20 days
        version = 2.1.0
        cert = /etc/letsencrypt/live/www.example.com/cert.pem

        # Options used in the renewal process
        [renewalparams]
        account = 0123456789abcdef0123456789abcdef
        authenticator = webroot
        webroot_path = /var/www/other,
        server = https://acme-v02.api.letsencrypt.org/directory
        key_type = ecdsa
        reuse_key = True
        preferred_chain = ISRG Root X1
        required_profile = shortlived
        [[webroot_map]]
        www.example.com = /var/www/html
        """

    @Test func `a renewal file of certbot`() {
        let settings = CertbotFolder.settings(ForeignText.sections(Self.renewal))
        #expect(settings.server == "https://acme-v02.api.letsencrypt.org/directory")
        #expect(settings.account == "0123456789abcdef0123456789abcdef")
        #expect(settings.renewBefore == TimeInterval(20 * 86400))
        #expect(settings.reusesKey)
        #expect(settings.preferredChain == "ISRG Root X1")
        #expect(settings.profile == "shortlived" && settings.isProfileRequired)
        #expect(settings.challenge == .directory("/var/www/html/.well-known/acme-challenge"))
    }

    @Test(
        arguments: [
            ("authenticator = standalone\nhttp01_port = 8080", .http(address: nil, port: 8080)),
            ("authenticator = dns-route53", .dns("dns-route53")),
            ("authenticator = manual\npref_challs = dns-01,", .dns("manual")),
            ("authenticator = nginx", nil),
            ("", nil),
        ] as [(String, ForeignChallenge?)])
    func `ways of certbot to answer challenges`(_ lines: String, _ expected: ForeignChallenge?) {
        let sections = ForeignText.sections("[renewalparams]\n\(lines)\n")
        #expect(CertbotFolder.settings(sections).challenge == expected)
    }

    @Test func `sections of nothing, of garbage, and without an end`() {
        #expect(ForeignText.sections("") == [:])
        #expect(ForeignText.sections("[[orphan]]\na = 1\n=\n[open\nb=2") == ["/orphan": ["a": "1", "": "", "b": "2"]])
    }

    @Test func `assignments of a shell are read, and never expanded`() {
        let text = """
            # A='comment'
            Le_Domain='www.example.com'
            export Le_Alt="a.example.com,b.example.com"
            Le_ReloadCmd='__ACME_BASE64__START_c3lzdGVtY3RsIHJlbG9hZCBoYXByb3h5__ACME_BASE64__END_'
              PLAIN=$(id)
            not an assignment
            bad-name=1
            """
        let found = ForeignText.assignments(text)
        #expect(found["Le_Domain"] == "www.example.com")
        #expect(found["Le_Alt"] == "a.example.com,b.example.com")
        #expect(found["PLAIN"] == "$(id)")
        #expect(found.count == 4)
        #expect(AcmeShFolder.decoded(found["Le_ReloadCmd"] ?? "") == "systemctl reload haproxy")
        #expect(AcmeShFolder.decoded("plain") == "plain")
    }

    @Test(
        arguments: [
            ("30 days", 30 * 86400), ("1 day", 86400), ("2 weeks", 14 * 86400), ("12 Hours", 12 * 3600),
            ("thirty days", nil), ("30", nil), ("-1 days", nil), ("30 fortnights", nil), ("", nil),
        ] as [(String, TimeInterval?)])
    func `durations in words`(_ text: String, _ expected: TimeInterval?) {
        #expect(ForeignText.duration(text) == expected)
    }

    @Test(
        arguments: [
            ("/var/www", .directory("/var/www/.well-known/acme-challenge")), ("no", .http(address: nil, port: nil)),
            ("alpn", .tlsALPN(address: nil, port: nil)), ("dns_cf", .dns("dns_cf")), ("", nil), ("nginx:", nil),
            ("dns_cf,dns_cf", .dns("dns_cf")),
        ] as [(String, ForeignChallenge?)])
    func `ways of acme.sh to answer challenges`(_ webroot: String, _ expected: ForeignChallenge?) {
        #expect(AcmeShFolder.challenge(webroot) == expected)
    }

    @Test func `where acme.sh and Caddy keep what belongs to a directory`() {
        #expect(AcmeShFolder.accountPlace("https://127.0.0.1:14000/dir") == "ca/127.0.0.1/dir")
        #expect(
            CaddyFolder.folderName("https://acme-v02.api.letsencrypt.org/directory")
                == "acme-v02.api.letsencrypt.org-directory")
        #expect(CaddyFolder.folderName("https://127.0.0.1:14000/dir") == "127.0.0.1-14000-dir")
    }

    @Test(
        arguments: [
            ("www.example.com", "www.example.com"), ("ops@example.com", "ops@example.com"), ("/a/b", "/a/b"),
            ("*.example.com", "\"*.example.com\""), ("127.0.0.1", "\"127.0.0.1\""), ("no", "\"no\""),
            ("a: b", "\"a: b\""), ("a\n- b", "\"a\\x0a- b\""), ("say \"x\"\\", "\"say \\\"x\\\"\\\\\""), ("", "\"\""),
        ])
    func `values of YAML are quoted where they must be`(_ text: String, _ expected: String) {
        #expect(YAMLText.scalar(text) == expected)
    }

    @Test(
        arguments: [
            ("www.example.com", "www.example.com"), ("*.Example.com", "wildcard.example.com"),
            ("_.example.com", "example.com"), ("../../etc", "etc"), ("bücher.de", "b-cher.de"), ("***", "certificate"),
        ])
    func `labels of other clients become names`(_ label: String, _ expected: String) throws {
        #expect(NameChoice.plain(label) == expected)
        _ = try Name(NameChoice.plain(label))
    }

    @Test func `names are used once`() throws {
        var names = NameChoice(nil)
        let label = String(repeating: "a", count: 80)
        let found = (0..<4).compactMap { _ in names.certificate(label, type: .rsa)?.rawValue }
        #expect(Set(found).count == 4 && found.allSatisfy { $0.count <= 63 })
        #expect(found[1].hasSuffix("-rsa") && found[2].hasSuffix("-2"))
        let issuers = try [names.issuer("letsencrypt"), names.issuer("letsencrypt")].map(\.rawValue)
        #expect(issuers == ["letsencrypt", "letsencrypt-2"])
    }
}
