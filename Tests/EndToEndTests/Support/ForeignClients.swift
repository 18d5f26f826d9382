import CertsCore
import CertsTesting
import Foundation

/// Other ACME clients, as Debian ships them, that get certificates from a Pebble into a directory of their own.
struct ForeignClients: Sendable {
    enum Client: String, Sendable, CaseIterable {
        case certbot, lego, caddy, uacme, dehydrated
    }

    let directory: TemporaryDirectory
    let pebble: Pebble

    /// Lets a client order one certificate for `names`.
    ///
    /// - Returns: the directory that it keeps.
    func order(_ client: Client, _ names: [String]) async throws -> String {
        let home = directory.path("\(client.rawValue)-\(UUID().uuidString.prefix(8))")
        try FileManager.default.createDirectory(atPath: home, withIntermediateDirectories: true)
        switch client {
        case .certbot: try await certbot(home, names)
        case .lego: try await lego(home, names)
        case .caddy: try await caddy(home, names)
        case .uacme: try await uacme(home, names)
        case .dehydrated: try await dehydrated(home, names)
        }
        return home
    }

    private func certbot(_ home: String, _ names: [String]) async throws {
        try await run(
            [
                "env", "REQUESTS_CA_BUNDLE=\(pebble.caFile)", "certbot", "certonly", "--non-interactive",
                "--agree-tos", "--email", "ops@example.com", "--server", pebble.directoryURL, "--standalone",
                "--http-01-port", "\(pebble.httpPort)", "--http-01-address", "127.0.0.1", "--config-dir", home,
                "--work-dir", directory.path("certbot-work"), "--logs-dir", directory.path("certbot-logs"),
            ] + names.flatMap { ["-d", $0] })
    }

    private func lego(_ home: String, _ names: [String]) async throws {
        try await run(
            [
                "env", "LEGO_CA_CERTIFICATES=\(pebble.caFile)", "lego", "--path", home, "--server",
                pebble.directoryURL, "--accept-tos", "--email", "ops@example.com", "--http", "--http.port",
                "127.0.0.1:\(pebble.httpPort)",
            ] + names.flatMap { ["--domains", $0] } + ["run"])
    }

    private func caddy(_ home: String, _ names: [String]) async throws {
        let file = try directory.write(
            """
            {
                acme_ca \(pebble.directoryURL)
                acme_ca_root \(pebble.caFile)
                email ops@example.com
                http_port \(pebble.httpPort)
                https_port \(pebble.tlsPort)
                default_bind 127.0.0.1
                admin off
                storage file_system \(home)
            }
            \(names.joined(separator: ", ")) {
                respond "ok"
            }

            """, to: "Caddyfile")
        let process = ServerProcess(
            ["caddy", "run", "--config", file, "--adapter", "caddyfile"],
            environment: ["HOME": directory.path], directory: directory.path, log: directory.path("caddy.log"))
        defer { process.stop() }
        try await blocking.run {
            // The metadata is written last.
            try process.start(within: 45) {
                let files = FileManager.default.enumerator(atPath: "\(home)/certificates")?.allObjects ?? []
                return files.count { ($0 as? String)?.hasSuffix(".json") == true } == names.count
            }
        }
    }

    private func uacme(_ home: String, _ names: [String]) async throws {
        let web = try await webServer()
        defer { web.process.stop() }
        let hook = try script(
            "uacme-hook",
            """
            [ "$2" = http-01 ] || exit 1
            case $1 in
            begin) printf %s "$5" >"\(web.tokens)/$4" ;;
            *) rm -f "\(web.tokens)/$4" ;;
            esac
            """)
        // Its libcurl trusts this one file, whatever it is told; a mount that only it sees changes nothing else.
        let trusting = try script(
            "uacme-trusting", "mount --bind \(pebble.caFile) /etc/ssl/certs/ca-certificates.crt && exec \"$@\"")
        let uacme = [
            "unshare", geteuid() == 0 ? "-m" : "-rm", trusting, "uacme", "-c", home, "-a", pebble.directoryURL,
        ]
        try await run(uacme + ["-y", "new", "ops@example.com"])
        try await run(uacme + ["-h", hook, "issue"] + names)
    }

    private func dehydrated(_ home: String, _ names: [String]) async throws {
        let web = try await webServer()
        defer { web.process.stop() }
        try directory.write(names.joined(separator: " ") + "\n", to: "domains.txt")
        let config = """
            CA="\(pebble.directoryURL)"
            BASEDIR=\(home)
            DOMAINS_TXT=\(directory.path("domains.txt"))
            WELLKNOWN=\(web.tokens)
            CONTACT_EMAIL=ops@example.com
            RENEW_DAYS="20"
            KEY_ALGO=prime256v1
            CURL_OPTS="--cacert \(pebble.caFile)"

            """
        try Data(config.utf8).write(to: URL(filePath: "\(home)/config"))
        try await run(["dehydrated", "--config", "\(home)/config", "--register", "--accept-terms"])
        try await run(["dehydrated", "--config", "\(home)/config", "--cron"])
    }

    // MARK: Around them

    private func run(_ arguments: [String]) async throws {
        let outcome = try await Program(arguments: arguments, environment: ["HOME": directory.path]).run()
        guard outcome.status == 0 else {
            throw Program.Failure(description: "\(arguments.joined(separator: " ")): \(outcome.all)\n\(pebble.output)")
        }
    }

    private func script(_ name: String, _ text: String) throws -> String {
        let path = try directory.write("#!/bin/sh\n\(text)\n", to: name)
        try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: path)
        return path
    }

    /// Serves tokens where Pebble looks for them.
    private func webServer() async throws -> (process: ServerProcess, tokens: String) {
        let root = directory.path("www-\(UUID().uuidString.prefix(8))")
        let tokens = "\(root)/.well-known/acme-challenge"
        try FileManager.default.createDirectory(atPath: tokens, withIntermediateDirectories: true)
        let process = ServerProcess(
            ["python3", "-m", "http.server", "--bind", "127.0.0.1", "--directory", root, "\(pebble.httpPort)"],
            directory: directory.path, log: directory.path("www.log"))
        let port = pebble.httpPort
        try await blocking.run { try process.start { LoopbackPort.isServed(port) } }
        return (process, tokens)
    }
}
