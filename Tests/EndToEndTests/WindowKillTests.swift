import CertsCore
import CertsMaintenance
import CertsTesting
import Foundation
import Testing

/// `kill -9` at each step of a maintenance window: after the next start of any command, the users are let in again.
@Suite(.serialized, .timeLimit(.minutes(20))) struct WindowKillTests {
    /// A host with an admin API, and a job that needs a window.
    private struct Scene {
        let directory: TemporaryDirectory
        let server: AdminServer
        let port: Int

        init(more: String = "") throws {
            directory = try TemporaryDirectory(prefix: "certs-e2e")
            server = try AdminServer()
            port = try LoopbackPort.reserve()
            try directory.writeSecret(AdminServer.token, to: "token")
            try directory.write(
                """
                version: 1
                state: ./state
                issuers: { local: { type: local-ca, commonName: Scene CA } }
                certificates: [ { name: messenger, dnsNames: [messenger.example.com], issuer: local } ]
                server: { listen: "127.0.0.1:\(port)" }
                maintenance:
                  admin: { url: "\(server.url)", tokenFile: token, timeout: 2s }
                  windows:
                    emergency: { duration: 1h, verify: [/bin/true] }
                  jobs:
                    - { name: work, kind: command, arguments: [/bin/true], window: emergency, every: 1s }
                \(more)
                """, to: "certs.yml")
        }

        func program(_ arguments: [String], fault: String? = nil) -> Program {
            RotationScene.program(arguments + ["--config", directory.path("certs.yml")], fault)
        }

        @discardableResult
        func certs(
            _ arguments: String..., exits status: Int32, fault: String? = nil,
            sourceLocation: SourceLocation = #_sourceLocation
        ) async throws -> Program.Outcome {
            let outcome = try await program(arguments, fault: fault).run()
            #expect(outcome.status == status, "certs \(arguments): \(outcome.all)", sourceLocation: sourceLocation)
            return outcome
        }
    }

    private struct Windows: Decodable {
        struct Mode: Decodable { let window: String }
        struct Window: Decodable {
            struct Event: Decodable {
                let step: String
                let result: String
                let detail: String
            }
            let id: String
            let closedAt: String?
            let openedBy: String
            let events: [Event]
        }
        let maintenanceMode: Mode?
        let windows: [Window]
    }

    @Test(arguments: WindowProcedure.faultPoints)
    func `the mode is off after the next command`(_ point: String) async throws {
        let scene = try Scene()
        let killed = try await scene.certs("window", "open", "emergency", exits: 128 + SIGKILL, fault: "\(point):kill")
        let points = WindowProcedure.faultPoints
        let isHeld = ["window-after-mode-on", "window-before-tasks", "window-after-tasks", "window-after-verify"]
        // The test would prove nothing if it had not been on.
        #expect(scene.server.isOn == isHeld.contains(point), "\(point): \(killed.all)")
        let status = try await scene.certs("window", "status", "-o", "json", exits: 0)
        #expect(!scene.server.isOn, "\(point): \(status.all)")
        let found = try JSONDecoder().decode(Windows.self, from: status.output)
        #expect(found.maintenanceMode == nil)
        let window = try #require(found.windows.first)
        #expect(window.closedAt != nil, "\(status.all)")
        #expect(window.events.last.map { $0.step == "close" && $0.result == "failed" } == true, "\(status.all)")
        let wasTaken = points.firstIndex(of: point).map { (2..<7).contains($0) } == true
        #expect(
            window.events.contains { $0.step == "mode-off" && $0.result == "done" }
                == (wasTaken || point == "window-after-mode-off"))
        // The next one is not held up by it.
        try await scene.certs("window", "open", "emergency", exits: 0)
        #expect(!scene.server.isOn)
        #expect(scene.server.wasEverOn)
        let log = try await scene.certs("maintenance", "report", "log", exits: 0)
        #expect(log.text.contains("### Verification Results\n- /bin/true: exit code 0"), "\(log.all)")
    }

    @Test func `the service switches off what a dead process left on, and says so in the metrics`() async throws {
        let scene = try Scene()
        try await scene.certs(
            "window", "open", "emergency", exits: 128 + SIGKILL, fault: "window-after-mode-on:kill")
        #expect(scene.server.isOn)
        // The first attempt of the service fails; it goes on trying.
        scene.server.behave("POST", AdminServer.maintenance, .status(500), .status(500), .status(500))
        let log = scene.directory.path("serve.log")
        let child = try scene.program(["serve"]).start(output: log, errors: log)
        defer { kill(child, SIGKILL) }
        let isOff = try await eventually(within: 150) { !scene.server.isOn }
        #expect(isOff, "\((try? String(contentsOfFile: log, encoding: .utf8)) ?? "")")
        kill(child, SIGTERM)
        _ = try await blocking.run { Program.wait(for: child, seconds: 20) }
        let metrics = try await scene.certs("metrics", exits: 0)
        #expect(metrics.text.contains("certs_maintenance_mode 0\n"), "\(metrics.all)")
        #expect(metrics.text.contains("certs_maintenance_window_active{type=\"emergency\"} 0\n"))
        #expect(metrics.text.contains("certs_window_overrun_seconds{type=\"emergency\"} 0\n"))
    }

    @Test func `Ctrl-C switches it off`() async throws {
        let scene = try Scene()
        let text = try String(contentsOfFile: scene.directory.path("certs.yml"), encoding: .utf8)
        try scene.directory.write(
            text.replacingOccurrences(of: "arguments: [/bin/true]", with: "arguments: [/bin/sleep, '50']"),
            to: "certs.yml")
        let log = scene.directory.path("open.log")
        let child = try scene.program(["window", "open", "emergency"]).start(output: log, errors: log)
        defer { kill(child, SIGKILL) }
        let output = { (try? String(contentsOfFile: log, encoding: .utf8)) ?? "" }
        #expect(try await eventually(within: 60) { output().contains("mode-on  done") }, "\(output())")
        #expect(scene.server.isOn)
        kill(child, SIGINT)
        let status = try await blocking.run { Program.wait(for: child, seconds: 90) }
        #expect(status == 3, "\(output())")
        #expect(!scene.server.isOn)
    }

    @Test func `a job by hand waits for its window, unless it is told not to`() async throws {
        let scene = try Scene()
        let refused = try await scene.certs("maintenance", "run", "work", exits: 5)
        #expect(refused.errors.contains("--yes"), "\(refused.all)")
        try await scene.certs("maintenance", "run", "work", "--yes", exits: 0)
        try await scene.certs("window", "open", "emergency", "--no-tasks", "--for", "30m", exits: 0)
        #expect(scene.server.isOn)
        try await scene.certs("maintenance", "run", "work", exits: 0)
        try await scene.certs("window", "open", "emergency", exits: 5)
        try await scene.certs("window", "close", exits: 0)
        #expect(!scene.server.isOn)
        let list = try await scene.certs("window", "list", exits: 0)
        #expect(list.text.contains("as needed"), "\(list.all)")
        let report = try await scene.certs("maintenance", "report", "monthly", "--month", Self.month(), exits: 0)
        #expect(report.text.contains("- 1 maintenance windows completed[^1]"), "\(report.all)")
        #expect(report.text.contains("- Uptime: no data"))
        let json = try await scene.certs("maintenance", "report", "log", "-o", "json", exits: 0)
        #expect(json.text.contains("\"performedBy\" : \""), "\(json.all)")
    }

    private static func month() -> String { String(ISO8601DateFormatter().string(from: Date()).prefix(7)) }
}
