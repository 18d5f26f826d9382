import CertsCore
import CertsTesting
import Foundation
import Testing

/// `certs serve` under a supervisor, and beside the daily timer.
@Suite struct SystemdServiceTests {
    private static func scene(_ more: String = "") async throws -> (RotationScene, port: Int) {
        let port = try LoopbackPort.reserve()
        let setting = RotationScene.Setting(more: "server: { listen: \"127.0.0.1:\(port)\" }\n\(more)")
        return (try await RotationScene.make(setting), port)
    }

    private static func serve(_ scene: RotationScene, _ environment: [String: String] = [:]) throws -> pid_t {
        var program = scene.program(["serve"])
        program.environment = environment
        let log = scene.directory.path("serve.log")
        return try program.start(output: log, errors: log)
    }

    private static func end(_ child: pid_t) async throws -> Int32? {
        kill(child, SIGTERM)
        return try await blocking.run {
            let status = Program.wait(for: child, seconds: 30)
            if status == nil { kill(child, SIGKILL) }
            return status
        }
    }

    @Test func `tells systemd that it is ready, what it did, that it lives, and that it ends`() async throws {
        let (scene, port) = try await Self.scene()
        let socket = try NotifySocket(isAbstract: true)
        let service = try Self.serve(scene, ["NOTIFY_SOCKET": socket.name, "WATCHDOG_USEC": "3000000"])
        let heard = try await blocking.run { () -> [String] in
            var heard: [String] = []
            while let message = socket.next(within: 30) {
                heard.append(message)
                if message.contains("went well") { break }
            }
            return heard
        }
        #expect(heard.contains("READY=1"), "\(heard)")
        #expect(heard.last?.hasPrefix("STATUS=the run of ") == true, "\(heard)")
        #expect(try await scene.status().revision == 1)
        let signs = try await blocking.run { (1...2).map { _ in socket.next { $0 == "WATCHDOG=1" } } }
        #expect(signs == ["WATCHDOG=1", "WATCHDOG=1"])
        let health = try await scene.certs("health", exits: 0)
        #expect(health.text == "ok\n")
        #expect(try await scene.certs("health", "--ready", exits: 0).text == "ready\n")
        #expect(try await Self.end(service) == 0)
        #expect(try await blocking.run { socket.next { $0.hasPrefix("STOPPING=1") } } != nil)
        let gone = try await scene.certs("health", exits: 1)
        #expect(gone.errors.contains("127.0.0.1:\(port)"), "\(gone.all)")
    }

    @Test func `the service and the timer at once rotate once`() async throws {
        let (scene, _) = try await Self.scene("schedule: { tick: 1s, jitter: 0s }")
        let service = try Self.serve(scene)
        // As the unit of the timer, and somebody who is impatient.
        let runs = try await withThrowingTaskGroup(of: Program.Outcome.self) { group in
            for _ in 0..<4 { group.addTask { try await scene.certs("rotate") } }
            return try await group.reduce(into: []) { $0.append($1) }
        }
        // 5: another process holds the lock.
        #expect(runs.allSatisfy { [0, 5].contains($0.status) }, "\(runs.map(\.all))")
        #expect(
            try await eventually {
                try await scene.history().first?.outcome == "committed"
            }, "\(runs.map(\.all))")
        // A few ticks and runs more: nothing is due.
        try await scene.certs("rotate", exits: 0)
        try await blocking.run { _ = usleep(2_500_000) }
        try await scene.certs("rotate", exits: 0)
        #expect(try await scene.history().count == 1)
        #expect(try await scene.expectOneTruth().revision == 1)
        #expect(try await Self.end(service) == 0)
    }
}
