import CertsTesting
import Foundation
import Testing

/// The views on a real terminal: script(1) gives the program one, of a known size.
@Suite(.timeLimit(.minutes(5))) struct TerminalViewTests {
    private static func scene() throws -> TemporaryDirectory {
        let directory = try TemporaryDirectory(prefix: "certs-e2e-views")
        try directory.write(
            """
            version: 1
            state: ./state
            issuers: { local: { type: local-ca, commonName: View CA, validity: 90d } }
            certificates:
              - { name: messenger, dnsNames: [messenger.example.com], issuer: local }
              - { name: a-name-that-is-longer-than-half-a-line, dnsNames: [long.example.com], issuer: local }
            targets: []
            """, to: "certs.yml")
        return directory
    }

    /// What a terminal gets, both streams in their order.
    private static func terminal(
        _ directory: TemporaryDirectory, columns: Int, _ words: String, _ environment: [String: String] = [:]
    ) async throws -> Program.Outcome {
        let certs = "'\(RotationScene.executable)' --config '\(directory.path("certs.yml"))'"
        let command = "stty cols \(columns) rows 24; exec \(certs) \(words)"
        let standard = ["TERM": "xterm", "NO_COLOR": "", "LC_ALL": "C.UTF-8", "COLUMNS": ""]
        return try await Program(
            arguments: ["script", "-qec", command, "/dev/null"],
            environment: standard.merging(environment) { $1 }
        ).run()
    }

    @Test func `the table has the columns that fit, and all of them where there is no terminal`() async throws {
        let directory = try Self.scene()
        let rotated = try await Self.terminal(directory, columns: 80, "rotate --all")
        #expect(rotated.status == 0, "\(rotated.all)")
        let narrow = try await Self.terminal(directory, columns: 40, "status", ["NO_COLOR": "1"])
        let lines = narrow.text.replacingOccurrences(of: "\r", with: "").split(separator: "\n")
        #expect(lines.count == 3, "\(narrow.all)")
        #expect(lines.allSatisfy { $0.count <= 40 }, "\(narrow.all)")
        #expect(lines.first?.hasPrefix("CERTIFICATE") == true)
        #expect(narrow.text.contains("██████") && narrow.text.contains("…"))
        #expect(!narrow.text.contains("\u{1b}"))

        let plain = try await Self.terminal(directory, columns: 80, "status", ["LC_ALL": "C"])
        #expect(plain.text.contains("\u{1b}[32mvalid\u{1b}[0m"), "\(plain.all)")
        #expect(plain.text.contains("##########"), "\(plain.all)")

        let piped = try await RotationScene.program(["status", "--config", directory.path("certs.yml")]).run()
        #expect(piped.text.contains("a-name-that-is-longer-than-half-a-line  valid  "))
        #expect(piped.text.contains("SHA256") && !piped.text.contains("\u{1b}"))

        let weeks = try await Self.terminal(directory, columns: 80, "timeline", ["NO_COLOR": "1"])
        let timeline = weeks.text.replacingOccurrences(of: "\r", with: "").split(separator: "\n")
        // Due after 60 days, in the ninth week; expired after 90, in the thirteenth.
        #expect(timeline.count { $0.contains("  ········R───X") } == 2, "\(weeks.all)")
        let json = try await RotationScene.program(
            ["timeline", "--weeks", "10", "-o", "json", "--config", directory.path("certs.yml")]
        ).run()
        #expect(json.text.contains("\"renewalWeek\" : 8") && json.text.contains("\"expiryWeek\" : null"), "\(json.all)")
        let wrong = ["timeline", "--weeks", "0", "--config", directory.path("certs.yml")]
        #expect(try await RotationScene.program(wrong).run().status == 64)
    }

    @Test func `all rotations at once are followed on the terminal, and only there`() async throws {
        let directory = try Self.scene()
        let live = try await Self.terminal(directory, columns: 80, "rotate --all")
        #expect(live.status == 0, "\(live.all)")
        #expect(live.text.contains("0 of 2 ended, "), "\(live.all)")
        #expect(live.text.contains("\u{1b}[1A") || live.text.contains("\u{1b}[2A") || live.text.contains("\u{1b}[3A"))
        // The lines that stay, with the time of each rotation.
        #expect(live.text.contains("messenger #1  "), "\(live.all)")
        let parts = live.text.components(separatedBy: "\u{1b}[J")
        #expect(parts.last?.contains("ended, ") == false, "what was drawn is taken away: \(live.all)")

        let json = try await Self.terminal(directory, columns: 80, "rotate --all --log-format json")
        #expect(json.text.contains(#""message":"✓ done: issued""#), "no colour in JSON: \(json.all)")

        let off = try await RotationScene.program(["rotate", "--all", "--config", directory.path("certs.yml")]).run()
        #expect(off.status == 0 && !off.errors.contains("\u{1b}"))
        #expect(off.errors.split(separator: "\n").allSatisfy { $0.hasPrefix("{") }, "\(off.all)")
        let dumb = try await Self.terminal(directory, columns: 80, "rotate --all", ["TERM": "dumb"])
        #expect(!dumb.text.contains("\u{1b}") && dumb.text.contains("making the key"), "\(dumb.all)")
    }
}
