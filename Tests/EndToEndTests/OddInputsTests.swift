import CertsCore
import CertsCrypto
import CertsHTTP
import CertsTesting
import Foundation
import Testing

/// Watched directories with two hundred odd inputs beside good ones: the service as a pure exporter.
@Suite struct OddInputsTests {
    /// The directories, the configuration and the service on them.
    final class Scene: Sendable {
        let directory: TemporaryDirectory
        let port: Int
        let corpus: OddInputs
        var configuration: String { directory.path("certs.yml") }

        init() throws {
            directory = try TemporaryDirectory(prefix: "certs-odd")
            port = try LoopbackPort.reserve()
            corpus = try OddInputs(in: directory)
            try directory.write(
                Data(
                    """
                    version: 1
                    state: ./state
                    watch:
                      - { name: odd, directory: ./odd }
                      - { name: locked, directory: ./locked, passphraseFile: ./passphrase, recursive: false }
                      - { name: gone, directory: ./gone }
                    schedule: { scan: 1s }
                    server: { listen: "127.0.0.1:\(port)" }
                    """.utf8), to: "certs.yml")
        }

        /// Root may read everything, and so would see no file that is unreadable: it gives that up.
        func program(_ arguments: [String]) -> Program {
            let dropped = ["setpriv", "--inh-caps=-all", "--bounding-set=-dac_override,-dac_read_search"]
            return Program(
                arguments: (geteuid() == 0 ? dropped : []) + [RotationScene.executable] + arguments
                    + ["--config", configuration])
        }

        func get(_ path: String) async -> HTTPResponse? {
            try? await HTTPClient().send(
                HTTPRequest(.get, "http://127.0.0.1:\(port)\(path)", limits: .init(deadline: .seconds(10))))
        }
    }

    /// The samples of an exposition by their name and labels, as they are written.
    static func samples(_ text: String) -> [String: Double] {
        Dictionary(
            text.split(separator: "\n").filter { !$0.hasPrefix("#") }.compactMap { line in
                line.lastIndex(of: " ").flatMap { blank in
                    Double(line[line.index(after: blank)...]).map { (String(line[..<blank]), $0) }
                }
            }, uniquingKeysWith: { _, second in second })
    }

    @Test func `two hundred odd inputs: each is counted once under its reason, and hides no other series`() async throws
    {
        let scene = try await blocking.run { try Scene() }
        #expect(scene.corpus.count >= 200)
        let log = scene.directory.path("serve.log")
        let service = try scene.program(["serve"]).start(output: log, errors: log)
        defer { kill(service, SIGKILL) }
        func metrics() async -> [String: Double] {
            guard let response = await scene.get("/metrics"), response.status == 200 else { return [:] }
            return Self.samples(String(decoding: response.body, as: UTF8.self))
        }
        func said() -> String { (try? String(contentsOfFile: log, encoding: .utf8)) ?? "" }
        #expect(
            try await eventually(within: 30) {
                let now = await metrics()
                return now["certs_source_up{source=\"odd\"}"] == 1 && now["certs_source_up{source=\"locked\"}"] == 1
            }, "\(said())")
        let response = try #require(await scene.get("/metrics"))
        #expect(response.status == 200)
        let first = Self.samples(String(decoding: response.body, as: UTF8.self))
        expectCounts(first, scene.corpus)
        // No line is there twice: none of the odd names broke another one.
        let lines = String(decoding: response.body, as: UTF8.self).split(separator: "\n").filter { !$0.hasPrefix("#") }
        #expect(lines.count == first.count)
        for good in scene.corpus.good {
            let labels = "{instance=\"\(scene.directory.path(good))\",cert=\"\(good)\"}"
            #expect(first["ssl_cert_expiry_days\(labels)"] != nil, "\(good)")
            #expect(first["ssl_cert_not_after_timestamp_seconds\(labels)"] != nil, "\(good)")
        }

        // Some scans later nothing has been counted again.
        let tick = "certs_task_last_run_timestamp_seconds{task=\"scan\"}"
        try await Task.sleep(for: .seconds(4))
        #expect(await metrics()[tick] != nil)
        expectCounts(await metrics(), scene.corpus)

        // A new file is seen soon, and a cured one is counted no more than it was.
        let begin = ContinuousClock.now
        try scene.directory.write(scene.corpus.goodPEM, to: "odd/new.pem")
        let new = "ssl_cert_expiry_days{instance=\"\(scene.directory.path("odd/new.pem"))\",cert=\"odd/new.pem\"}"
        #expect(try await eventually(within: 5) { await metrics()[new] != nil })
        #expect(ContinuousClock.now - begin < .seconds(4))
        try scene.directory.write(scene.corpus.goodPEM, to: "odd/garbage-0.pem")
        let cured = new.replacingOccurrences(of: "new.pem", with: "garbage-0.pem")
        #expect(try await eventually(within: 5) { await metrics()[cured] != nil })
        expectCounts(await metrics(), scene.corpus)

