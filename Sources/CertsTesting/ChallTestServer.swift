import CertsCore
import CertsHTTP
import Foundation

/// `pebble-challtestsrv`: a DNS server on loopback that answers what it is told to, and every other name with 127.0.0.1.
///
/// Its own responders of challenges are off: the program under test answers.
package final class ChallTestServer: Sendable {
    /// Speaks DNS, over UDP and TCP, at 127.0.0.1.
    package let dnsPort: Int
    /// Where it takes commands over HTTP.
    package let managementURL: String
    private let process: ServerProcess

    package var dnsAddress: String { "127.0.0.1:\(dnsPort)" }

    package static func start(in directory: TemporaryDirectory) async throws -> ChallTestServer {
        try await BlockingPool.network.run { try ChallTestServer(in: directory) }
    }

    init(in directory: TemporaryDirectory) throws {
        let dnsPort = try LoopbackPort.reserve()
        let managementPort = try LoopbackPort.reserve()
        self.dnsPort = dnsPort
        managementURL = "http://127.0.0.1:\(managementPort)"
        process = ServerProcess(
            [
                "pebble-challtestsrv", "-defaultIPv4", "127.0.0.1", "-defaultIPv6", "", "-http01", "", "-https01", "",
                "-tlsalpn01", "", "-dns01", "127.0.0.1:\(dnsPort)", "-management", "127.0.0.1:\(managementPort)",
            ], directory: directory.path, log: directory.path("challtestsrv-\(dnsPort).log"))
        try process.start { UnixSocket.accepts(port: dnsPort) && UnixSocket.accepts(port: managementPort) }
    }

    package func stop() { process.stop() }
    package var output: String { process.output }

    // MARK: What it answers

    /// Adds one TXT value; a name may have several.
    package func setTXT(_ host: String, _ value: String) async throws {
        try await tell("set-txt", ["host": Self.absolute(host), "value": value])
    }

    /// Removes every TXT value of the name.
    package func clearTXT(_ host: String) async throws { try await tell("clear-txt", ["host": Self.absolute(host)]) }

    package func addA(_ host: String, _ addresses: [String]) async throws {
        try await tell("add-a", AddressesCommand(host: host, addresses: addresses))
    }

    package func clearA(_ host: String) async throws { try await tell("clear-a", ["host": host]) }

    package func addAAAA(_ host: String, _ addresses: [String]) async throws {
        try await tell("add-aaaa", AddressesCommand(host: host, addresses: addresses))
    }

    /// - Parameter policies: e.g. `("issue", "ca.example.net")` (RFC 8659 §4).
    package func addCAA(_ host: String, _ policies: [(tag: String, value: String)]) async throws {
        try await tell(
            "add-caa", PoliciesCommand(host: host, policies: policies.map { .init(tag: $0.tag, value: $0.value) }))
    }

    package func clearCAA(_ host: String) async throws { try await tell("clear-caa", ["host": host]) }

    package func setCNAME(_ host: String, to target: String) async throws {
        try await tell("set-cname", ["host": Self.absolute(host), "target": Self.absolute(target)])
    }

    package func clearCNAME(_ host: String) async throws {
        try await tell("clear-cname", ["host": Self.absolute(host)])
    }

    /// Every question for the name is answered SERVFAIL.
    package func setServfail(_ host: String) async throws { try await tell("set-servfail", ["host": host]) }
    package func clearServfail(_ host: String) async throws { try await tell("clear-servfail", ["host": host]) }

    /// How many questions for the name came since the start.
    package func questions(for host: String) async throws -> Int {
        let answer = try await tell("dns-request-history", ["host": host])
        let entries = try JSONSerialization.jsonObject(with: answer.isEmpty ? Data("[]".utf8) : answer)
        return (entries as? [Any])?.count ?? 0
    }

    private struct AddressesCommand: Encodable {
        let host: String
        let addresses: [String]
    }

    private struct PoliciesCommand: Encodable {
        struct Policy: Encodable {
            let tag: String
            let value: String
        }
        let host: String
        let policies: [Policy]
    }

    private static func absolute(_ host: String) -> String { host.hasSuffix(".") ? host : "\(host)." }

    @discardableResult
    private func tell(_ command: String, _ body: some Encodable & Sendable) async throws -> Data {
        let response = try await HTTPClient().send(
            HTTPRequest(
                .post, "\(managementURL)/\(command)", body: try JSONEncoder().encode(body),
                limits: .init(deadline: .seconds(10))))
        guard response.isSuccess else {
            throw Tool.Failure(description: "\(command): status \(response.status): \(response.body)")
        }
        return response.body
    }
}
