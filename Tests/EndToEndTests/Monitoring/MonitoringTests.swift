import CertsCore
import CertsHTTP
import CertsTesting
import Foundation
import Testing

/// A real Prometheus reads a real `certs serve` by the shipped files: scrape configuration, rules, dashboard.
@Suite(.timeLimit(.minutes(5))) struct MonitoringTests {
    private static let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent().path
    private static let shipped = "\(root)/HAProxy"

    /// HAProxy with a certificate of an ACME CA, the service, and Prometheus beside them.
    private struct Stage {
        let scene: RotationScene
        let pebble: Pebble
        private(set) var service: ServeTests.Service
        let prometheus: PrometheusServer

        var instance: String { "\(RotationScene.name):\(scene.balancer.port)" }

        static func make() async throws -> Stage {
            let pebble = try await Pebble.start(in: TemporaryDirectory(prefix: "certs-e2e-pebble"))
            let port = try LoopbackPort.reserve()
            let scene = try await RotationScene.make(
                .init(
                    issuers: """
                        ca:
                            type: acme
                            directory: \(pebble.directoryURL)
                            caFile: \(pebble.caFile)
                            acceptTerms: true
                            challenge: { type: http-01, listen: "127.0.0.1:\(pebble.httpPort)", selfCheck: { address: "127.0.0.1:\(pebble.httpPort)" } }
                        """, issuer: "ca",
                    more: """
                        server: { listen: "127.0.0.1:\(port)" }
                        schedule: { tick: 2s, jitter: 0s }
                        watch: [{ name: legacy, directory: ./certs }]
                        notifications: { channels: [{ name: pager, type: command, run: [/bin/true] }] }
                        maintenance: { jobs: [{ name: tidy, kind: command, arguments: [/bin/true], every: 2s }] }
                        """))
            let service = try ServeTests.Service(scene, port: port)
            #expect(try await eventually { await service.get("/readyz")?.status == 200 }, "\(service.output)")
            let configuration = try scene.directory.write(
                Data(try Self.configuration(target: port).utf8), to: "prometheus.yml")
            let prometheus = try await PrometheusServer.start(configuration: configuration, in: scene.directory)
            return Stage(scene: scene, pebble: pebble, service: service, prometheus: prometheus)
        }

        /// The shipped scrape configuration with another target and a scrape each second; and a second job that takes
        /// the label over by the relabeling of docs/monitoring.md.
        private static func configuration(target port: Int) throws -> String {
            var text = try String(contentsOfFile: "\(shipped)/prometheus.yml", encoding: .utf8)
            for (old, new) in [
                ("127.0.0.1:9219", "127.0.0.1:\(port)"), ("scrape_interval: 1m", "scrape_interval: 1s"),
                ("[alerts.yml]", "[\(shipped)/alerts.yml]"),
            ] {
                #expect(text.contains(old), "not in prometheus.yml: \(old)")
                text = text.replacingOccurrences(of: old, with: new)
            }
            let page = try String(contentsOfFile: "\(root)/docs/monitoring.md", encoding: .utf8)
            let relabeling = try #require(page.firstMatch(of: /```yaml\n( +metric_relabel_configs:\n(?:.*\n)*?)```/))
            return """
                global: { evaluation_interval: 1s }
                \(text)
                  - job_name: relabeled
                    scrape_interval: 1s
                    static_configs: [{ targets: ["127.0.0.1:\(port)"] }]
                \(relabeling.1)
                """
        }

        /// The service begins anew with another key policy in its configuration.
        mutating func restart(withKey algorithm: String) async throws {
            _ = try await service.end()
            let old = "algorithm: \(scene.setting.key)"
            try scene.writeConfiguration { $0.replacingOccurrences(of: old, with: "algorithm: \(algorithm)") }
            let begun = try ServeTests.Service(scene, port: service.port)
            service = begun
            #expect(try await eventually { await begun.get("/readyz")?.status == 200 }, "\(begun.output)")
        }

        func end() async throws {
            prometheus.stop()
            _ = try await service.end()
            pebble.stop()
        }

        /// Until Prometheus has a sample of `expression`.
        func first(_ expression: String, within seconds: Double = 60) async throws -> PrometheusServer.Sample? {
            var found: PrometheusServer.Sample?
            _ = try await eventually(within: seconds) {
                found = try await prometheus.query(expression).first
                return found != nil
            }
            return found
        }
    }

    @Test func `the shipped configuration keeps the instance, its rules hold, and nothing fires`() async throws {
        let stage = try await Stage.make()
        for job in ["certs", "relabeled"] {
            let sample = try await stage.first("ssl_cert_expiry_days{cert=\"messenger\",job=\"\(job)\"}")
            #expect(sample?.labels["instance"] == stage.instance, "\(job): \(stage.prometheus.output)")
            #expect(sample?.labels["exported_instance"] == nil)
            #expect((sample?.value ?? 0) > 30)
        }
        // What the program says of itself keeps the instance of the target.
        let own = try await stage.first("certs_task_interval_seconds{task=\"renew\",job=\"certs\"}")
        #expect(own?.labels["instance"]?.hasPrefix("127.0.0.1:") == true)

        let names = Set(try Self.alerts(of: "alerts.yml"))
        #expect(names.count > 20)
        var rules: [PrometheusServer.Rule] = []
        let holds = try await eventually(within: 60) {
            rules = try await stage.prometheus.rules()
            return Set(rules.map(\.name)) == names && rules.allSatisfy { $0.health == "ok" && $0.state == "inactive" }
        }
        #expect(holds, "\(rules.filter { $0.health != "ok" || $0.state != "inactive" })")
        // Something that is wrong is told by the alert that is there for it.
        let bundle = try #require(FileManager.default.contents(atPath: stage.scene.bundle))
        try (Data("# by hand\n".utf8) + bundle).write(to: URL(filePath: stage.scene.bundle))
        let alert = try await stage.first("ALERTS{alertname=\"CertsDrift\",job=\"certs\"}")
        #expect(alert?.labels["target"] == "loadbalancer", "\(stage.service.output)")
        try await stage.end()
    }

    @Test func `every query of the dashboard returns data, and every metric of the shipped files exists`() async throws
    {
        var stage = try await Stage.make()
        #expect(try await stage.first("ssl_cert_expiry_days{cert=\"messenger\"}") != nil)
        #expect(try await stage.first("certs_issuer_requests_total{issuer=\"ca\"}") != nil)
        // Something must happen while Prometheus looks: for another key the service orders another certificate.
        try await stage.restart(withKey: "ecdsa-p384")
        let renewed = try await stage.first("changes(ssl_cert_not_after_timestamp_seconds{cert=\"messenger\"}[5m]) > 0")
        #expect(renewed != nil, "\(stage.service.output)")
        let dashboard = try Dashboard(path: "\(Self.shipped)/grafana-dashboard.json")
        #expect(dashboard.ofPanels.count >= 30)
        for query in dashboard.ofPanels {
            let sample = try await stage.first(query.expression)
            #expect(sample.map { $0.value.isNaN } == false, "\(query.place): \(query.expression)")
        }
        for (query, label) in dashboard.ofVariables {
            #expect(try await stage.first(query.expression)?.labels[label] != nil, "\(query.place)")
        }
        #expect(dashboard.ofVariables.count == dashboard.variableCount)
        let renewals = try #require(dashboard.ofAnnotations.first { $0.place == "Renewals" })
        #expect(try await stage.first(renewals.expression)?.labels["cert"] == "messenger")
        // Nothing was rolled back: that the others can be evaluated is what can be asked.
        for query in dashboard.ofAnnotations { _ = try await stage.prometheus.query(query.expression) }

        let exposed = await stage.service.text("/metrics")
        for file in ["alerts.yml", "alerts-scoped.yml", "grafana-dashboard.json"] {
            let text = try String(contentsOfFile: "\(Self.shipped)/\(file)", encoding: .utf8)
            let used = Set(text.matches(of: /\b(?:ssl_cert|certs|process)_[a-z0-9_]+/).map { String($0.0) })
            #expect(used.count > 10, "\(file)")
            let unknown = used.filter { name in
                let family = name.replacing(/_(?:bucket|sum|count)$/, with: "")
                return !exposed.contains("\n# TYPE \(name) ") && !exposed.contains("\n# TYPE \(family) histogram")
            }
            #expect(unknown == [], "\(file)")
        }
        try await stage.end()
    }

    private static func alerts(of file: String) throws -> [String] {
        let text = try String(contentsOfFile: "\(shipped)/\(file)", encoding: .utf8)
        return text.matches(of: /- alert: (\w+)/).map { String($0.1) }
    }
}
