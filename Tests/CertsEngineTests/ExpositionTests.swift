import CertsCore
import CertsEngine
import CertsGzip
import CertsStore
import CertsTesting
import Foundation
import Testing

@Suite struct ExpositionTests {
    static func text(_ world: EngineWorld, as format: PrometheusText.Format = .text) async throws -> String {
        let published = PublishedSnapshot()
        await SnapshotPublisher(context: world.engine().context, published: published, version: "1").publish()
        return String(decoding: try #require(published.current.exposition.member(as: format)).text(), as: UTF8.self)
    }

    @Test func countersExistAtZeroFromTheStart() async throws {
        let world = try await EngineWorld()
        let text = try await Self.text(world)
        for name in [
            "certs_renewal_attempts_total", "certs_renewal_failures_total", "certs_deploy_attempts_total",
            "certs_deploy_failures_total", "certs_rollbacks_total", "certs_renewal_consecutive_failures",
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
        #expect(text.contains("certs_deploy_attempts_total{cert=\"messenger\"} 1\n"))
        #expect(text.contains("certs_renewal_last_success_timestamp_seconds{cert=\"messenger\"} "))
        #expect(text.contains("ssl_cert_chain_valid\(labels) 1\n"))
        let state = try #require(try await world.certificateState())
        let end = Int(try #require(state.currentRecord).notAfter.timeIntervalSince1970)
        #expect(text.contains("ssl_cert_not_after_timestamp_seconds\(labels) \(end)\n"))
        #expect(text.contains("ssl_cert_chain_not_after_timestamp_seconds\(labels) "))
        #expect(!text.contains("ssl_cert_ocsp_status{"), "nothing is known of a staple that nobody asked for")
        #expect(text.contains("certs_source_up{source=\"managed\"} 1\n"))
        #expect(text.contains("certs_source_certificates{source=\"managed\"} 1\n"))
    }

    @Test func expiryInDaysAndTheTimestampNeverDisagree() async throws {
        let world = try await EngineWorld()
        _ = await world.engine().rotate([EngineWorld.name])
        for _ in 0..<200 {
            let text = try await Self.text(world)
            func value(_ name: String) -> Double? {
                text.split(separator: "\n").first { $0.hasPrefix("\(name){") }?.split(separator: " ").last.flatMap {
                    Double($0)
                }
            }
            let days = try #require(value("ssl_cert_expiry_days"))
            let end = try #require(value("ssl_cert_not_after_timestamp_seconds"))
            let rest = end - world.clock.now.wall.timeIntervalSince1970
            #expect((0...864.001).contains(rest - days * 86400), "\(days) days, \(rest) s")
            world.clock.advance(by: .random(in: 0...86400))
        }
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

    @Test func digestsComeOnlyToWhoAsksForThem() async throws {
        let world = try await EngineWorld()
        _ = try await world.engine().rotateDue()
        let published = PublishedSnapshot()
        await SnapshotPublisher(context: world.engine().context, published: published, version: "1").publish()
        let exposition = published.current.exposition
        let state = try #require(try await world.database.state(of: try Name("messenger")))
        let digest = try #require(state.intendedRecord?.sha256)
        let line = "cert=\"messenger\",fingerprint_sha256=\"\(digest)\"} 1\n"
        for filters in [["ssl_cert_fingerprint_info"], ["ssl_cert_*"]] {
            let text = String(decoding: try #require(exposition.member(filters)).text(), as: UTF8.self)
            #expect(text.contains(line), "\(text)")
        }
        for text in [try exposition.text(), try #require(exposition.member()).text()] {
            #expect(!String(decoding: text, as: UTF8.self).contains("fingerprint"))
        }
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
