import Foundation
import Testing

@testable import CertsCore

/// What `promtool check metrics` says to `text`.
///
/// Files instead of pipes: a process that another test starts at this moment would inherit a pipe and keep it open.
/// Away from the cooperative pool, which would stand still meanwhile.
private func promtool(_ text: String) async throws -> (status: Int32, said: String) {
    try await BlockingPool.shared.run {
        let path = NSTemporaryDirectory() + "certs-promtool-\(UUID().uuidString)"
        defer { for suffix in [".in", ".out"] { try? FileManager.default.removeItem(atPath: path + suffix) } }
        try Data(text.utf8).write(to: URL(fileURLWithPath: path + ".in"))
        try Data().write(to: URL(fileURLWithPath: path + ".out"))
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/promtool")
        process.arguments = ["check", "metrics"]
        process.standardInput = try FileHandle(forReadingFrom: URL(fileURLWithPath: path + ".in"))
        let output = try FileHandle(forWritingTo: URL(fileURLWithPath: path + ".out"))
        process.standardOutput = output
        process.standardError = output
        // Without promtool (Debian: prometheus) this throws, and the test fails.
        try process.run()
        process.waitUntilExit()
        return (process.terminationStatus, try String(contentsOfFile: path + ".out", encoding: .utf8))
    }
}

private func line(_ value: Double, _ labels: KeyValuePairs<String, String> = [:]) -> String {
    let family = MetricFamily("certs_x", .gauge, help: "X.", samples: [.init(value, labels)])
    return PrometheusText.render([family]).split(separator: "\n", omittingEmptySubsequences: false).dropFirst(2).first
        .map(String.init) ?? ""
}

