import CertsCore
import CertsDocker
import CertsHTTP
import CertsStore
import CertsTesting
import Foundation
import Testing

@testable import CertsMaintenance

@Suite(.timeLimit(.minutes(10))) struct DockerCleanUpTests {
    private static let day: TimeInterval = 86400

    private func volume(_ engine: DockerEngine, _ name: String, label: String? = nil) async throws {
        let labels: JSONValue = label.map { .object([$0: .string("yes")]) } ?? .object([:])
        _ = try await engine.send(
            .post, ["volumes", "create"],
            body: try JSONEncoder().encode(JSONValue.object(["Name": .string(name), "Labels": labels])))
    }

    private func network(_ engine: DockerEngine, _ name: String) async throws {
        _ = try await engine.send(
            .post, ["networks", "create"], body: try JSONEncoder().encode(JSONValue.object(["Name": .string(name)])))
    }

    @Test func whatThePlanShowsIsWhatARunRemoves() async throws {
        let docker = try await PrivateDocker.make()
        let engine = try await docker.engine()
        let shop = try await HostShop.make()
        // Left: an ended container, a network, an old image with a step of its build, cache of BuildKit.
        try await docker.build(
            "old:1", ["Dockerfile": "FROM certs-test/haproxy\nCOPY a /a\nCOPY b /b\n", "a": "1", "b": "2"])
        try await docker.build(
            "built:1", ["Dockerfile": "FROM certs-test/haproxy\nCOPY c /c\n", "c": "3"], buildKit: true)
        try await engine.make("ended", command: ["sleep", "0"])
        try await engine.waitForEnd("ended")
        try await network(engine, "alone")
        // In use, or kept.
        try await docker.build(
            "labelled:1", ["Dockerfile": "FROM certs-test/haproxy\nLABEL certs.keep=1\nCOPY d /d\n", "d": "4"])
        try await engine.make("kept", command: ["sleep", "0"], labels: ["certs.keep": "1"])
        try await engine.make("running")
        try await engine.make("chat-before-rollback", command: ["sleep", "0"])
        try await engine.waitForEnd("chat-before-rollback")
        try await network(engine, "used")
        try await engine.make("stopped-on-network", labels: ["certs.keep": "1"], network: "used", started: false)
        let work = HostJob.cleanUpDocker(DockerCleanUp(engineSocket: docker.socket))

        // All of it is young.
        #expect(try await shop.plan(work).allSatisfy { $0.count == 0 })
        let young = try await shop.run(work)
        #expect(young.result == .succeeded && young.rows == 0, "\(young.reason ?? "")")

        let plan = try await shop.plan(work, after: 8 * Self.day)
        let keys = Dictionary(uniqueKeysWithValues: plan.map { ($0.subject, $0.keys) })
        #expect(keys["containers"] == ["ended"])
        #expect(keys["networks"] == ["alone"])
        #expect(keys["images"]?.count == 3, "\(keys["images"] ?? [])")
        #expect(keys["images"]?.contains("old:1") == true && keys["images"]?.contains("built:1") == true)
        #expect((keys["build-cache"]?.count ?? 0) > 0)
        #expect(keys["volumes"] == [])
        #expect(plan.first?.warnings.contains { $0.contains("deployment-journal") } == true)
        // A plan changes nothing.
        #expect(try await engine.exists(["containers", "ended", "json"]))

        let before = try await engine.diskUsage(within: .seconds(60)).layersSize
        let run = try await shop.run(work, after: 8 * Self.day)
        #expect(run.result == .succeeded, "\(run.reason ?? "")")
        #expect(run.rows == plan.reduce(0) { $0 + $1.count })
        for gone in [["containers", "ended", "json"], ["networks", "alone"], ["images", "old:1", "json"]] {
            #expect(try await !engine.exists(gone), "\(gone)")
        }
        for kept in [
            ["containers", "kept", "json"], ["containers", "running", "json"], ["networks", "used"],
            ["images", "labelled:1", "json"], ["images", "haproxy:2.6", "json"],
        ] {
            #expect(try await engine.exists(kept), "\(kept)")
        }
        #expect(try await shop.plan(work, after: 8 * Self.day).allSatisfy { $0.count == 0 })
        let after = try await engine.diskUsage(within: .seconds(60)).layersSize
        let metrics = try await shop.metrics(work)
        #expect(
            metrics.contains("certs_docker_reclaimed_bytes_total{job=\"job\",kind=\"images\"} \(before - after)\n"),
            "\(metrics)")
        #expect(before - after > 0)
        #expect(metrics.contains("certs_docker_reclaimed_bytes_total{job=\"job\",kind=\"volumes\"} 0\n"))
    }

    @Test func moreThanTheCapIsRefused() async throws {
        let docker = try await PrivateDocker.make()
        let engine = try await docker.engine()
        let shop = try await HostShop.make()
        for name in ["one", "two"] { try await engine.make(name, started: false) }
        let work = HostJob.cleanUpDocker(DockerCleanUp(engineSocket: docker.socket, limit: 1))
        let run = try await shop.run(work, after: 8 * Self.day)
        #expect(run.result == .refused)
        #expect(run.reason?.contains("2 objects") == true, "\(run.reason ?? "")")
        #expect(try await engine.containers(all: true).count == 2)
    }

    @Test func volumesGoOnlyByTheirLabelAndAfterTheyWereLongDetached() async throws {
        let docker = try await PrivateDocker.make()
        let engine = try await docker.engine()
        let shop = try await HostShop.make()
        try await volume(engine, "scratch", label: "scratch")
        try await volume(engine, "postgres-data")
        try await volume(engine, "mounted", label: "scratch")
        try await engine.make("user", binds: ["mounted:/data"], started: false)
        _ = try await engine.send(.post, ["containers", "user", "start"])
        var declared = DockerCleanUp(engineSocket: docker.socket)
        declared.volumeLabels = ["scratch"]
        let work = HostJob.cleanUpDocker(declared)
        // Nobody knows yet since when it is detached, however old it is.
        let first = try await shop.run(work, after: 30 * Self.day)
        #expect(first.result == .succeeded, "\(first.reason ?? "")")
        #expect(try await engine.exists(["volumes", "scratch"]))
        // After a time without a look it may have been used.
        #expect(try await shop.plan(work, after: 38 * Self.day).last?.count == 0)
        for day in stride(from: 31.5, to: 37, by: 1.5) {
            #expect(try await shop.run(work, after: day * Self.day).rows == 0)
        }
        #expect(try await shop.plan(work, after: 36.5 * Self.day).last?.count == 0)
        #expect(try await shop.plan(work, after: 37.5 * Self.day).last?.keys == ["scratch"])
        let second = try await shop.run(work, after: 37.5 * Self.day)
        #expect(second.rows == 1, "\(second.reason ?? "")")
        #expect(try await !engine.exists(["volumes", "scratch"]))
        #expect(try await engine.exists(["volumes", "postgres-data"]))
        #expect(try await engine.exists(["volumes", "mounted"]))
    }

    @Test func theImagesOfTheLastDeploymentsStay() async throws {
        let docker = try await PrivateDocker.make()
        let engine = try await docker.engine()
        let shop = try await HostShop.make()
        let recording = HostJob.recordDeployments(
            DeploymentRecording(engineSocket: docker.socket, healthyAfter: 0))
        for version in 1...3 {
            try await docker.build(
                "chat:\(version)", ["Dockerfile": "FROM certs-test/haproxy\nCOPY v /v\n", "v": "\(version)"])
            try await engine.make("chat", image: "chat:\(version)")
            let run = try await shop.run(recording)
            #expect(run.result == .succeeded && run.rows == 1, "\(run.reason ?? "")")
            if version < 3 { _ = try await engine.remove(["containers", "chat"], query: [("force", "1")]) }
        }
        let work = HostJob.cleanUpDocker(DockerCleanUp(engineSocket: docker.socket, keptDeployments: 2))
        let run = try await shop.run(work, after: 8 * Self.day)
        #expect(run.result == .succeeded, "\(run.reason ?? "")")
        #expect(try await !engine.exists(["images", "chat:1", "json"]))
        #expect(try await engine.exists(["images", "chat:2", "json"]))
        #expect(try await engine.exists(["images", "chat:3", "json"]))
    }
}
