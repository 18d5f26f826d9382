import CertsCore
import CertsCrypto
import CertsHTTP
import CertsTesting
import Foundation
import Testing

/// The service, as systemd or a container would run it.
@Suite struct ServeTests {
    /// `certs serve` as a child, with a client of its listener.
    final class Service: Sendable {
        let port: Int
        let pid: pid_t
        let log: String

        init(_ scene: RotationScene, port: Int) throws {
            self.port = port
            log = scene.directory.path("serve.log")
            pid = try scene.program(["serve"]).start(output: log, errors: log)
        }

        deinit { kill(pid, SIGKILL) }

        /// `nil`: nobody listens yet.
        func get(_ path: String) async -> HTTPResponse? {
            try? await HTTPClient().send(
                HTTPRequest(.get, "http://127.0.0.1:\(port)\(path)", limits: .init(deadline: .seconds(5))))
        }

        func text(_ path: String) async -> String {
            await get(path).map { String(decoding: $0.body, as: UTF8.self) } ?? ""
        }

        var output: String { (try? String(contentsOfFile: log, encoding: .utf8)) ?? "" }

        /// Asks it to end, as systemd does; the exit code and how long it took.
        func end(within limit: Double = 15) async throws -> (status: Int32?, seconds: Double) {
            let (begin, child) = (Date(), pid)
            kill(child, SIGTERM)
            let status = try await blocking.run { Program.wait(for: child, seconds: limit) }
            return (status, Date().timeIntervalSince(begin))
        }
    }

    private func scene(_ change: (inout RotationScene.Setting) -> Void = { _ in }) async throws -> (
        RotationScene, port: Int
    ) {
        let port = try LoopbackPort.reserve()
        var setting = RotationScene.Setting(more: "server: { listen: \"127.0.0.1:\(port)\" }")
        change(&setting)
        return (try await RotationScene.make(setting), port)
    }

    @Test func `does the first rotation by itself, once, and tells it to Prometheus`() async throws {
        let (scene, port) = try await scene()
        let before = try await scene.served()
        let service = try Service(scene, port: port)
        #expect(try await eventually { await service.get("/readyz")?.status == 200 }, "\(service.output)")
        let served = try await scene.served()
        #expect(served != before)
        #expect(try await scene.expectOneTruth().revision == 1)
        #expect(await service.get("/healthz")?.status == 200)

        let metrics = await service.text("/metrics")
        let instance = "instance=\"\(RotationScene.name):\(scene.balancer.port)\",cert=\"messenger\""
        #expect(metrics.contains("ssl_cert_served_match{\(instance)} 1"), "\(metrics)")
        #expect(metrics.contains("certs_renewal_attempts_total{cert=\"messenger\"} 1"))
        #expect(metrics.contains("certs_renewal_failures_total{cert=\"messenger\"} 0"))
        let digests = await service.text("/metrics?family=ssl_cert_fingerprint_info")
        #expect(
            digests.contains("ssl_cert_fingerprint_info{\(instance),fingerprint_sha256=\"\(served)\"} 1"), "\(digests)")
        let days = metrics.split(separator: "\n").first { $0.hasPrefix("ssl_cert_expiry_days{\(instance)}") }
        #expect((89...90).contains(try #require(days?.split(separator: " ").last.flatMap { Double($0) })))
        let ended = try await service.end()
        #expect(ended.status == 0, "\(service.output)")
        #expect(ended.seconds < 5)