@Suite("The Prometheus text format")
struct PrometheusTextTests {
    @Test("a family has its HELP and TYPE lines, also without samples")
    func families() {
        let text = PrometheusText.render([
            MetricFamily("certs_a", .gauge, help: "First."),
            MetricFamily(
                "certs_b_total", .counter, help: "Second.", samples: [.init(0, ["kind": "x", "other": "y"]), .init(2)]),
        ])
        #expect(
            text == """
                # HELP certs_a First.
                # TYPE certs_a gauge
                # HELP certs_b_total Second.
                # TYPE certs_b_total counter
                certs_b_total{kind="x",other="y"} 0
                certs_b_total 2

                """)
    }

    @Test(
        "numbers are exact, and integers have no exponent",
        arguments: [
            (0, "0"), (-0.0, "0"), (1_796_000_000, "1796000000"), (-3, "-3"), (29.99, "29.99"), (0.1, "0.1"),
            (999_999_999_999_999, "999999999999999"),
            (.nan, "NaN"), (.infinity, "+Inf"), (-.infinity, "-Inf"),
            (.greatestFiniteMagnitude, "1.7976931348623157e+308"), (1e15, "1000000000000000.0"),
            (9.3e18, "9.3e+18"), (5e-324, "5e-324"),
        ])
    func numbers(_ value: Double, _ text: String) {
        #expect(line(value) == "certs_x \(text)")
        if !value.isNaN {
            #expect(
                Double(
                    text.replacingOccurrences(of: "+Inf", with: "inf").replacingOccurrences(of: "-Inf", with: "-inf"))
                    == value)
        }
    }

    @Test(
        "a label value is escaped, whatever is in it",
        arguments: [
            ("plain", "plain"), ("a\\b", "a\\\\b"), ("a\"b", "a\\\"b"), ("a\nb", "a\\nb"), ("a\r\nb", "a\\\\x0d\\nb"),
            ("a\0b", "a\\\\x00b"),
            ("\u{1b}[2J", "\\\\x1b[2J"), ("\u{7f}", "\\\\x7f"), ("ü€😀", "ü€😀"), ("", ""),
            ("{a=\"b\"} 1\nfake 2", "{a=\\\"b\\\"} 1\\nfake 2"),
        ])
    func labels(_ value: String, _ escaped: String) {
        #expect(line(1, ["l": value]) == "certs_x{l=\"\(escaped)\"} 1")
    }

    @Test(
        "a long label value is cut at 256 bytes, between characters, and stays different from others that begin alike")
    func longLabels() {
        let cut = PrometheusText.escapedValue(String(repeating: "ü", count: 10_000))
        #expect(cut.utf8.count <= 256)
        #expect(cut.contains("ü…"))
        #expect(PrometheusText.escapedValue(String(repeating: "x", count: 256)).count == 256)
        let other = PrometheusText.escapedValue(String(repeating: "ü", count: 10_001))
        #expect(other != cut)
        #expect(other.prefix(100) == cut.prefix(100))
        // An escape is never cut in two.
        let quotes = PrometheusText.escapedValue(String(repeating: "\"", count: 1000)).prefix { $0 != "…" }
        #expect(quotes.count % 2 == 0)
    }

    @Test("OpenMetrics has units, kinds of its own and an end, and the same samples")
    func openMetrics() {
        let text = PrometheusText.render(
            [
                MetricFamily("certs_a_seconds_total", .counter, help: "A \"b\".", samples: [.init(2, ["x": "y"])]),
                MetricFamily("certs_build_info", .info, help: "B.", samples: [.init(1)]),
                MetricFamily("ssl_cert_expiry_days", .gauge, help: "C."),
                MetricFamily(
                    "certs_d_seconds", .histogram, help: "D.",
                    samples: [.init(1, ["le": "+Inf"], suffix: "_bucket"), .init(1, suffix: "_count")]),
            ], as: .openMetrics)
        #expect(
            text == """
                # TYPE certs_a_seconds counter
                # UNIT certs_a_seconds seconds
                # HELP certs_a_seconds A \\"b\\".
                certs_a_seconds_total{x="y"} 2
                # TYPE certs_build info
                # HELP certs_build B.
                certs_build_info 1
                # TYPE ssl_cert_expiry_days gauge
                # UNIT ssl_cert_expiry_days days
                # HELP ssl_cert_expiry_days C.
                # TYPE certs_d_seconds histogram
                # UNIT certs_d_seconds seconds
                # HELP certs_d_seconds D.
                certs_d_seconds_bucket{le="+Inf"} 1
                certs_d_seconds_count 1
                # EOF

                """)
    }

    @Test(
        "a help text stays on its line",
        arguments: [("a\nb", "a\\nb"), ("a\\b", "a\\\\b"), ("a\r\nb", "a\\nb"), ("a \"b\"", "a \"b\"")])
    func help(_ help: String, _ escaped: String) {
        let text = PrometheusText.render([MetricFamily("certs_x", .gauge, help: help)])
        #expect(text == "# HELP certs_x \(escaped)\n# TYPE certs_x gauge\n")
    }

    @Test("promtool accepts everything that the renderer can be given")
    func promtoolAccepts() async throws {
        let hostile = (0..<0x80).compactMap { Unicode.Scalar($0).map { "\"\\\(Character($0))\r\n\u{2028}é" } }
        let values: [Double] = [0, -1, 1.5, .nan, .infinity, -.infinity, 1e300]
        let families = [
            MetricFamily(
                "certs_hostile", .gauge, help: "Labels with every control character\n\\ and a second line.",
                samples: hostile.enumerated().map { .init(Double($0.offset), ["cert": $0.element]) }),
            MetricFamily(
                "certs_values", .gauge, help: "Odd values.",
                samples: values.enumerated().map { .init($0.element, ["number": "\($0.offset)"]) }),
            MetricFamily("certs_failures_total", .counter, help: "A counter at zero.", samples: [.init(0)]),
        ]
        let result = try await promtool(PrometheusText.render(families))
        #expect(result.status == 0, "\(result.said)")
        #expect(result.said.isEmpty, "\(result.said)")
    }

    @Test("promtool has one complaint about the name that the users' alert needs, and no other")
    func knownFinding() async throws {
        let family = MetricFamily(
            "ssl_cert_expiry_days", .gauge, help: "Days until the certificate expires.",
            samples: [.init(29.99, ["instance": "messenger.example.com:443", "cert": "messenger"])])
        let result = try await promtool(PrometheusText.render([family]))
        #expect(result.status == 3)
        #expect(result.said.split(separator: "\n").count == 1, "\(result.said)")
        #expect(result.said.contains("ssl_cert_expiry_days"))
    }

    @Test("promtool does find what is wrong, so that its silence means something")
    func promtoolFinds() async throws {
        let result = try await promtool("certs_x{a=\"b\n\"} 1\n")
        #expect(result.status != 0)
    }
}
