import CertsCore
import CertsCrypto
import CertsTesting
import Foundation
import Testing

@testable import certs

/// From the directory of another client to a configuration file.
@Suite struct ImportPlanTests {
    let directory: TemporaryDirectory
    let pki: TestPKI

    init() throws {
        directory = try TemporaryDirectory()
        pki = try TestPKI()
    }

    private static let letsEncrypt = "https://acme-v02.api.letsencrypt.org/directory"

    /// A directory as acme.sh 3.1 keeps it.
    private func acmeSh(
        _ names: [String], algorithm: KeyAlgorithm = .ecdsaP256, server: String = letsEncrypt, webroot: String = "no",
        days: Int? = nil
    ) throws {
        let leaf = try pki.leaf(names, algorithm: algorithm)
        let folder = algorithm.keyType == .ecdsa ? "\(names[0])_ecc" : names[0]
        try make("home/\(folder)")
        try directory.write(leaf.keyPEM, to: "home/\(folder)/\(names[0]).key")
        let chain = leaf.certificate.pem + pki.intermediate.certificate.pem
        try directory.write(chain, to: "home/\(folder)/fullchain.cer")
        let conf = """
            Le_Domain='\(names[0])'
            Le_Alt='\(names.count > 1 ? names.dropFirst().joined(separator: ",") : "no")'
            Le_Webroot='\(webroot)'
            Le_API='\(server)'
            Le_Keylength='ec-256'
            \(days.map { "Le_RenewalDays='\($0)'" } ?? "")
            """
        try directory.write(conf, to: "home/\(folder)/\(names[0]).conf")
        let account = try #require(AcmeShFolder.accountPlace(server))
        try make("home/\(account)")
        if !FileManager.default.fileExists(atPath: directory.path("home/\(account)/account.key")) {
            let key = try PrivateKey.generate(.ecdsaP256).pem().withBytes { Data($0) }
            try directory.write(key, to: "home/\(account)/account.key")
        }
        try directory.write("ACCOUNT_URL='https://ca.example.net/acct/1'\n", to: "home/\(account)/ca.conf")
        try directory.write(
            #"{"status":"valid","contact":["mailto:ops@example.com"]}"#, to: "home/\(account)/account.json")
    }

    private func make(_ folder: String) throws {
        try FileManager.default.createDirectory(
            atPath: directory.path(folder), withIntermediateDirectories: true)
    }

    private func plan(
        declared: String? = nil, issuer: String? = nil, client: ForeignClient = .acmeSh, server: String? = nil
    ) throws -> ImportPlan {
        let folder = try ForeignFolder(directory.path("home"))
        return try ImportPlan(
            client.survey(folder, server: server), client: client, folder: folder,
            declared: try declared.map {
                try ConfigurationFile.parse(Array($0.utf8), path: directory.path("certs.yml"))
            },
            options: .init(issuer: try issuer.map { try Name($0) }, caFile: nil, now: pki.now))
    }

    @Test func `acme.sh: two keys for one domain, several ways to prove the names, one account`() throws {
        try acmeSh(["www.example.com", "example.com"], webroot: "/var/www/html", days: 60)
        try acmeSh(["www.example.com", "example.com"], algorithm: .rsa2048, webroot: "/var/www/html")
        try acmeSh(["*.example.net"], webroot: "dns_cf")
        let plan = try plan()
        #expect(plan.problems.isEmpty)
        let account = try #require(plan.accounts.first?.account)
        #expect(account.url == "https://ca.example.net/acct/1" && plan.accounts.count == 1)
        #expect(
            DeclarationText.text(plan) == """
                issuers:
                  letsencrypt:
                    type: acme
                    directory: letsencrypt
                    contact: [ops@example.com]
                    acceptTerms: true  # agreed to with acme.sh
                    challenges:
                      - { type: dns-01, names: ["*.example.net"], provider: { type: command, run: [/etc/certs/dns-hook] } }  # acme.sh used 'dns_cf': write a hook, or another provider
                      - { type: http-01, names: [example.com, www.example.com], directory: /var/www/html/.well-known/acme-challenge }
                certificates:
                  - name: wildcard.example.net
                    dnsNames: ["*.example.net"]
                    key: { algorithm: ecdsa-p256 }
                    issuer: letsencrypt
                  - name: www.example.com
                    dnsNames: [www.example.com, example.com]
                    key: { algorithm: rsa-2048 }
                    issuer: letsencrypt
                  - name: www.example.com-ecdsa
                    dnsNames: [www.example.com, example.com]
                    key: { algorithm: ecdsa-p256 }
                    issuer: letsencrypt
                    renew: { before: 30d }
                """)
    }