        // A file that breaks keeps the dates that were known, and is one more error.
        let before = await metrics()
        try scene.directory.write(Data("-----BEGIN CERTIFICATE-----\nMII".utf8), to: "odd/new.pem")
        let bad = "certs_source_errors_total{source=\"odd\",reason=\"bad_pem\"}"
        #expect(try await eventually(within: 5) { await metrics()[bad] == (before[bad] ?? -9) + 1 })
        #expect(await metrics()[new] != nil)
        kill(service, SIGTERM)
        #expect(try await blocking.run { Program.wait(for: service, seconds: 15) } == 0)

        try await expectOneCount(scene)
    }

    private func expectCounts(_ samples: [String: Double], _ corpus: OddInputs) {
        for (source, expected) in corpus.errors {
            for reason in WatchReason.ofFiles {
                let name = "certs_source_errors_total{source=\"\(source)\",reason=\"\(reason.rawValue)\"}"
                #expect(samples[name] == Double(expected[reason] ?? 0), "\(name)")
            }
        }
        #expect(samples["certs_source_up{source=\"gone\"}"] == 0)
    }

    /// The table, the JSON and the exposition at one instant: nothing runs that could change anything.
    private func expectOneCount(_ scene: Scene) async throws {
        let document = try await scene.program(["status", "-o", "json"]).run()
        let table = try await scene.program(["status"]).run()
        let exposition = try await scene.program(["metrics"]).run()
        #expect([document.status, table.status, exposition.status] == [0, 0, 0])
        let samples = Self.samples(exposition.text)
        let decoder = JSONDecoder()
        decoder.dateDecodingStrategy = .iso8601
        let entries = try decoder.decode(StatusDocument.self, from: document.output).certificates
        let byState = Dictionary(grouping: entries, by: \.state).mapValues(\.count)
        for state in CertificateState.Condition.allCases {
            let count = byState[state.rawValue] ?? 0
            #expect(samples["certs_certificates{state=\"\(state.rawValue)\"}"] == Double(count))
            let rows = table.text.split(separator: "\n").count { $0.contains("  \(state.rawValue)  ") }
            #expect(rows == count, "\(state): \(table.text.prefix(2000))")
        }
        let dated = entries.count { $0.notAfter != nil }
        #expect(samples.keys.count { $0.hasPrefix("ssl_cert_expiry_days{") } == dated)
        let bySource = samples.filter { $0.key.hasPrefix("certs_source_certificates{") }.values.reduce(0, +)
        #expect(bySource == Double(dated))
    }

    @Test func `the exposition is what other parsers read`() async throws {
        let scene = try await blocking.run { try Scene() }
        #expect(try await scene.program(["scan"]).run().status == 1, "one of the directories is not there")
        let log = scene.directory.path("serve.log")
        let service = try scene.program(["serve"]).start(output: log, errors: log)
        defer { kill(service, SIGKILL) }
        #expect(
            try await eventually(within: 30) {
                await scene.get("/metrics").map { String(decoding: $0.body, as: UTF8.self).contains("odd/good-0.pem") }
                    == true
            })
        let accept = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"
        let reply = try await HTTPClient().send(
            HTTPRequest(
                .get, "http://127.0.0.1:\(scene.port)/metrics", headers: [(name: "Accept", value: accept)],
                limits: .init(deadline: .seconds(10))))
        #expect(reply.headers["content-type"] == "application/openmetrics-text; version=1.0.0; charset=utf-8")
        let text = try scene.directory.write(reply.body, to: "openmetrics.txt")
        // Debian's python3-prometheus-client belongs to Debian's Python.
        let parsed = try await Program(
            arguments: [
                "/usr/bin/python3", "-c",
                """
                import sys
                from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse
                families = {f.name: f for f in parse(open(sys.argv[1], newline="").read())}
                assert families["ssl_cert"].type == "info", families["ssl_cert"]
                assert families["ssl_cert_expiry_days"].unit == "days"
                assert families["certs_source_errors"].type == "counter"
                print(len(families["ssl_cert_expiry_days"].samples))
                """, text,
            ]
        ).run()
        #expect(parsed.status == 0, "\(parsed.all)")
        let plain = String(decoding: try #require(await scene.get("/metrics")).body, as: UTF8.self)
        let pairs = plain.split(separator: "\n").count { $0.hasPrefix("ssl_cert_expiry_days{") }
        #expect(parsed.text == "\(pairs)\n")
        var promtool = Program(arguments: ["promtool", "check", "metrics"])
        promtool.input = try scene.directory.write(Data(plain.utf8), to: "plain.txt")
        let checked = try await promtool.run()
        let findings = (checked.text + checked.errors).split(separator: "\n").map(String.init)
        #expect(findings == ["ssl_cert_expiry_days use base unit \"seconds\" instead of \"days\""])
        kill(service, SIGTERM)
        _ = try await blocking.run { Program.wait(for: service, seconds: 15) }
    }
}
