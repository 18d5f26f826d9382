import CertsCore
import Foundation
import Testing

@testable import certs

/// A valid file with a target that is one HAProxy, of which each test spoils or adds one thing.
private let single = """
    version: 1
    issuers:
      local: { type: local-ca, commonName: Example Local CA }
      corporate: { type: hand-off }
    certificates:
      - name: messenger
        dnsNames: [messenger.example.com]
        issuer: local
        targets: [edge]
    targets:
      - name: edge
        type: haproxy
        bundle: /etc/haproxy/certs/server.pem
        reload: { method: runtime, socket: /run/haproxy/admin.sock }
        endpoints: [ { address: "127.0.0.1:443" } ]
    """

/// A valid file with a target of three nodes, of which the last one is in a container.
private let fleet = """
    version: 1
    issuers:
      local: { type: local-ca, commonName: Example Local CA }
    certificates:
      - name: messenger
        dnsNames: [messenger.example.com]
        issuer: local
        targets: [edge]
    targets:
      - name: edge
        type: haproxy
        bundle: /etc/haproxy/certs/server.pem
        verifyWithin: 30s
        fallback: { method: command, arguments: [./reload.sh] }
        list: { path: /etc/haproxy/certs.list }
        validate: { arguments: [haproxy, -c, -f, /etc/haproxy/haproxy.cfg] }
        waves: [1, 50%, 100%]
        nodes:
          - name: edge-1
            reload: { method: runtime, socket: /run/edge-1.sock }
            endpoints: [ { address: "10.0.0.1:443" } ]
          - name: edge-2
            reload: { method: runtime, socket: /run/edge-2.sock }
            endpoints: [ { address: "10.0.0.2:443" } ]
          - name: edge-3
            bundle: /srv/edge-3/server.pem
            loadedAs: /certs/server.pem
            reload: { method: docker, container: edge-3 }
            endpoints: [ { address: "10.0.0.3:443" } ]
            verifyWithin: 2m
    """

private func single(_ old: String, _ new: String) -> String { single.replacingOccurrences(of: old, with: new) }
private func fleet(_ old: String, _ new: String) -> String { fleet.replacingOccurrences(of: old, with: new) }

/// The single HAProxy with another `reload`, which begins at 14:13.
private func reloading(_ reload: String) -> String {
    single("{ method: runtime, socket: /run/haproxy/admin.sock }", reload)
}

/// The single HAProxy with one more line, which is line 15.
private func adding(_ line: String) -> String { single("    endpoints:", "    \(line)\n    endpoints:") }

/// The certificate with one more line, which is line 8.
private func certificate(_ line: String) -> String { single("    issuer:", "    \(line)\n    issuer:") }

private func parse(_ yaml: String) throws(CertsError) -> Declarations {
    try ConfigurationFile.parse(Array(yaml.utf8), path: "/etc/certs/certs.yml")
}

private func node(_ yaml: String) throws -> NodeDeclaration {
    try #require(try parse(yaml).targets.first?.nodes.first)
}

private func problems(_ yaml: String) -> [String] {
    do {
        _ = try parse(yaml)
        return []
    } catch {
        return error.details
    }
}

@Suite("Targets in the configuration file")
struct TargetConfigurationTests {
    struct Method: Sendable, CustomTestStringConvertible {
        let yaml: String
        let method: ReloadMethod
        var testDescription: String { yaml }
    }

    @Test("each reload method is read with its defaults and with every key", arguments: methods)
    func readsMethod(_ one: Method) throws {
        #expect(try node(reloading(one.yaml)).reload == one.method)
        // The same words are a fallback where they reload.
        guard one.method.word != "runtime" else { return }
        #expect(try node(adding("fallback: \(one.yaml)")).fallback == one.method)
    }

