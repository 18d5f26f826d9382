import CertsCore
import CertsHTTP
import CertsTesting
import Foundation
import Testing

/// Debian's Alertmanager with the shipped file: which of several alerts for one certificate are sent.
@Suite(.timeLimit(.minutes(3))) struct InhibitionTests {
    private static let configuration = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent().appending(path: "HAProxy/alertmanager.yml").path

    private struct Alert: Decodable {
        struct Status: Decodable { let state: String }
        let labels: [String: String]
        let status: Status
    }

    /// Alertmanager, with some alerts posted to it.
    private struct Alertmanager {
        let directory: TemporaryDirectory
        let port: Int
        let process: ServerProcess

        init() throws {
            directory = try TemporaryDirectory(prefix: "certs-e2e-alertmanager")
            let port = try LoopbackPort.reserve()
            self.port = port
            process = ServerProcess(
                [
                    "prometheus-alertmanager", "--config.file=\(configuration)",
                    "--storage.path=\(directory.path("data"))", "--web.listen-address=127.0.0.1:\(port)",
                    "--cluster.listen-address=",
                ], directory: directory.path, log: directory.path("log"))
            try process.start(within: 60) { LoopbackPort.isServed(port) }
        }

        func post(_ alerts: [[String: String]]) async throws {
            let body = try JSONEncoder().encode(alerts.map { ["labels": $0] })
            var request = HTTPRequest(
                .post, "http://127.0.0.1:\(port)/api/v2/alerts", limits: .init(deadline: .seconds(20)))
            request.headers = [(name: "Content-Type", value: "application/json")]
            request.body = body
            let response = try await HTTPClient().send(request)
            #expect(response.status == 200, "\(String(decoding: response.body, as: UTF8.self))")
        }

        /// The names of the alerts that are sent for a certificate.
        func sent(_ label: String, _ value: String) async throws -> Set<String> {
            let response = try await HTTPClient().send(
                HTTPRequest(
                    .get, "http://127.0.0.1:\(port)/api/v2/alerts?inhibited=false",
                    limits: .init(deadline: .seconds(20))))
            let alerts = try JSONDecoder().decode([Alert].self, from: response.body)
            return Set(alerts.filter { $0.labels[label] == value }.compactMap { $0.labels["alertname"] })
        }
    }

    @Test func `the worst alert of a certificate mutes the others, and none of another certificate`() async throws {
        let manager = try await blocking.run { try Alertmanager() }
        defer { manager.process.stop() }
        func alert(_ name: String, _ cert: String) -> [String: String] {
            ["alertname": name, "cert": cert, "instance": "\(cert).example.com:443"]
        }
        let stages = ["Expiring", "RenewalOverdue", "ExpiryCritical", "Expired"].map { "SSLCertificate\($0)" }
        // The first certificate is at the first stage, the fourth at the last.
        var alerts: [[String: String]] = []
        for reached in 1...4 { alerts += stages.prefix(reached).map { alert($0, "at-\(reached)") } }
        alerts += ["CertsRolledBack", "CertsRollbackFailed", "CertsRenewalFailing"].map { alert($0, "stuck") }
        alerts += [["alertname": "CertsExporterAbsent", "job": "certs"], ["alertname": "CertsNoCertificates"]]
        try await manager.post(alerts)
        for reached in 1...4 {
            var sent: Set<String> = []
            let isWorst = try await eventually {
                sent = try await manager.sent("cert", "at-\(reached)")
                return sent == [stages[reached - 1]]
            }
            #expect(isWorst, "at-\(reached): \(sent)")
        }
        #expect(try await eventually { try await manager.sent("cert", "stuck") == ["CertsRollbackFailed"] })
        #expect(try await manager.sent("alertname", "CertsNoCertificates").isEmpty)
        #expect(try await manager.sent("job", "certs") == ["CertsExporterAbsent"])
    }
}
