import CertsCore
import Foundation
import Testing

@testable import certs

/// One wrong file, and the one line of the report that it must give.
struct WrongConfiguration: Sendable, CustomTestStringConvertible {
    var what: String
    var yaml: String
    /// `LINE:COLUMN: ` and a part of the message; more problems than this one are a failure.
    var place: String
    var text: String

    init(_ what: String, _ yaml: String, _ place: String, _ text: String) {
        self.what = what
        self.yaml = yaml
        self.place = place
        self.text = text
    }

    var testDescription: String { what }
}

/// A valid file of which each test spoils one thing.
private let valid = """
    version: 1
    state: ./state
    issuers:
      local: { type: local-ca, commonName: Example Local CA, validity: 90d }
    certificates:
      - name: messenger
        subject: { commonName: messenger.example.com, organization: Example, country: US }
        dnsNames: [messenger.example.com]
        key: { algorithm: rsa-2048 }
        issuer: local
        renew: { before: 30d }
        targets: [loadbalancer]
    targets:
      - name: loadbalancer
        type: haproxy
        bundle: /etc/haproxy/certs/server.pem
        reload: { method: runtime, socket: /run/haproxy/admin.sock }
        endpoints: [ { address: "127.0.0.1:443", serverName: messenger.example.com } ]
    server: { listen: "127.0.0.1:9219" }
    """

private func spoiled(_ old: String, _ new: String) -> String { valid.replacingOccurrences(of: old, with: new) }

private func parse(_ yaml: String, path: String = "/etc/certs/certs.yml") throws(CertsError) -> Declarations {
    try ConfigurationFile.parse(Array(yaml.utf8), path: path)
}

private func problems(_ yaml: String) -> [String] {
    do {
        _ = try parse(yaml)
        return []
    } catch {
        #expect(error.code == .configurationInvalid)
        return error.details
    }
}

