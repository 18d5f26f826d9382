import CertsCore
import CertsHTTP
import CertsTesting
import Foundation

/// Debian's Prometheus with an own database, on a free port of the loopback.
final class PrometheusServer: Sendable {
    /// One sample of an instant query.
    struct Sample: Decodable {
        let labels: [String: String]
        let value: Double

        private enum Key: String, CodingKey { case metric, value }

        init(from decoder: any Decoder) throws {
            let container = try decoder.container(keyedBy: Key.self)
            labels = try container.decode([String: String].self, forKey: .metric)
            var pair = try container.nestedUnkeyedContainer(forKey: .value)
            _ = try pair.decode(Double.self)
            value = Double(try pair.decode(String.self)) ?? .nan
        }
    }

    /// A rule as its page "Rules" shows it.
    struct Rule: Decodable {
        let name: String
        let health: String
        let state: String?
    }

    private struct Answer<Payload: Decodable>: Decodable {
        let status: String
        let data: Payload?
        let error: String?
    }

    private struct Result: Decodable { let result: [Sample] }
    private struct Groups: Decodable {
        struct Group: Decodable { let rules: [Rule] }
        let groups: [Group]
    }

    let port: Int
    private let process: ServerProcess

    /// Returns when it is ready.
    static func start(configuration: String, in directory: TemporaryDirectory) async throws -> PrometheusServer {
        let server = try await blocking.run { try PrometheusServer(configuration, directory) }
        guard try await eventually(within: 60, { (try? await server.ask("/-/ready").status) == 200 }) else {
            throw Program.Failure(description: "Prometheus does not get ready: \(server.output)")
        }
        return server
    }

    private init(_ configuration: String, _ directory: TemporaryDirectory) throws {
        let port = try LoopbackPort.reserve()
        self.port = port
        process = ServerProcess(
            [
                "prometheus", "--config.file=\(configuration)", "--storage.tsdb.path=\(directory.path("tsdb"))",
                "--web.listen-address=127.0.0.1:\(port)",
            ], directory: directory.path, log: directory.path("prometheus.log"))
        try process.start(within: 60) { LoopbackPort.isServed(port) }
    }

    func stop() { process.stop() }

    var output: String { process.output }

    /// The samples of an instant query, now.
    func query(_ expression: String) async throws -> [Sample] {
        let found: Result = try await get("/api/v1/query?query=\(Self.encoded(expression))")
        return found.result
    }

    func rules() async throws -> [Rule] {
        let found: Groups = try await get("/api/v1/rules")
        return found.groups.flatMap(\.rules)
    }

    private func get<Payload: Decodable>(_ path: String) async throws -> Payload {
        let response = try await ask(path)
        let answer = try JSONDecoder().decode(Answer<Payload>.self, from: response.body)
        guard let data = answer.data else {
            throw Program.Failure(description: "Prometheus: \(answer.error ?? answer.status): \(path)")
        }
        return data
    }

    private func ask(_ path: String) async throws -> HTTPResponse {
        try await HTTPClient().send(
            HTTPRequest(.get, "http://127.0.0.1:\(port)\(path)", limits: .init(deadline: .seconds(20))))
    }

    private static func encoded(_ text: String) -> String {
        text.utf8.map { byte in
            let isPlain = (48...57).contains(byte) || (65...90).contains(byte) || (97...122).contains(byte)
            return isPlain ? String(UnicodeScalar(byte)) : String(format: "%%%02X", byte)
        }.joined()
    }
}
