import CertsCore
import CertsTesting
import Foundation

/// One run of `promtool test rules`: which alerts of a shipped rule file fire over some recordings, and when for the
/// first time.
struct AlertRun {
    /// An alert that fired in a scene.
    struct Firing: Hashable {
        var scene: String
        var alert: String
    }

    /// promtool did not say what was asked for.
    struct Failure: Error, CustomStringConvertible {
        let description: String
    }

    static let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent().path

    private static let blocking = BlockingPool(name: "promtool", width: 2)

    /// The file in `HAProxy/`.
    var rules: String
    /// In minutes; samples and evaluations come together at each step.
    var step: Int
    var minutes: Int
    var recordings: [Recording]

    /// The minute at which each alert fired first; one that did not is not in it. An alert without a scene (something is
    /// absent everywhere) has the scene "".
    func firings() async throws -> [Firing: Int] {
        let directory = try TemporaryDirectory(prefix: "certs-alerts")
        try directory.write(Self.recorder(step: step), to: "recorder.yml")
        let series = recordings.map { $0.text(until: minutes, step: step) }.joined()
        let file = try directory.write(
            """
            rule_files: [\(Self.root)/HAProxy/\(rules), recorder.yml]
            evaluation_interval: \(step)m
            tests:
              - interval: \(step)m
                input_series:
            \(series)    promql_expr_test:
                  - expr: test:first_firing
                    eval_time: \(minutes)m
                    # promtool prints what it got instead.
                    exp_samples: [{ labels: test:sentinel, value: 1 }]

            """, to: "test.yml")
        let output = directory.path("output")
        let status = try await Self.blocking.run {
            let child = try Tool.start(["timeout", "900", "promtool", "test", "rules", file], output: output)
            return Tool.wait(for: child)
        }
        let text = String(decoding: FileManager.default.contents(atPath: output) ?? Data(), as: UTF8.self)
        guard status == 1, let got = text.split(separator: "\n").first(where: { $0.contains("got: ") }) else {
            throw Failure(description: "promtool: exit \(status): \(text.suffix(2000))")
        }
        return Self.parse(String(got))
    }

    /// A series that keeps the time of the first firing: it repeats what it was a step before. As promtool evaluates the
    /// groups of one moment in any order, it looks at the alerts of the step before, too, and takes the time of the sample.
    private static func recorder(step: Int) -> String {
        """
        groups:
          - name: recorder
            rules:
              - record: test:first_firing
                expr: |
                  test:first_firing offset \(step)m
                    or min_over_time(timestamp(ALERTS{alertstate="firing"})[\(step)m:\(step)m])

        """
    }

    private static func parse(_ line: String) -> [Firing: Int] {
        var found: [Firing: Int] = [:]
        for match in line.matches(of: /\{([^}]*)\} ([0-9.E+-]+)/) {
            func label(_ name: String) -> String {
                match.1.matches(of: /([a-z_]+)="([^"]*)"/).first { $0.1 == name }.map { String($0.2) } ?? ""
            }
            let firing = Firing(scene: label("scene"), alert: label("alertname"))
            guard let seconds = Double(match.2) else { continue }
            found[firing] = min(found[firing] ?? .max, Int(seconds) / 60)
        }
        return found
    }
}
