import CertsCore
import CertsHTTP
import CertsTesting
import Foundation
import Testing

/// The rotation of what is due as a job of `maintenance:`, without any database.
@Suite(.timeLimit(.minutes(5))) struct RenewalJobTests {
    private struct Plan: Decodable {
        struct Item: Decodable {
            let count: Int
            let keys: [String]
        }
        let plan: [Item]
    }

    private struct Runs: Decodable {
        struct Run: Decodable {
            let result: String?
            let rows: Int
        }
        let runs: [Run]
    }

    private static let job = "maintenance: { jobs: [ { name: nightly, kind: certificates, cron: '0 3 29 2 *' } ] }"

    @Test func theJobRotatesWhatItsPlanNames() async throws {
        let scene = try await RotationScene.make(.init(more: Self.job))
        let before = try await scene.served()
        let plan = try scene.decoded(
            Plan.self, try await scene.certs("maintenance", "plan", "nightly", "-o", "json", exits: 0))
        #expect(plan.plan.map(\.count) == [1])
        #expect(plan.plan.first?.keys.first?.hasPrefix("messenger: ") == true)
        #expect(try await scene.served() == before)
        try await scene.certs("maintenance", "run", "nightly", exits: 0)
        #expect(try await scene.served() != before)
        #expect(try await scene.expectOneTruth().revision == 1)
        try await scene.certs("maintenance", "run", "nightly", exits: 0)
        let runs = try scene.decoded(Runs.self, try await scene.certs("maintenance", "status", "-o", "json", exits: 0))
        #expect(runs.runs.map(\.rows) == [0, 1])
        #expect(runs.runs.allSatisfy { $0.result == "succeeded" })
    }

    @Test func aFailureIsOneOfTheJob() async throws {
        let scene = try await RotationScene.make(.init(more: Self.job))
        scene.balancer.stop()
        let failed = try await scene.certs("maintenance", "run", "nightly", exits: 1)
        #expect(failed.errors.contains("1 certificates were not rotated: messenger"), "\(failed.all)")
    }

    @Test func theServiceLeavesTheRotationToTheJob() async throws {
        let port = try LoopbackPort.reserve()
        let scene = try await RotationScene.make(
            .init(more: "server: { listen: \"127.0.0.1:\(port)\" }\nschedule: { tick: 1s, jitter: 0s }\n" + Self.job))
        let before = try await scene.served()
        let service = try ServeTests.Service(scene, port: port)
        #expect(try await eventually { await service.get("/readyz")?.status == 200 }, "\(service.output)")
        try await Task.sleep(for: .seconds(4))
        #expect(try await scene.served() == before)
        #expect(await service.text("/metrics").contains("certs_job_next_run_timestamp_seconds{job=\"nightly\"}"))
        _ = try await service.end()
    }

    private struct Findings: Decodable {
        struct Found: Decodable {
            let subject: String
            let id: String
            let message: String
        }
        let findings: [Found]
    }

    /// A database that is away, and a table that it does not have.
    @Test func whatWouldKeepAJobFromRunningIsFoundBeforehand() async throws {
        let server = try await RealPostgres.shared()
        let database = try await blocking.run {
            try server.makeDatabase("CREATE TABLE temp_sessions (id int PRIMARY KEY, created_at timestamptz);")
        }
        for (host, expected) in [
            (server.host, ["messages: the database \(database)@\(server.host) has no table messages"]),
            ("/nonexistent", ["messages, sessions: \(database)@/nonexistent: cannot connect"]),
        ] {
            let scene = try await RotationScene.make(
                .init(
                    more: """
                        maintenance:
                          database: { host: "\(host)", name: \(database), user: \(RealPostgres.user) }
                          jobs: [ { name: messages, kind: expired-messages }, { name: sessions, kind: temp-sessions } ]
                        """))
            try await scene.certs("rotate", exits: 0)
            let outcome = try await scene.certs("check", "--live", "-o", "json", exits: 1)
            let found = try scene.decoded(Findings.self, outcome).findings.filter { $0.id == "job-unusable" }
            #expect(found.count == expected.count, "\(outcome.all)")
            for (one, text) in zip(found, expected) {
                #expect("\(one.subject): \(one.message)".hasPrefix(text), "\(outcome.all)")
            }
        }
    }
}