    @Test("a list has a path as HAProxy names it, and on this host perhaps another one")
    func readsList() throws {
        let declared = try node(
            adding(
                "list: { path: /certs/, file: lists/certs, options: \"alpn h2,http/1.1\", filters: [a.example.com, \"!b.example.com\"] }"
            ))
        #expect(
            declared.list
                == ListDeclaration(
                    path: "/certs", file: "/etc/certs/lists/certs", options: "alpn h2,http/1.1",
                    filters: ["a.example.com", "!b.example.com"]))
        #expect(try node(adding("list: { path: /certs.list }")).list == ListDeclaration(path: "/certs.list"))
    }

    @Test("what HAProxy loads may have another path than on this host, and a slash at the end means a directory")
    func readsLoadedPath() throws {
        let declared = try node(adding("loadedAs: /usr/local/etc/haproxy/"))
        let name = try Name("messenger")
        #expect(declared.loadedPath(for: name) == "/usr/local/etc/haproxy/messenger.pem")
        #expect(declared.bundlePath(for: name) == "/etc/haproxy/certs/server.pem")
        #expect(try node(single).loadedPath(for: name) == "/etc/haproxy/certs/server.pem")
    }

    @Test("a target without nodes is one HAProxy under the target's own name")
    func readsSingle() throws {
        let target = try #require(try parse(single).targets.first)
        #expect(target.nodes.map(\.id.description) == ["edge"])
        #expect(target.waveNumbers == [0])
    }

    @Test("a node takes from its target what it does not say itself")
    func inherits() throws {
        let target = try #require(try parse(fleet).targets.first)
        #expect(target.nodes.map(\.id.description) == ["edge/edge-1", "edge/edge-2", "edge/edge-3"])
        #expect(target.nodes.map(\.bundle).suffix(2) == ["/etc/haproxy/certs/server.pem", "/srv/edge-3/server.pem"])
        #expect(target.nodes.map(\.loadedAs) == [nil, nil, "/certs/server.pem"])
        #expect(target.nodes.map(\.verifyWithin) == [.seconds(30), .seconds(30), .seconds(120)])
        #expect(target.nodes.allSatisfy { $0.list?.path == "/etc/haproxy/certs.list" })
        #expect(target.nodes.allSatisfy { $0.validate?.arguments.first == "haproxy" })
        #expect(target.nodes.map(\.endpoints.first?.host) == ["10.0.0.1", "10.0.0.2", "10.0.0.3"])
        #expect(target.waves == [.nodes(1), .percent(50), .percent(100)])
        #expect(target.waveNumbers == [0, 1, 2])
    }

    @Test("an inherited fallback is left out where a node has a reload of its own that needs none")
    func inheritsNoIdleFallback() throws {
        let nodes = try #require(try parse(fleet).targets.first).nodes
        let script = ReloadMethod.command(CommandLine(arguments: ["/etc/certs/reload.sh"]))
        #expect(nodes.map(\.fallback) == [script, script, nil])
    }

    @Test("a certificate may have several keys, and a staple where its issuer has a responder")
    func readsKeys() throws {
        let several = try #require(try parse(certificate("keys: [ecdsa-p256, rsa-2048]")).certificates.first)
        #expect(several.key == KeyPolicy(algorithms: [.ecdsaP256, .rsa2048]))
        #expect(several.key.members.map(\.slot) == [.ecdsa, .rsa])
        #expect(!several.staple)
        let kept = try #require(
            try parse(certificate("keys: [rsa-3072]\n    key: { reuse: true }")).certificates.first)
        #expect(kept.key == KeyPolicy(algorithms: [.rsa3072], reuse: true))
        #expect(kept.key.members.map(\.slot) == [nil])
        let stapled = certificate("staple: true").replacingOccurrences(of: "issuer: local", with: "issuer: corporate")
        #expect(try #require(try parse(stapled).certificates.first).staple)
    }

    @Test("each mistake is told once, with its place and what to write instead", arguments: mistakes)
    func refuses(_ wrong: WrongConfiguration) {
        let found = problems(wrong.yaml)
        #expect(found.count == 1, "\(found)")
        #expect(found.first?.hasPrefix("/etc/certs/certs.yml:\(wrong.place): ") == true, "\(found)")
        #expect(found.first?.contains(wrong.text) == true, "\(found)")
    }

    private static let methods: [Method] = [
        .init(yaml: "{ method: runtime, socket: ./a.sock }", method: .runtime(socket: "/etc/certs/a.sock")),
        .init(yaml: "{ method: master, socket: /run/master.sock }", method: .master(socket: "/run/master.sock")),
        .init(
            yaml: "{ method: docker, container: haproxy }",
            method: .docker(DockerContainer(selector: .name("haproxy")))),
        .init(
            yaml: "{ method: docker, service: loadbalancer }",
            method: .docker(DockerContainer(selector: .compose(project: nil, service: "loadbalancer")))),
        .init(
            yaml:
                "{ method: docker, service: loadbalancer, project: shop, engine: docker.sock, signal: SIGUSR2, configuration: /usr/local/etc/haproxy/haproxy.cfg, restart: true }",
            method: .docker(
                DockerContainer(
                    selector: .compose(project: "shop", service: "loadbalancer"),
                    engineSocket: "/etc/certs/docker.sock", signal: .usr2,
                    configuration: "/usr/local/etc/haproxy/haproxy.cfg", restart: true))),
        .init(yaml: "{ method: systemd }", method: .systemd(unit: "haproxy.service")),
        .init(yaml: "{ method: systemd, unit: haproxy@edge }", method: .systemd(unit: "haproxy@edge.service")),
        .init(
            yaml: "{ method: signal, pidFile: /run/haproxy.pid }",
            method: .signal(pidFile: "/run/haproxy.pid", signal: .usr2)),
        .init(
            yaml: "{ method: command, arguments: [./reload.sh, now], deadline: 5s }",
            method: .command(CommandLine(arguments: ["/etc/certs/reload.sh", "now"], deadline: .seconds(5)))),
    ]
}