@Suite("The configuration file")
struct ConfigurationFileTests {
    @Test("a valid file becomes declarations with absolute paths")
    func readsAValidFile() throws {
        let declarations = try parse(valid)
        #expect(declarations.stateDirectory == "/etc/certs/state")
        let certificate = try #require(declarations.certificates.first)
        #expect(certificate.name.rawValue == "messenger")
        #expect(
            certificate.subject == Subject(commonName: "messenger.example.com", organization: "Example", country: "US"))
        #expect(certificate.names == [.dns("messenger.example.com")])
        #expect(certificate.key == KeyPolicy(algorithm: .rsa2048))
        #expect(certificate.renewal.before == 30 * 86400)
        #expect(certificate.targets.map(\.rawValue) == ["loadbalancer"])
        let target = try #require(declarations.targets.first?.nodes.first)
        #expect(target.reload == .runtime(socket: "/run/haproxy/admin.sock"))
        #expect(target.endpoints == [Endpoint(host: "127.0.0.1", port: 443, serverName: "messenger.example.com")])
        #expect(target.verifyWithin == .seconds(15))
        #expect(declarations.server == ServerDeclaration(host: "127.0.0.1", port: 9219))
        guard case .localCA(let policy) = try #require(declarations.issuers.first).kind else {
            Issue.record("not a local CA")
            return
        }
        #expect(policy.validity == 90 * 86400)
    }

    @Test("the starter configuration is valid as it is")
    func starterIsValid() throws {
        let declarations = try parse(StarterConfiguration.text)
        #expect(declarations.certificates.count == 1)
        #expect(declarations.targets.first?.nodes.first?.bundle == "/etc/haproxy/certs/{name}.pem")
    }

    @Test("every key of the format is read")
    func readsEveryKey() throws {
        let yaml = """
            version: 1
            issuers:
              self: { type: self-signed, validity: 12h }
              ours: { type: local-ca, commonName: Our CA, validity: 47d, key: ecdsa-p384, permittedNames: [example.com, 10.0.0.0/8, "fd00::/8"] }
              corp: { type: hand-off, anchors: roots.pem }
            certificates:
              - name: many
                subject: { commonName: Anything At All, organizationalUnit: U, locality: L, state: S, country: NO }
                dnsNames: ["*.Example.com", bücher.example, "*.example.com"]
                ipAddresses: [192.0.2.1, "2001:DB8:0::1"]
                emailAddresses: [Ops@Example.com]
                uris: ["spiffe://example.com/many"]
                key: { algorithm: ed25519, reuse: true }
                issuer: corp
                targets: [signalled, commanded]
            targets:
              - name: signalled
                type: haproxy
                bundle: ./bundles/
                reload: { method: signal, pidFile: run/haproxy.pid, signal: SIGHUP }
                endpoints: [ { address: "[::1]:8443" } ]
                verifyWithin: 2m
              - name: commanded
                type: haproxy
                bundle: "/srv/{name}/bundle.pem"
                reload: { method: command, arguments: [./reload.sh, now], deadline: 5s }
                validate: { arguments: [haproxy, -c, -q, -f, /etc/haproxy/haproxy.cfg], deadline: 10s }
                endpoints: [ { address: "lb.example.com:443", serverName: a.example.com } ]
            server: { listen: "[::1]:0" }
            schedule: { tick: 15m, jitter: 0s, timer: 12h, concurrency: 8 }
            """
        let declarations = try parse(yaml)
        #expect(declarations.stateDirectory == "/etc/certs/state")
        #expect(declarations.issuers.map(\.kind).contains(.selfSigned(validity: 43200)))
        #expect(declarations.issuers.map(\.kind).contains(.handOff(anchorsFile: "/etc/certs/roots.pem")))
        #expect(
            declarations.issuers.map(\.kind).contains(
                .localCA(
                    LocalAuthorityPolicy(
                        commonName: "Our CA", validity: 47 * 86400, keyAlgorithm: .ecdsaP384,
                        permittedNames: ["example.com", "10.0.0.0/8", "fd00::/8"]))))
        let certificate = try #require(declarations.certificates.first)
        #expect(
            certificate.names.map(\.description) == [
                "dns:*.example.com", "dns:xn--bcher-kva.example", "ip:192.0.2.1", "ip:2001:db8::1",
                "email:Ops@example.com",
                "uri:spiffe://example.com/many",
            ])
        #expect(certificate.subject.country == "NO")
        #expect(certificate.key == KeyPolicy(algorithm: .ed25519, reuse: true))
        let signalled = declarations.targets[0].nodes[0]
        #expect(signalled.bundle == "/etc/certs/bundles/{name}.pem")
        #expect(signalled.reload == .signal(pidFile: "/etc/certs/run/haproxy.pid", signal: .hup))
        #expect(signalled.endpoints == [Endpoint(host: "::1", port: 8443)])
        #expect(signalled.verifyWithin == .seconds(120))
        let commanded = declarations.targets[1].nodes[0]
        #expect(commanded.bundlePath(for: certificate.name) == "/srv/many/bundle.pem")
        #expect(
            commanded.reload
                == .command(CommandLine(arguments: ["/etc/certs/reload.sh", "now"], deadline: .seconds(5))))
        #expect(
            commanded.validate
                == CommandLine(
                    arguments: ["haproxy", "-c", "-q", "-f", "/etc/haproxy/haproxy.cfg"], deadline: .seconds(10)))
        #expect(declarations.server == ServerDeclaration(host: "::1", port: 0))
        #expect(
            declarations.schedule == ScheduleDeclaration(tick: 900, jitter: 0, timerInterval: 43200, concurrency: 8))
    }

    @Test("a certificate without a key policy gets an ECDSA P-256 key, new each time")
    func defaultKey() throws {
        let declarations = try parse(spoiled("    key: { algorithm: rsa-2048 }\n", ""))
        #expect(declarations.certificates.first?.key == KeyPolicy(algorithm: .ecdsaP256, reuse: false))
    }

    @Test("a few anchors and references are fine")
    func allowsReferences() throws {
        let yaml = spoiled("[messenger.example.com]", "&names [messenger.example.com]") + "\nschedule: { tick: 1h }\n"
        #expect(try parse(yaml).certificates.count == 1)
    }

    @Test("a bundle that is an existing directory gets the name of the certificate")
    func bundleDirectory() throws {
        #expect(
            try parse(spoiled("/etc/haproxy/certs/server.pem", "/tmp")).targets.first?.nodes.first?.bundle
                == "/tmp/{name}.pem")
    }

    @Test("each mistake is told with its place and what to write instead", arguments: wrongConfigurations)
    func refuses(_ wrong: WrongConfiguration) {
        let found = problems(wrong.yaml)
        #expect(found.count == 1, "\(found)")
        #expect(found.first?.hasPrefix("/etc/certs/certs.yml:\(wrong.place): ") == true, "\(found)")
        #expect(found.first?.contains(wrong.text) == true, "\(found)")
    }

    @Test("all problems are told at once, in the order of the file")
    func tellsEverything() throws {
        let yaml =
            valid.replacingOccurrences(of: "version: 1", with: "version: 2")
            .replacingOccurrences(of: "dnsNames:", with: "dnsName:").replacingOccurrences(
                of: "issuer: local", with: "issuer: locla"
            )
            .replacingOccurrences(of: "before: 30d", with: "before: month").replacingOccurrences(
                of: "method: runtime", with: "method: dokcer")
        let found = problems(yaml)
        #expect(found.map { $0.split(separator: ":")[1] } == ["1", "6", "8", "10", "11", "17"], "\(found)")
        let error = #expect(throws: CertsError.self) { try parse(yaml) }
        let report = try #require(error?.report)
        #expect(report.split(separator: "\n").count == found.count + 2)
        #expect(report.hasPrefix("/etc/certs/certs.yml has 6 problems\n/etc/certs/certs.yml:1:10: version '2'"))
        #expect(error?.description.contains("\n") == false)
    }

    @Test("text from the file cannot forge a line of the report")
    func reportIsSanitized() throws {
        let error = #expect(throws: CertsError.self) { try parse(valid + "\n\"x\\ny\\e[2J\": 1\n") }
        #expect(error?.report.split(separator: "\n").count == 3)
        #expect(error?.report.contains("\u{1b}") == false)
    }
}

