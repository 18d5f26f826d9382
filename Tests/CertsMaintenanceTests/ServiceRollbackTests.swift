import CertsCore
import CertsDocker
import CertsHTTP
import CertsStore
import CertsTesting
import Foundation
import Testing

@testable import CertsMaintenance

/// A service with two versions on an engine of its own; version 2 runs.
private struct Deployed {
    let docker: PrivateDocker
    let engine: DockerEngine
    let shop: HostShop
    var work: DeploymentRecording

    /// - Parameter first: what version 1 runs.
    static func make(first: [String] = ["sleep", "600"]) async throws -> Deployed {
        let docker = try await PrivateDocker.make()
        let engine = try await docker.engine()
        let shop = try await HostShop.make()
        var work = DeploymentRecording(engineSocket: docker.socket, healthyAfter: 0, healthyWithin: 60)
        for version in ["1", "2"] {
            try await docker.build(
                "chat:\(version)", ["Dockerfile": "FROM certs-test/haproxy\nCOPY v /v\n", "v": version])
            try await engine.make(
                "chat", image: "chat:\(version)", command: version == "1" ? first : ["sleep", "600"],
                labels: ["com.docker.compose.service": "chat-server", "v": version], binds: ["data:/data"],
                environment: ["PASSWORD=hunter\(version)"], more: ["Volumes": .object(["/scratch": .object([:])])])
            let run = try await shop.run(.recordDeployments(work))
            #expect(run.result == .succeeded && run.rows == 1, "\(run.reason ?? "")")
            if version == "1" { _ = try await engine.remove(["containers", "chat"], query: [("force", "1")]) }
        }
        work.healthyAfter = 1
        return Deployed(docker: docker, engine: engine, shop: shop, work: work)
    }

    var rollback: ServiceRollback { ServiceRollback(work, files: shop.state, now: { Date() }) }

    func chat() async throws -> JSONValue { try #require(try await engine.details(["containers", "chat", "json"])) }

    func control() -> JobControl { JobControl(deadline: .now + .seconds(120), now: { Date() }) }
}

@Suite(.timeLimit(.minutes(10))) struct ServiceRollbackTests {
    @Test func theEarlierDeploymentRunsAgainAsItWas() async throws {
        let scene = try await Deployed.make()
        let before = try await scene.chat()
        // Recording again what runs adds nothing.
        #expect(try await scene.shop.run(.recordDeployments(scene.work)).rows == 0)
        let plan = try await scene.rollback.plan("chat-server", to: nil)
        #expect(plan.service == "chat" && plan.target.number == 1 && plan.current == 2)
        #expect(try await scene.chat()["Id"] == before["Id"])

        let words = try await scene.rollback.run(plan, control: scene.control())
        #expect(words.contains("chat runs deployment 1 again"))
        let after = try await scene.chat()
        #expect(after["State"]?["Running"]?.flag == true)
        #expect(after["Config"]?["Image"]?.text == "chat:1")
        #expect(after["Config"]?["Labels"]?["v"]?.text == "1")
        #expect(after["Config"]?["Env"]?.elements.contains(.string("PASSWORD=hunter1")) == true)
        #expect(after["HostConfig"]?["Binds"]?.elements.contains(.string("data:/data")) == true)
        // The volume without a name is that of the container whose place it takes.
        func scratch(_ details: JSONValue) -> String? {
            details["Mounts"]?.elements.first { $0["Destination"]?.text == "/scratch" }?["Name"]?.text
        }
        #expect(scratch(before) != nil && scratch(after) == scratch(before))
        #expect(try await !scene.engine.exists(["containers", "chat-before-rollback", "json"]))
        // What ran before is recorded, and what runs now.
        let known = try await DeploymentJournal(files: scene.shop.state).service("chat")
        #expect(known.deployments.map(\.number) == [1, 2, 3])
        #expect(known.deployments.last?.imageID == known.deployments.first?.imageID)
        let forward = try await scene.rollback.plan("chat", to: 2)
        _ = try await scene.rollback.run(forward, control: scene.control())
        #expect(try await scene.chat()["Config"]?["Image"]?.text == "chat:2")
    }

    @Test func aRehearsalMakesTheContainerAndLeavesNothing() async throws {
        let scene = try await Deployed.make()
        let before = try await scene.chat()
        func volumes() async throws -> Int {
            try await scene.engine.details(["volumes"])?["Volumes"]?.elements.count ?? 0
        }
        let known = try await volumes()
        let words = try await scene.rollback.rehearse(try await scene.rollback.plan("chat", to: nil))
        #expect(words.contains("deployment 1 can be made"))
        #expect(try await scene.chat()["Id"] == before["Id"])
        #expect(try await scene.chat()["State"]?["Running"]?.flag == true)
        #expect(try await !scene.engine.exists(["containers", "chat-rollback-test", "json"]))
        #expect(try await volumes() == known)
        // One of somebody else with that name stays.
        try await scene.engine.make("chat-rollback-test", image: "chat:2", command: ["sleep", "600"])
        await #expect(throws: CertsError.self) {
            try await scene.rollback.rehearse(try await scene.rollback.plan("chat", to: nil))
        }
        #expect(try await scene.engine.exists(["containers", "chat-rollback-test", "json"]))
    }