    @Test(arguments: [Int(Int32.min), -1, 0, 89, 90, Int(Int32.max)])
    func `days of renewal that make no sense are left out`(_ days: Int) throws {
        try acmeSh(["shop.example.com"], days: days)
        let text = DeclarationText.text(try plan())
        switch days {
        case -1, 89: #expect(text.contains("renew: { before: 1d }"))
        case 0: #expect(text.contains("renew: { before: 90d }"))
        default: #expect(!text.contains("renew"))
        }
    }

    static let configuration = """
        # Ours.
        version: 1
        state: ./state

        issuers:
            local: { type: local-ca, commonName: Example Local CA }
            # The last one.

        certificates:
        - name: www
          dnsNames: [www.example.org]
          issuer: local

        # Nothing yet.
        server: { listen: "127.0.0.1:9219" }
        """

    @Test func `declarations are added to a file whose other lines stay as they are`() throws {
        try acmeSh(["shop.example.com"])
        let plan = try plan(declared: Self.configuration)
        let path = directory.path("certs.yml")
        let old = try ConfigurationFile.parse(Array(Self.configuration.utf8), path: path)
        let text = try ConfigurationAddition.adding(plan, to: Self.configuration, path: path)
        let new = try ConfigurationAddition.check(text, adds: plan, to: old, path: path)
        #expect(new.certificates.map(\.name.rawValue) == ["www", "shop.example.com"])
        #expect(new.issuers.map(\.name.rawValue) == ["local", "letsencrypt"])
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
        for line in Self.configuration.split(separator: "\n") { #expect(lines.contains(line), "\(line)") }
        #expect(lines.contains("    letsencrypt:") && lines.contains("- name: shop.example.com"))
        let added = try ConfigurationAddition.adding(plan, to: ConfigurationAddition.emptyFile, path: path)
        #expect(try ConfigurationFile.parse(Array(added.utf8), path: path).certificates.count == 1)
    }

    @Test func `a file with its issuers on one line is left to its author`() throws {
        try acmeSh(["shop.example.com"])
        let plan = try plan()
        let text = "version: 1\nissuers: { local: { type: self-signed } }\n"
        #expect(throws: CertsError(.configurationInvalid, "")) {
            try ConfigurationAddition.adding(plan, to: text, path: "certs.yml")
        }
        let empty = try ConfigurationAddition.adding(
            plan, to: "version: 1\nissuers: {}\ncertificates: []\n", path: "certs.yml")
        #expect(try ConfigurationFile.parse(Array(empty.utf8), path: "/certs.yml").certificates.count == 1)
    }

    @Test func `what is declared already is used, and told where it cannot be`() throws {
        try acmeSh(["shop.example.com"])
        try acmeSh(["www.example.com"])
        let declared = """
            version: 1
            issuers:
              local: { type: local-ca, commonName: Example Local CA }
              le:
                type: acme
                directory: letsencrypt
                acceptTerms: true
                challenge: { type: http-01, listen: "127.0.0.1:8402" }
            certificates:
              - { name: shop, dnsNames: [shop.example.com], issuer: le }
              - { name: www, dnsNames: [www.example.com], issuer: local }
            """
        let plan = try plan(declared: declared)
        #expect(plan.issuers.isEmpty && DeclarationText.text(plan) == "")
        #expect(plan.certificates.map(\.name.rawValue) == ["shop"] && plan.certificates[0].isDeclared)
        #expect(plan.accounts.map(\.issuer.rawValue) == ["le"])
        #expect(plan.problems.count == 1 && plan.problems[0].message.contains("'www' of the issuer 'local'"))
    }