private let wrongConfigurations: [WrongConfiguration] = [
    .init("an empty file", "", "1:1", "the file is empty"),
    .init("a file of comments", "# nothing\n\n", "1:1", "the file is empty"),
    .init("a list", "- a\n", "1:1", "must be a block of 'key: value', not a list"),
    .init("no version", spoiled("version: 1\n", ""), "1:1", "has no 'version'; write 'version: 1'"),
    .init("another version", spoiled("version: 1", "version: 7"), "1:10", "version '7'"),
    .init(
        "a misspelt key", spoiled("certificates:", "certifcates:"), "5:1",
        "unknown key 'certifcates' in the configuration; did you mean 'certificates'?"),
    .init(
        "an unknown key", spoiled("server:", "zebra: 1\nserver:"), "19:1",
        "unknown key 'zebra' in the configuration; its keys are version, state"),
    .init(
        "a misspelt key of a certificate", spoiled("    issuer: local", "    issuer: local\n    dnsName: [a.example]"),
        "11:5", "did you mean 'dnsNames'?"),
    .init(
        "a misspelt key in a flow block", spoiled("validity: 90d", "valididy: 90d"), "4:58", "did you mean 'validity'?"),
    .init(
        "a key that is written twice", spoiled("    issuer: local", "    issuer: local\n    issuer: local"), "10:5",
        "'issuer' is written twice"),
    .init(
        "a text instead of a list", spoiled("[messenger.example.com]", "messenger.example.com"), "8:15",
        "'dnsNames' of certificate 'messenger' must be a list"),
    .init(
        "a list instead of a text", spoiled("rsa-2048", "[rsa-2048]"), "9:23",
        "must be a text, not a list"),
    .init("a text instead of a block", spoiled("{ algorithm: rsa-2048 }", "rsa-2048"), "9:10", "must be a block"),
    .init(
        "a flag that is no flag", spoiled("rsa-2048 }", "rsa-2048, reuse: perhaps }"), "9:40",
        "must be true or false, not 'perhaps'"),
    .init(
        "a number that is no number", valid + "\nschedule: { concurrency: many }\n", "20:26", "must be a whole number"),
    .init("a number out of bounds", valid + "\nschedule: { concurrency: 1000 }\n", "20:26", "from 1 to 64"),
    .init(
        "a second certificate of one name",
        spoiled(
            "targets:\n  -", "  - { name: messenger, dnsNames: [messenger.example.com], issuer: local }\ntargets:\n  -"),
        "13:13", "a second certificate named 'messenger' (first in line 6)"),
    .init(
        "a second target of one name",
        spoiled(
            "server:",
            "  - { name: loadbalancer, type: haproxy, bundle: /b.pem, reload: { method: runtime, socket: /s }, endpoints: [ { address: \"127.0.0.1:1\" } ] }\nserver:"
        ), "19:13", "a second target named 'loadbalancer'"),
    .init(
        "a second issuer of one name", spoiled("certificates:", "  local: { type: self-signed }\ncertificates:"), "4:3",
        "'local' is written twice"),
    .init(
        "an unknown issuer", spoiled("issuer: local", "issuer: locals"), "10:13",
        "there is no issuer 'locals'; did you mean 'local'? (known: local)"),
    .init(
        "an unknown target", spoiled("targets: [loadbalancer]", "targets: [other]"), "12:15",
        "there is no target 'other'; known: loadbalancer"),
    .init("no issuer", spoiled("    issuer: local\n", ""), "6:5", "has no 'issuer'; name one of the issuers: local"),
    .init(
        "a name with a slash", spoiled("- name: messenger", "- name: a/b"), "6:11",
        "'a/b' is not a name for a certificate; use 1 to 63"),
    .init("a name with two dots", spoiled("- name: messenger", "- name: ../x"), "6:11", "'../x' is not a name"),
    .init("a name in capitals", spoiled("- name: messenger", "- name: Messenger"), "6:11", "'Messenger' is not a name"),
    .init(
        "a DNS name with a blank", spoiled("[messenger.example.com]", "[messenger.example.com, \"a b.example.com\"]"),
        "8:39", "'a b.example.com' is not a DNS name"),
    .init(
        "a wildcard inside a label", spoiled("[messenger.example.com]", "[messenger.example.com, \"w*.example.com\"]"),
        "8:39", "a wildcard must be the whole left-most label"),
    .init(
        "a wildcard without quotes", spoiled("[messenger.example.com]", "[*.example.com]"), "8:16",
        "put it in quotes: '*.example.com'"),
    .init(
        "an address among the DNS names", spoiled("[messenger.example.com]", "[messenger.example.com, 192.0.2.1]"),
        "8:39", "list it under ipAddresses"),
    .init(
        "a wrong IP address", spoiled("    issuer:", "    ipAddresses: [300.1.1.1]\n    issuer:"), "10:19",
        "'300.1.1.1' is not an IP address"),
    .init(
        "a wrong e-mail address", spoiled("    issuer:", "    emailAddresses: [ops at example.com]\n    issuer:"),
        "10:22", "it needs exactly one '@'"),
    .init(
        "a wrong URI", spoiled("    issuer:", "    uris: [example.com/x]\n    issuer:"), "10:12",
        "does not begin with a scheme"),
    .init("a URI without host", spoiled("    issuer:", "    uris: [\"https:///x\"]\n    issuer:"), "10:12", "no host"),
    .init(
        "a certificate without names",
        spoiled("    dnsNames: [messenger.example.com]\n", "").replacingOccurrences(
            of: "commonName: messenger.example.com, ", with: ""), "6:5",
        "certificate 'messenger' has no names; add 'dnsNames"),
    .init(
        "a common name that is not among the names",
        spoiled("commonName: messenger.example.com", "commonName: other.example.com"), "7:28",
        "the commonName 'other.example.com' is not one of the names"),
    .init("a country in words", spoiled("country: US", "country: Germany"), "7:83", "'Germany' is not a country code"),
    .init(
        "an organization that is too long",
        spoiled("organization: Example", "organization: " + String(repeating: "x", count: 65)), "7:65",
        "longer than 64 characters"),
    .init("a duration in words", spoiled("before: 30d", "before: 30 days"), "11:22", "'30 days' is not a duration"),
    .init(
        "a duration without a unit", spoiled("before: 30d", "before: 30"), "11:22", "write a number with s, m, h or d"),
    .init("a negative duration", spoiled("before: 30d", "before: -3d"), "11:22", "'-3d' is not a duration"),
    .init(
        "a duration beyond all bounds", spoiled("before: 30d", "before: 99999999999999999999d"), "11:22",
        "is not a duration"),
    .init(
        "a duration that is too long", spoiled("before: 30d", "before: 99999d"), "11:22",
        "write something from 1m to 3650d"),
    .init(
        "an unknown key algorithm", spoiled("rsa-2048", "rsa-1024"), "9:23",
        "'rsa-1024' is not a key algorithm; known: rsa-2048, rsa-3072"),
    .init(
        "a misspelt type of issuer", spoiled("type: local-ca", "type: acne"), "4:18", "did you mean 'acme'?"),
    .init("an unknown type of issuer", spoiled("type: local-ca", "type: localca"), "4:18", "did you mean 'local-ca'?"),
    .init("an issuer without a type", spoiled("type: local-ca, ", ""), "4:3", "issuer 'local' has no 'type'"),
    .init("a local CA without a name", spoiled("commonName: Example Local CA, ", ""), "4:10", "has no 'commonName'"),
    .init(
        "a permitted name that is no block", spoiled("validity: 90d }", "permittedNames: [10.0.0.1/8] }"), "4:75",
        "bits set beyond its prefix"),
    .init(
        "another type of target", spoiled("type: haproxy", "type: nginx"), "15:11", "'nginx' is not a type of target"),
    .init(
        "a target without a bundle", spoiled("    bundle: /etc/haproxy/certs/server.pem\n", ""), "14:5",
        "has no 'bundle'"),
    .init(
        "a placeholder that does not exist", spoiled("certs/server.pem", "certs/{nmae}.pem"), "16:13",
        "a placeholder other than {name}"),
    .init("a home directory", spoiled("/etc/haproxy/certs/server.pem", "~/server.pem"), "16:13", "'~' is not expanded"),
    .init(
        "a target without reload", spoiled("    reload: { method: runtime, socket: /run/haproxy/admin.sock }\n", ""),
        "14:5", "has no 'reload'"),
    .init(
        "the key of another reload method", spoiled("method: runtime", "method: systemd"), "17:32",
        "unknown key 'socket'"),
    .init("an unknown reload method", spoiled("method: runtime", "method: runtme"), "17:23", "did you mean 'runtime'?"),
    .init(
        "the runtime method without a socket", spoiled(", socket: /run/haproxy/admin.sock", ""), "17:13",
        "has no 'socket'"),
    .init(
        "a TCP address as a socket", spoiled("/run/haproxy/admin.sock", "\"127.0.0.1:9999\""), "17:40",
        "is a TCP address, not a Unix socket"),
    .init(
        "a socket's path that is too long",
        spoiled("/run/haproxy/admin.sock", "/run/" + String(repeating: "x", count: 110)), "17:40",
        "longer than 107 bytes"),
    .init(
        "a key of another reload method", spoiled("socket: /run/haproxy/admin.sock", "socket: /s, pidFile: /p"),
        "17:44", "unknown key 'pidFile'"),
    .init(
        "an unknown signal",
        spoiled("method: runtime, socket: /run/haproxy/admin.sock", "method: signal, pidFile: /p, signal: KILL"),
        "17:52", "'KILL' is not a signal that makes HAProxy reload"),
    .init(
        "a command line for a shell",
        spoiled(
            "method: runtime, socket: /run/haproxy/admin.sock", "method: command, arguments: [systemctl reload haproxy]"
        ), "17:44", "write [systemctl, reload, haproxy]"),
    .init(
        "a command without arguments",
        spoiled("method: runtime, socket: /run/haproxy/admin.sock", "method: command, arguments: []"), "17:32",
        "has no 'arguments'"),
    .init(
        "a target without endpoints",
        spoiled("    endpoints: [ { address: \"127.0.0.1:443\", serverName: messenger.example.com } ]\n", ""), "14:5",
        "target 'loadbalancer' has no endpoints"),
    .init(
        "an empty list of endpoints",
        spoiled("[ { address: \"127.0.0.1:443\", serverName: messenger.example.com } ]", "[]"), "18:16",
        "has no endpoints"),
    .init(
        "an endpoint without port", spoiled("\"127.0.0.1:443\"", "127.0.0.1"), "18:29",
        "'127.0.0.1' is not an address with a port"),
    .init(
        "an endpoint with port 0", spoiled("\"127.0.0.1:443\"", "\"127.0.0.1:0\""), "18:29",
        "is not an address with a port"),
    .init(
        "an endpoint with a port that is too large", spoiled("\"127.0.0.1:443\"", "\"127.0.0.1:65536\""), "18:29",
        "is not an address with a port"),
    .init("an endpoint with a bare IPv6 address", spoiled("\"127.0.0.1:443\"", "\"::1:443\""), "18:29", "[::1]:443"),
    .init(
        "an address as a server name", spoiled("serverName: messenger.example.com", "serverName: 127.0.0.1"), "18:58",
        "leave serverName out"),
    .init(
        "a wildcard as a server name", spoiled("serverName: messenger.example.com", "serverName: \"*.example.com\""),
        "18:58", "a client asks for one name"),
    .init(
        "a server name that no certificate covers",
        spoiled("serverName: messenger.example.com", "serverName: mesenger.example.com"), "18:58",
        "no certificate of target 'loadbalancer' covers the serverName 'mesenger.example.com'; did you mean 'messenger.example.com'?"
    ),
    .init(
        "a certificate that no endpoint asks for",
        spoiled("server.pem", "{name}.pem").replacingOccurrences(
            of: "bundle: /etc/haproxy/certs/{name}.pem", with: "bundle: \"/etc/{name}.pem\""
        ).replacingOccurrences(
            of: "targets:\n  -",
            with:
                "  - { name: second, dnsNames: [second.example.com], issuer: local, targets: [loadbalancer] }\ntargets:\n  -"
        ), "13:78", "no endpoint of target 'loadbalancer' asks for a name of certificate 'second'"),
    .init(
        "two certificates in one file",
        spoiled(
            "targets:\n  -",
            "  - { name: second, dnsNames: [messenger.example.com], issuer: local, targets: [loadbalancer] }\ntargets:\n  -"
        ), "17:13", "put {name} into the path, e.g. /etc/haproxy/certs/{name}.pem"),
    .init(
        "a listener without address", spoiled("listen: \"127.0.0.1:9219\"", "listen: \":9219\""), "19:19",
        "'0.0.0.0:9219 for all interfaces".replacingOccurrences(of: "'", with: "")),
    .init(
        "a tab in the indentation", spoiled("    issuer: local", "\tissuer: local"), "10:1",
        "a tab in the indentation; indent with spaces"),
    .init("a bracket that stays open", spoiled("[messenger.example.com]", "[messenger.example.com"), "9:8", "not YAML"),
    .init("two documents", valid + "\n---\nversion: 1\n", "20:1", "not YAML"),
    .init("a reference to nothing", spoiled("issuer: local", "issuer: *nothing"), "10:13", "YAML"),
    .init("a NUL byte", valid + "\n# \0", "20:3", "NUL byte"),
    .init("a control character", valid + "\n# \u{1}", "20:3", "control characters are not allowed"),
    .init("a collection as a key", valid + "\n? [a, b]\n: 1\n", "20:3", "must be a word"),
    .init("nesting without end", "version: " + String(repeating: "[", count: 100_000), "1:11", "nested too deeply"),
    .init(
        "nesting just below the parser's limit",
        "version: " + String(repeating: "[", count: 900) + String(repeating: "]", count: 900), "1:10",
        "must be a text, not a list"),
    .init(
        "blocks without end", (0..<5000).map { String(repeating: " ", count: $0 % 900) + "- a\n" }.joined(), "1:1",
        "must be a block"),
    .init(
        "a bomb of references", "a: &a [x]\n" + (0..<40).map { "b\($0): &b\($0) [*a, *a]\n" }.joined(), "7:5",
        "more than 16 YAML anchors"),
]