    @Test func aTagThatWasMovedDoesNotMislead() async throws {
        let scene = try await Deployed.make()
        let first = try await scene.rollback.plan("chat", to: 1).target.imageID
        try await scene.docker.build("chat:1", ["Dockerfile": "FROM certs-test/haproxy\nCOPY v /v\n", "v": "another"])
        _ = try await scene.rollback.run(try await scene.rollback.plan("chat", to: 1), control: scene.control())
        #expect(try await scene.chat()["Image"]?.text == first)
    }

    @Test func theOldContainerIsPutBackWhereTheEarlierOneFails() async throws {
        // It ran when it was recorded, and ends by itself.
        let scene = try await Deployed.make(first: ["sleep", "3"])
        var work = scene.work
        work.healthyAfter = 8
        let rollback = ServiceRollback(work, files: scene.shop.state, now: { Date() })
        let before = try await scene.chat()
        let plan = try await rollback.plan("chat", to: 1)
        do {
            _ = try await rollback.run(plan, control: scene.control())
            Issue.record("it should fail")
        } catch let error as CertsError {
            #expect(error.code == .jobFailed)
            #expect(error.message.contains("exit code 0") && error.message.contains("is back"), "\(error)")
        }
        let after = try await scene.chat()
        #expect(after["Id"] == before["Id"])
        #expect(after["State"]?["Running"]?.flag == true)
        #expect(try await scene.engine.containers(all: true).count == 1)
    }

    @Test func aHealthCheckDecides() async throws {
        let scene = try await Deployed.make()
        let sick: [String: JSONValue] = [
            "Healthcheck": .object([
                "Test": .array([.string("CMD"), .string("cat"), .string("/nowhere")]),
                "Interval": .integer(1_000_000_000),
                "Retries": .integer(2),
            ])
        ]
        _ = try await scene.engine.remove(["containers", "chat"], query: [("force", "1")])
        try await scene.engine.make("chat", image: "chat:2", labels: ["v": "sick"], more: sick)
        // Not healthy: not recorded, and the last that was is what is put back.
        for _ in 0..<300 {
            if try await scene.chat()["State"]?["Health"]?["Status"]?.text == "unhealthy" { break }
            try await Task.sleep(for: .milliseconds(100))
        }
        #expect(try await scene.shop.run(.recordDeployments(scene.work)).rows == 0)
        let plan = try await scene.rollback.plan("chat", to: nil)
        #expect(plan.target.number == 2 && plan.current == nil)
        _ = try await scene.rollback.run(plan, control: scene.control())
        #expect(try await scene.chat()["Config"]?["Labels"]?["v"]?.text == "2")
    }

    @Test func anImageThatIsGoneIsRefusedWithoutAnyChange() async throws {
        let scene = try await Deployed.make()
        _ = try await scene.engine.remove(["images", "chat:1"])
        let before = try await scene.chat()["Id"]
        let plan = try await scene.rollback.plan("chat", to: 1)
        do {
            _ = try await scene.rollback.run(plan, control: scene.control())
            Issue.record("it should be refused")
        } catch let error as CertsError {
            #expect(error.code == .jobRefused)
            #expect(error.hint?.contains("docker load") == true)
        }
        #expect(try await scene.chat()["Id"] == before)
    }

    @Test func aRollbackThatWasCutShortIsToldBeforeAnotherBegins() async throws {
        let scene = try await Deployed.make()
        try await scene.engine.make("chat-before-rollback", started: false)
        let plan = try await scene.rollback.plan("chat", to: 1)
        do {
            _ = try await scene.rollback.run(plan, control: scene.control())
            Issue.record("it should be refused")
        } catch let error as CertsError {
            #expect(error.code == .jobRefused)
            #expect(error.hint?.contains("docker rename chat-before-rollback chat") == true, "\(error)")
        }
        #expect(try await scene.chat()["Config"]?["Image"]?.text == "chat:2")
    }

    @Test func whatIsNotRecordedIsNamed() async throws {
        let scene = try await Deployed.make()
        for (name, number, code) in [
            ("nobody", nil, CertsError.Code.nameUnknown), ("chat", 7, .jobRefused), ("chat", 2, .jobRefused),
        ] {
            do {
                _ = try await scene.rollback.plan(name, to: number)
                Issue.record("\(name) \(number ?? 0) should be refused")
            } catch let error as CertsError {
                #expect(error.code == code && error.hint?.isEmpty == false, "\(error)")
            }
        }
    }

    /// Hosts say much of a container that belongs to that one alone.
    @Test func equalDeploymentsGiveEqualValues() throws {
        func details(_ id: String, _ alias: String) -> JSONValue {
            .object([
                "Id": .string(id),
                "Config": .object(["Hostname": .string(String(id.prefix(12))), "Image": .string("a:1")]),
                "HostConfig": .object(["NetworkMode": .string("shop"), "NanoCpus": .integer(9_000_000_000_000_000_001)]
                ),
                "NetworkSettings": .object([
                    "Networks": .object([
                        "shop": .object([
                            "Aliases": .array([.string(alias), .string(String(id.prefix(12)))]),
                            "IPAddress": .string("172.18.0.\(id.count)"), "Links": .null,
                        ])
                    ])
                ]),
            ])
        }
        let one = ContainerCreation.body(of: details("0123456789abcdef", "chat"))
        #expect(one == ContainerCreation.body(of: details("fedcba98765432100", "chat")))
        #expect(one != ContainerCreation.body(of: details("0123456789abcdef", "chats")))
        #expect(one["Hostname"] == nil)
        let text = try JSONEncoder().encode(one)
        #expect(try JSONDecoder().decode(JSONValue.self, from: text) == one)
    }
}