private let mistakes = methodMistakes + targetMistakes + nodeMistakes + certificateMistakes

private let methodMistakes: [WrongConfiguration] = [
    .init("no method", reloading("{ socket: /s }"), "14:13", "has no 'method'; write e.g. 'reload: { method: runtime"),
    .init("a word instead of a block", reloading("systemd"), "14:13", "'reload' of target 'edge' has no 'method'"),
    .init(
        "an unknown method", reloading("{ method: dokcer, container: a }"), "14:23",
        "'dokcer' is not a reload method; did you mean 'docker'? (known: runtime, master, docker, systemd, signal, command)"
    ),
    .init(
        "the master method without a socket", reloading("{ method: master }"), "14:13",
        "has no 'socket'; write the path of HAProxy's master CLI (`-S`)"),
    .init(
        "a TCP address as the master socket", reloading("{ method: master, socket: \"127.0.0.1:9999\" }"), "14:39",
        "is a TCP address, not a Unix socket"),
    .init(
        "no container", reloading("{ method: docker }"), "14:13",
        "has no 'container'; write 'container: NAME', or 'service: NAME' with the 'project' of Compose"),
    .init(
        "a container and a service", reloading("{ method: docker, container: a, service: b }"), "14:42",
        "'container' and 'service' are both given"),
    .init(
        "a project of a container", reloading("{ method: docker, container: a, project: b }"), "14:54",
        "'project' belongs to 'service'"),
    .init(
        "a container with a slash", reloading("{ method: docker, container: a/b }"), "14:42",
        "'a/b' cannot be the name of a container; use letters, digits"),
    .init(
        "a service that looks like an option", reloading("{ method: docker, service: -f }"), "14:40",
        "'-f' cannot be the name of a container"),
    .init(
        "an engine at a TCP address", reloading("{ method: docker, container: a, engine: \"127.0.0.1:2375\" }"),
        "14:53", "is a TCP address, not a Unix socket"),
    .init(
        "a signal that ends HAProxy", reloading("{ method: docker, container: a, signal: USR1 }"), "14:53",
        "'USR1' is not a signal that makes HAProxy reload; did you mean 'USR2'? (known: USR2, HUP)"),
    .init(
        "a relative path inside of a container", reloading("{ method: docker, container: a, configuration: h.cfg }"),
        "14:60", "'h.cfg' is not an absolute path; write it as HAProxy sees it"),
    .init(
        "a restart that is no flag", reloading("{ method: docker, container: a, restart: always }"), "14:54",
        "'restart' of 'reload' of target 'edge' must be true or false, not 'always'"),
    .init(
        "a misspelt key of a method", reloading("{ method: docker, container: a, restrat: true }"), "14:45",
        "unknown key 'restrat' in 'reload' of target 'edge'; did you mean 'restart'?"),
    .init(
        "a unit with a path", reloading("{ method: systemd, unit: /lib/haproxy.service }"), "14:38",
        "'/lib/haproxy.service' cannot be the name of a unit; write e.g. haproxy.service"),
    .init(
        "a unit that is an option", reloading("{ method: systemd, unit: --force }"), "14:38",
        "cannot be the name of a unit"),
    .init(
        "a unit with a command behind it", reloading("{ method: systemd, unit: \"a; reboot\" }"), "14:38",
        "cannot be the name of a unit"),
]

