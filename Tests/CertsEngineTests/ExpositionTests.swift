import CertsCore
import CertsEngine
import CertsStore
import CertsTesting
import Foundation
import Testing

@Suite struct ExpositionTests {
    static func text(_ world: EngineWorld) async throws -> String {
        PrometheusText.render(
            Exposition(
                declarations: world.declarations.certificates, targets: world.declarations.targets,
                states: try await world.database.states(), tallies: try await world.database.tallies(),
                tasks: try await world.database.tasks(), now: world.clock.now.wall
            ).families())
    }

    @Test func countersExistAtZeroFromTheStart() async throws {
        let world = try await EngineWorld()
        let text = try await Self.text(world)
        for name in [
            "certs_renewal_attempts_total", "certs_renewal_failures_total", "certs_deploy_failures_total",
            "certs_rollbacks_total",
        ] {
            #expect(text.contains("\(name){cert=\"messenger\"} 0\n"))
        }
        #expect(text.contains("certs_certificates{state=\"missing\"} 1\n"))
        #expect(!text.contains("ssl_cert_expiry_days{"), "unknown is absent, not 0")
    }

    @Test func whatTheCASuggestsIsShownWithItsReason() async throws {
        let world = try await EngineWorld()
        let start = world.clock.now.wall.addingTimeInterval(86400)
        let window = SuggestedWindow(
            start: start, end: start.addingTimeInterval(10), explanationURL: "https://ca.example/why",
            checkAt: start)
        world.issuer.advise { _ in window }
        let engine = world.engine()
        _ = await engine.rotate([EngineWorld.name])
        #expect(try await !Self.text(world).contains("certs_renewal_hint_timestamp_seconds{"), "unknown is absent")
        await engine.refreshHints { 0 }
        let text = try await Self.text(world)
        let pick = Int(start.timeIntervalSince1970)
        #expect(text.contains("certs_renewal_hint_timestamp_seconds{cert=\"messenger\"} \(pick)\n"), "\(text)")
        #expect(
            text.contains(
                "certs_renewal_hint_info{cert=\"messenger\",explanation=\"https://ca.example/why\"} 1\n"))
        #expect(text.contains("certs_renewal_hint_failures{cert=\"messenger\"} 0\n"))
    }

    @Test func theInstanceIsTheEndpointToActOn() async throws {
        let world = try await EngineWorld()
        _ = await world.engine().rotate([EngineWorld.name])
        let text = try await Self.text(world)
        let labels = "{instance=\"messenger.example.com:1000\",cert=\"messenger\"}"
        #expect(
            text.contains("ssl_cert_expiry_days\(labels) 89.99\n")
                || text.contains("ssl_cert_expiry_days\(labels) 90\n"))
        #expect(text.contains("ssl_cert_served_match\(labels) 1\n"))
        #expect(text.contains("certs_renewal_attempts_total{cert=\"messenger\"} 1\n"))
    }

    @Test func withoutTargetsTheInstanceIsTheFirstName() async throws {
        let world = try await EngineWorld(targets: 0)
        _ = await world.engine().rotate([EngineWorld.name])
        let text = try await Self.text(world)
        #expect(text.contains("ssl_cert_expiry_days{instance=\"messenger.example.com\",cert=\"messenger\"}"))
        #expect(!text.contains("ssl_cert_served_match{"))
    }

    @Test func anExpiredCertificateHasNegativeDays() async throws {
        let world = try await EngineWorld()
        _ = await world.engine().rotate([EngineWorld.name])
        world.clock.advance(by: 91 * 86400)
        let text = try await Self.text(world)
        #expect(text.contains("cert=\"messenger\"} -1"))
        #expect(text.contains("certs_certificates{state=\"expired\"} 1\n"))
    }

    @Test func aRollbackIsCountedAndTheMismatchIsSeen() async throws {
        let world = try await EngineWorld()
        _ = await world.engine().rotate([EngineWorld.name])
        world.targets[0].live.failing = ["verify"]
        _ = await world.engine().rotate([EngineWorld.name])
        var text = try await Self.text(world)
        #expect(text.contains("certs_rollbacks_total{cert=\"messenger\"} 1\n"))
        #expect(text.contains("certs_deploy_failures_total{cert=\"messenger\"} 1\n"))
        #expect(text.contains("certs_renewal_failures_total{cert=\"messenger\"} 0\n"))
        world.targets[0].live.served = Fingerprint(hex: String(repeating: "ee", count: 32))
        try await world.engine().observe()
        text = try await Self.text(world)
        #expect(text.contains("ssl_cert_served_match{instance=\"messenger.example.com:1000\",cert=\"messenger\"} 0\n"))
    }

    @Test func everySeriesIsUnique() async throws {
        let world = try await EngineWorld(targets: 3, certificates: ["a", "messenger"])
        _ = try await world.engine().rotateDue()
        let lines = try await Self.text(world).split(separator: "\n").filter { !$0.hasPrefix("#") }.map {
            $0.prefix { $0 != " " }
        }
        #expect(Set(lines).count == lines.count)
    }
}