@Suite("The configuration file on disk")
struct ConfigurationFileOnDiskTests {
    private func withDirectory<Result>(_ body: (String) throws -> Result) throws -> Result {
        let directory = NSTemporaryDirectory() + "certs-configuration-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: directory) }
        return try body(directory)
    }

    private func code(_ path: String) -> CertsError? {
        do {
            _ = try ConfigurationFile.load(path: path)
            return nil
        } catch {
            return error
        }
    }

    @Test("is read, with relative paths resolved against it")
    func reads() throws {
        try withDirectory { directory in
            let path = directory + "/certs.yml"
            try Data(valid.utf8).write(to: URL(fileURLWithPath: path))
            #expect(try ConfigurationFile.load(path: path).stateDirectory == directory + "/state")
        }
    }

    @Test("a byte order mark and CRLF are fine")
    func acceptsEditors() throws {
        let windows = "\u{feff}" + valid.replacingOccurrences(of: "\n", with: "\r\n")
        #expect(try parse(windows).certificates.count == 1)
    }

    @Test("a missing file names the command that writes one")
    func missing() throws {
        let error = try #require(code("/nonexistent/certs.yml"))
        #expect(error.code == .fileMissing)
        #expect(error.hint?.contains("certs init") == true)
    }

    @Test("a directory, a FIFO and an over-long file are refused without hanging")
    func refusesWhatIsNoFile() throws {
        try withDirectory { directory in
            #expect(code(directory)?.code == .fileUnreadable)
            #expect(mkfifo(directory + "/fifo", 0o600) == 0)
            #expect(code(directory + "/fifo")?.code == .fileUnreadable)
            let large = directory + "/large.yml"
            try Data(repeating: UInt8(ascii: "#"), count: (1 << 20) + 1).write(to: URL(fileURLWithPath: large))
            #expect(code(large)?.code == .fileTooLarge)
        }
    }

