import ArgumentParser
import CertsCore
import CertsHTTP
import Foundation

struct HealthCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "health",
        abstract: "Ask the running service whether it lives, and its planner with it.",
        discussion: "For the health check of a container. Exit code 0: yes; 1: no, or nobody answers.")

    @OptionGroup var global: GlobalOptions
    @Flag(help: "Ask whether it is ready: recovered, and the planner has run.")
    var ready = false

    func run() async throws {
        let server = try ConfigurationFile.load(path: global.configurationPath).server
        let url = "http://\(Self.address(of: server))/\(ready ? "readyz" : "healthz")"
        let response = try await HTTPClient().send(
            HTTPRequest(.get, url, limits: .init(deadline: .seconds(5), idle: .seconds(5), body: 4096)))
        let said = TerminalText.sanitized(String(decoding: response.body, as: UTF8.self).trimmed)
        guard response.status == 200 else {
            throw CertsError(
                .http, "the service says: \(said)", subject: url,
                hint: "its log tells why ('journalctl -u certs', 'docker logs')")
        }
        Terminal.print(said)
    }

    /// Where this host reaches a listener: one on all addresses is asked on the loopback.
    static func address(of server: ServerDeclaration) -> String {
        let host = ["0.0.0.0": "127.0.0.1", "::": "::1"][server.host] ?? server.host
        return Endpoint(host: host, port: server.port).address
    }
}

extension String {
    fileprivate var trimmed: String { trimmingCharacters(in: .whitespacesAndNewlines) }
}