    @Test func `an issuer can be named, if it is there and of the type acme`() throws {
        try acmeSh(["shop.example.com"], server: "https://ca.example.net/dir")
        let declared = """
            version: 1
            issuers:
              local: { type: local-ca, commonName: Example Local CA }
              le:
                type: acme
                directory: letsencrypt
                acceptTerms: true
                challenge: { type: http-01, listen: "127.0.0.1:8402" }
            """
        let plan = try plan(declared: declared, issuer: "le")
        #expect(plan.issuers.isEmpty && plan.certificates.map(\.issuer.rawValue) == ["le"])
        #expect(throws: CertsError(.usage, "")) { try self.plan(declared: declared, issuer: "local") }
        #expect(throws: CertsError(.nameUnknown, "")) { try self.plan(declared: declared, issuer: "other") }
    }

    @Test func `links inside of the directory are followed, others, FIFOs and large files are not`() throws {
        try make("home/a")
        try directory.write("inside", to: "home/a/file")
        let secret = try directory.write("outside", to: "secret")
        let manager = FileManager.default
        try manager.createSymbolicLink(atPath: directory.path("home/in"), withDestinationPath: "a/file")
        try manager.createSymbolicLink(atPath: directory.path("home/out"), withDestinationPath: secret)
        try manager.createSymbolicLink(atPath: directory.path("home/up"), withDestinationPath: "..")
        #expect(mkfifo(directory.path("home/fifo"), 0o600) == 0)
        try directory.write(Data(count: (1 << 20) + 1), to: "home/large")
        let folder = try ForeignFolder(directory.path("home"))
        #expect(try folder.text("in") == "inside")
        #expect(try folder.text("none") == nil)
        #expect(try folder.text("a/file/none") == nil)
        for outside in ["out", "up/secret", "../secret", "a/../../secret"] {
            #expect(throws: CertsError(.fileUnreadable, ""), "\(outside)") { try folder.read(outside) }
        }
        #expect(throws: CertsError(.fileUnreadable, "")) { try folder.read("fifo") }
        #expect(throws: CertsError(.fileTooLarge, "")) { try folder.read("large") }
        #expect(folder.folders() == ["a"])
        #expect(folder.names("up") == [] && folder.names("..") == [])
        #expect(throws: CertsError(.fileMissing, "")) { try ForeignFolder(directory.path("none")) }
        #expect(throws: CertsError(.fileUnreadable, "")) { try ForeignFolder(secret) }
    }

    /// dehydrated keeps the accounts by CA, but not which CA a certificate is from.
    @Test func `dehydrated: of two CAs none is guessed`() throws {
        let leaf = try pki.leaf(["www.example.com"])
        try make("home/certs/www.example.com")
        try directory.write(
            leaf.certificate.pem + pki.intermediate.certificate.pem, to: "home/certs/www.example.com/fullchain.pem")
        try directory.write(leaf.keyPEM, to: "home/certs/www.example.com/privkey.pem")
        let staging = KnownDirectory.letsEncryptStaging.url
        func account(_ server: String) throws {
            let folder = "home/accounts/\(Data(server.utf8).base64EncodedString().replacing("=", with: ""))"
            try make(folder)
            let key = try PrivateKey.generate(.ecdsaP256).pem().withBytes { Data($0) }
            try directory.write(key, to: "\(folder)/account_key.pem")
        }
        func directories(_ plan: ImportPlan) -> [String] { plan.certificates.compactMap(\.found.settings.server) }
        try account(Self.letsEncrypt)
        #expect(try directories(plan(client: .dehydrated)) == [Self.letsEncrypt])
        try account(staging)
        let unsure = try plan(client: .dehydrated)
        #expect(unsure.certificates.isEmpty)
        #expect(unsure.problems.contains { $0.hint.contains("--server") })
        #expect(try directories(plan(client: .dehydrated, server: staging)) == [staging])
        try directory.write("CA=\"letsencrypt\"\n", to: "home/config")
        #expect(try directories(plan(client: .dehydrated)) == [Self.letsEncrypt])
    }