private let targetMistakes: [WrongConfiguration] = [
    .init(
        "a fallback that does not reload", adding("fallback: { method: runtime, socket: /s }"), "15:15",
        "'fallback' of target 'edge' does not reload; use master, docker, systemd, signal or command"),
    .init(
        "a fallback of a method that reloads",
        adding("fallback: { method: systemd }").replacingOccurrences(
            of: "{ method: runtime, socket: /run/haproxy/admin.sock }", with: "{ method: master, socket: /m }"),
        "15:15", "target 'edge' reloads anyway, by 'master'; leave fallback out"),
    .init(
        "a fallback without its key", adding("fallback: { method: master }"), "15:15",
        "'fallback' of target 'edge' has no 'socket'"),
    .init(
        "a relative path of what HAProxy loads", adding("loadedAs: certs/server.pem"), "15:15",
        "'certs/server.pem' is not an absolute path; write it as HAProxy sees it"),
    .init(
        "a misspelt placeholder in what HAProxy loads", adding("loadedAs: \"/certs/{nmae}.pem\""), "15:15",
        "'/certs/{nmae}.pem' has a placeholder other than {name}; only {name} stands for something"),
    .init(
        "two certificates that HAProxy would hold under one path",
        adding("loadedAs: /certs/server.pem").replacingOccurrences(
            of: "certs/server.pem\n    reload", with: "\"{name}.pem\"\n    reload"
        )
        .replacingOccurrences(of: "/etc/haproxy/\"{name}.pem\"", with: "\"/etc/{name}.pem\"")
        .replacingOccurrences(
            of: "targets:\n  -",
            with: "  - { name: second, dnsNames: [second.example.com], issuer: local, targets: [edge] }\ntargets:\n  -"),
        "16:15",
        "the certificates 'messenger' and 'second' would both be /certs/server.pem in HAProxy; put {name} into the path"
    ),
    .init(
        "a list without a path", adding("list: { options: alpn h2 }"), "15:11",
        "'list' of target 'edge' has no 'path'; write the crt-list file or the directory"),
    .init(
        "a list with a relative path", adding("list: { path: certs.list }"), "15:19",
        "'certs.list' is not an absolute path"),
    .init(
        "options that end the line", adding("list: { path: /c.list, options: \"alpn h2] x\" }"), "15:37",
        "cannot be the options of a line in a crt-list; write them on one line"),
    .init(
        "a filter that is no name", adding("list: { path: /c.list, filters: [a.example.com, \"a b\"] }"), "15:53",
        "'a b' is no SNI filter of a crt-list; write a host name"),
    .init(
        "one filter instead of a list", adding("list: { path: /c.list, filters: a.example.com }"), "15:37",
        "'filters' of 'list' of target 'edge' must be a list, not 'a.example.com'; write it as [www.example.com]"),
    .init(
        "waves without nodes", adding("waves: [1, 100%]"), "15:12",
        "target 'edge' has waves but no nodes; list its 'nodes', or leave waves out"),
]