    @Test("a link in a circle is told as unreadable")
    func refusesALoop() throws {
        try withDirectory { directory in
            let loop = directory + "/loop"
            #expect(symlink(loop, loop) == 0)
            let error = try #require(code(loop))
            #expect(error.code == .fileUnreadable)
            #expect(error.description.contains(loop))
        }
    }

    @Test("bytes that are not UTF-8 are told with their place")
    func refusesLatin1() {
        let bytes = Array("version: 1\nstate: ".utf8) + [0xe9, 0x74]
        let error = #expect(throws: CertsError.self) { try ConfigurationFile.parse(bytes, path: "c.yml") }
        #expect(error?.details == ["c.yml:2:8: the file is not UTF-8 text here; save it as UTF-8"])
    }

    @Test("no truncation and no flipped byte makes it trap")
    func survivesDamage() {
        let bytes = Array(valid.utf8)
        var refused = 0
        for index in bytes.indices {
            for damaged in [
                Array(bytes[..<index]), bytes.with(index, bytes[index] ^ 0x80), bytes.with(index, UInt8(ascii: "\n")),
            ] {
                do { _ = try ConfigurationFile.parse(damaged, path: "c.yml") } catch { refused += 1 }
            }
        }
        #expect(refused > bytes.count)
    }
}

extension [UInt8] {
    fileprivate func with(_ index: Int, _ byte: UInt8) -> [UInt8] {
        var copy = self
        copy[index] = byte
        return copy
    }
}