    /// The files that each client reads, with anything in them.
    static let files: [ForeignClient: [String]] = [
        .certbot: [
            "renewal/a.conf", "live/a/fullchain.pem", "live/a/privkey.pem",
            "accounts/ca.example.net/dir/1/private_key.json", "accounts/ca.example.net/dir/1/regr.json",
        ],
        .lego: [
            "certificates/a.crt", "certificates/a.key", "certificates/a.json", "certificates/a.issuer.crt",
            "accounts/ca.example.net/b/account.json", "accounts/ca.example.net/b/keys/b.key",
        ],
        .acmeSh: [
            "a/a.conf", "a/a.key", "a/fullchain.cer", "ca/ca.example.net/dir/account.key",
            "ca/ca.example.net/dir/ca.conf", "ca/ca.example.net/dir/account.json",
        ],
        .caddy: [
            "certificates/ca.example.net-dir/a/a.crt", "certificates/ca.example.net-dir/a/a.key",
            "certificates/ca.example.net-dir/a/a.json", "acme/ca.example.net-dir/users/b/b.key",
            "acme/ca.example.net-dir/users/b/b.json",
        ],
        .uacme: ["private/key.pem", "private/a/key.pem", "a/cert.pem"],
        .dehydrated: [
            "config", "certs/a/fullchain.pem", "certs/a/privkey.pem",
            "accounts/aHR0cHM6Ly9jYS5leGFtcGxlLm5ldC9kaXIK/account_key.pem",
            "accounts/aHR0cHM6Ly9jYS5leGFtcGxlLm5ldC9kaXIK/registration_info.json",
        ],
    ]

    @Test(arguments: ForeignClient.allCases)
    func `whatever stands in the files, it is told, and nothing traps`(_ client: ForeignClient) throws {
        let leaf = try pki.leaf(["a.example.com"])
        var pieces = [
            Data(), Data("\u{0}\u{1b}]0;x\u{7}".utf8), Data([0xff, 0xfe, 0x00]),
            Data(String(repeating: "[", count: 100_000).utf8), Data(#"{"kty":"RSA","n":1,"uri":{},"body":[]}"#.utf8),
            Data(#"{"kty":"EC","crv":"P-256","x":"AA","y":"AA","d":"AA"}"#.utf8),
            Data("[renewalparams]\nserver=\n".utf8),
            Data("Le_API='https://[::1'\nLe_RenewalDays='-2147483648'\nCA=https://ca.example.net/dir\n".utf8),
            Data(leaf.certificate.pem.utf8), try leaf.keyPEM,
        ]
        pieces.append(pieces[8].prefix(200))
        for round in 0..<60 {
            try? FileManager.default.removeItem(atPath: directory.path("home"))
            for (index, file) in (Self.files[client] ?? []).enumerated() {
                try make("home/\((file as NSString).deletingLastPathComponent)")
                // Each file gets each piece in some round, and its neighbours another one.
                try directory.write(pieces[(round * (index + 1) + index) % pieces.count], to: "home/\(file)")
            }
            let found = try plan(client: client, server: "https://ca.example.net/dir")
            #expect(found.certificates.allSatisfy { $0.found.key.matches($0.found.leaf) })
            #expect(found.problems.allSatisfy { !$0.message.contains("\u{1b}") && !$0.hint.isEmpty })
            _ = DeclarationText.text(found)
        }
    }
}