private let nodeMistakes: [WrongConfiguration] = [
    .init("a wave of nobody", fleet("[1, 50%", "[0, 50%"), "17:13", "'0' is not the end of a wave"),
    .init("a wave of more than all", fleet("100%]", "101%]"), "17:21", "'101%' is not the end of a wave"),
    .init(
        "a wave in words", fleet("[1, 50%", "[one, 50%"), "17:13",
        "write how many nodes are done then, as a number or a share: [1, 25%, 100%]"),
    .init(
        "one wave instead of a list", fleet("[1, 50%, 100%]", "50%"), "17:12",
        "'waves' of target 'edge' must be a list, not '50%'; write it as [1, 25%, 100%]"),
    .init(
        "waves that count anew", fleet("[1, 50%, 100%]", "[2, 1]"), "17:16",
        "this wave of target 'edge' ends at node 1, and the one before it at node 2; each number counts from the first node"
    ),
    .init("no nodes in the list", nodes("nodes: []"), "18:12", "target 'edge' has no nodes; list at least one"),
    .init(
        "nodes that are a block", nodes("nodes: { edge-1: {} }"), "18:12",
        "'nodes' of target 'edge' must be a list, not a block"),
    .init(
        "a node without a name", fleet("- name: edge-2\n        reload", "- reload"), "22:9",
        "node 2 of target 'edge' has no 'name'; give it a name such as 'edge-1'"),
    .init("a node with a slash", fleet("edge-2\n", "edge/2\n"), "22:15", "'edge/2' is not a name for a node"),
    .init(
        "two nodes of one name", fleet("name: edge-2", "name: edge-1"), "22:15",
        "a second node named 'edge-1' in target 'edge'; give each node a name of its own"),
    .init(
        "a misspelt key of a node", fleet("    loadedAs:", "    loadAs:"), "27:9",
        "unknown key 'loadAs' in node 'edge-3' of target 'edge'; did you mean 'loadedAs'?"),
    .init(
        "waves inside of a node", fleet("        loadedAs: /certs/server.pem", "        waves: [1]"), "27:9",
        "unknown key 'waves' in node 'edge-3' of target 'edge'"),
    .init(
        "a node without endpoints", fleet("        endpoints: [ { address: \"10.0.0.2:443\" } ]\n", ""), "22:9",
        "node 'edge-2' of target 'edge' has no endpoints"),
    .init(
        "endpoints of the whole target",
        fleet("    waves:", "    endpoints: [ { address: \"10.0.0.9:443\" } ]\n    waves:"),
        "17:16", "the endpoints of target 'edge' would prove none of its nodes; give each node 'endpoints'"),
    .init(
        "two nodes with one address", fleet("10.0.0.2", "10.0.0.1"), "24:22",
        "the endpoint 10.0.0.1:443 is that of node 'edge-1' already; write an address at which only node 'edge-2' answers"
    ),
    .init(
        "two nodes with one socket", fleet("/run/edge-2.sock", "/run/edge-1.sock"), "23:17",
        "'reload' of node 'edge-2' of target 'edge' is that of node 'edge-1', too; give each node a 'reload' of its own"
    ),
    .init(
        "nodes that inherit one fallback which reaches one HAProxy",
        fleet("{ method: command, arguments: [./reload.sh] }", "{ method: systemd }"), "22:9",
        "'fallback' of node 'edge-2' of target 'edge' is that of node 'edge-1', too"),
    .init(
        "a node without any reload",
        fleet("        reload: { method: runtime, socket: /run/edge-2.sock }\n", ""), "22:9",
        "node 'edge-2' of target 'edge' has no 'reload'"),
    .init(
        "a mistake in what all nodes inherit", fleet("verifyWithin: 30s", "verifyWithin: soon"), "13:19",
        "'soon' is not a duration ('verifyWithin' of target 'edge')"),
    .init(
        "a fallback of a target that reloads anyway",
        fleet("    verifyWithin: 30s\n", "    reload: { method: command, arguments: [a] }\n")
            .replacingOccurrences(of: "        reload: { method: runtime, socket: /run/edge-1.sock }\n", with: ""),
        "14:15", "target 'edge' reloads anyway, by 'command'"),
    .init(
        "a node that no certificate is seen on",
        fleet("{ address: \"10.0.0.3:443\" }", "{ address: \"10.0.0.3:443\", serverName: other.example.com }"), "29:61",
        "no certificate of target 'edge/edge-3' covers the serverName 'other.example.com'"),
]

private let certificateMistakes: [WrongConfiguration] = [
    .init(
        "two keys of one type", certificate("keys: [rsa-2048, rsa-4096]"), "8:22",
        "'rsa-4096' and 'rsa-2048' are of one type: a client takes both or none; name one of each type"),
    .init(
        "an unknown key in a list", certificate("keys: [ecdsa-p256, rsa-1024]"), "8:24",
        "'rsa-1024' is not a key algorithm"),
    .init(
        "an Ed25519 key beside others", certificate("keys: [ecdsa-p256, ed25519]"), "8:11",
        "HAProxy has no file for an ed25519 certificate beside others"),
    .init(
        "one key instead of a list", certificate("keys: ecdsa-p256"), "8:11",
        "'keys' of certificate 'messenger' must be a list, not 'ecdsa-p256'; write it as [ecdsa-p256, rsa-2048]"),
    .init("no key in the list", certificate("keys: []"), "8:11", "'keys' of certificate 'messenger' is empty"),
    .init(
        "keys and an algorithm", certificate("keys: [ecdsa-p256, rsa-2048]\n    key: { algorithm: rsa-2048 }"), "9:23",
        "certificate 'messenger' has 'keys' and 'key.algorithm'; leave one of them out"),
    .init(
        "several keys for a person to carry",
        certificate("keys: [ecdsa-p256, rsa-2048]").replacingOccurrences(
            of: "issuer: local", with: "issuer: corporate"),
        "8:11", "the issuer 'corporate' is a hand-off, which takes one key at a time"),
    .init(
        "a staple in other words", certificate("staple: yes"), "8:13",
        "'staple' of certificate 'messenger' must be true or false, not 'yes'"),
    .init(
        "a staple of an issuer without a responder", certificate("staple: true"), "8:13",
        "certificates of the issuer 'local' (local-ca) name no OCSP responder; leave staple out"),
]

/// The target without its nodes, and with `line` in their place, which is line 18.
private func nodes(_ line: String) -> String {
    guard let start = fleet.range(of: "    nodes:") else { return fleet }
    return fleet[..<start.lowerBound] + "    \(line)\n"
}