        // The next run is on disk: a restart is ready, and does nothing that was done.
        let again = try Service(scene, port: port)
        #expect(
            try await eventually { await again.get("/readyz")?.status == 200 },
            "not ready after a restart: \(again.output)")
        #expect(try await scene.status().revision == 1)
        #expect(try await scene.served() == served)
        #expect(try await scene.history().count == 1)
        _ = try await again.end()
    }

    @Test func `promtool has nothing to say but what is known`() async throws {
        let (scene, port) = try await scene()
        let service = try Service(scene, port: port)
        #expect(try await eventually { await service.get("/readyz")?.status == 200 })
        let file = try scene.directory.write(await service.text("/metrics"), to: "metrics.txt")
        var promtool = Program(arguments: ["promtool", "check", "metrics"])
        promtool.input = file
        let outcome = try await promtool.run()
        let findings = (outcome.text + outcome.errors).split(separator: "\n").map(String.init)
        #expect(findings == ["ssl_cert_expiry_days use base unit \"seconds\" instead of \"days\""])
        let once = try scene.directory.write((try await scene.certs("metrics", exits: 0)).output, to: "once.txt")
        promtool.input = once
        let second = try await promtool.run()
        #expect((second.text + second.errors).split(separator: "\n").map(String.init) == findings)
        _ = try await service.end()
    }

    @Test func `a rotation by hand shows in the metrics of the service`() async throws {
        let (scene, port) = try await scene()
        let service = try Service(scene, port: port)
        #expect(try await eventually { await service.get("/readyz")?.status == 200 })
        try await scene.certs("rotate", "messenger", exits: 0)
        let served = try await scene.served()
        #expect(
            try await eventually(within: 40) {
                await service.text("/metrics?family=ssl_cert_fingerprint_info").contains(
                    "fingerprint_sha256=\"\(served)\"")
            })
        #expect(await service.text("/metrics").contains("certs_renewal_attempts_total{cert=\"messenger\"} 2"))
        _ = try await service.end()
    }

    @Test func `is alive, but not ready, until its planner has run, and brings a rotation to its end before its own`()
        async throws
    {
        // An endpoint that accepts and says nothing keeps the planner waiting for the deadline of its handshake.
        let silent = try Loopback.listen(backlog: 16)
        defer { close(silent) }
        let silentPort = try Loopback.port(of: silent)
        let (scene, port) = try await scene { $0.endpointPort = silentPort }
        let service = try Service(scene, port: port)
        #expect(try await eventually { await service.get("/healthz")?.status == 200 }, "\(service.output)")
        #expect(await service.get("/readyz")?.status == 503)
        #expect(try await eventually { await service.text("/readyz").contains("planner") })
        let metrics = await service.get("/metrics")
        #expect(metrics?.status == 200)
        #expect(try await eventually { service.output.contains("looking at loadbalancer") }, "\(service.output)")
        // Each wait of the rotation has a deadline, and its way back is not cut short.
        let ended = try await service.end(within: 60)
        #expect(ended.status == 0, "\(service.output)")
        #expect(try await scene.history().map(\.outcome) == ["rolled-back"])
        #expect(try await scene.served() == scene.first.certificate.record.sha256)
        #expect(try scene.onDisk().record.sha256 == scene.first.certificate.record.sha256)
    }

    @Test func `goes on after a HAProxy that was away, and after its own kill -9`() async throws {
        let (scene, port) = try await scene { $0.more += "\nschedule: { tick: 1s, jitter: 0s }" }
        let balancer = scene.balancer
        try await blocking.run { balancer.stop() }
        let service = try Service(scene, port: port)
        #expect(
            try await eventually {
                await service.text("/metrics").contains("certs_deploy_failures_total{cert=\"messenger\"} 1")
            }, "\(service.output)")
        kill(service.pid, SIGKILL)
        #expect(try await blocking.run { Program.wait(for: service.pid, seconds: 5) } == 128 + SIGKILL)
        try await balancer.start()
        // By hand, past the rest after a failure: the certificate that was issued is deployed.
        try await scene.certs("deploy", "messenger", exits: 0)
        let again = try Service(scene, port: port)
        #expect(
            try await eventually {
                await again.text("/metrics").contains(
                    "ssl_cert_served_match{instance=\"\(RotationScene.name):\(scene.balancer.port)\",cert=\"messenger\"} 1"
                )
            })
        #expect(try await scene.expectOneTruth().revision == 1)
        _ = try await again.end()
    }

    @Test func `tells drift once in its log, and for as long as it lasts in its metrics`() async throws {
        let (scene, port) = try await scene { $0.more += "\nschedule: { tick: 1s, jitter: 0s }" }
        let service = try Service(scene, port: port)
        let metric = "certs_drift{target=\"loadbalancer\"}"
        #expect(
            try await eventually { await service.text("/metrics").contains("\(metric) 0\n") }, "\(service.output)")
        // HAProxy goes on with what it has: nothing but a look at the file tells.
        let bundle = try #require(FileManager.default.contents(atPath: scene.bundle))
        try (Data("# by hand\n".utf8) + bundle).write(to: URL(filePath: scene.bundle))
        #expect(
            try await eventually { await service.text("/metrics").contains("\(metric) 1\n") }, "\(service.output)")
        let ticks = "certs_task_last_run_timestamp_seconds{task=\"drift\"}"
        func lastLook() async -> Substring? {
            await service.text("/metrics").split(separator: "\n").first { $0.hasPrefix(ticks) }
        }
        let first = await lastLook()
        #expect(try await eventually { await lastLook() != first })
        #expect(service.output.components(separatedBy: "\"drift\":\"file-edited\"").count == 2, "\(service.output)")
        // The service may hold the certificate's lock for the moment of its own look.
        #expect(try await eventually { try await scene.certs("drift", "--repair").status == 0 })
        #expect(
            try await eventually { await service.text("/metrics").contains("\(metric) 0\n") }, "\(service.output)")
        #expect(service.output.contains("as declared again"))
        try await scene.expectOneTruth()
        _ = try await service.end()
    }
}
