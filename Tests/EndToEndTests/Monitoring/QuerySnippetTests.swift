import CertsCore
import CertsHTTP
import CertsTesting
import Foundation
import Testing

/// The queries of the written procedure, asked of a real Prometheus that reads a real `certs serve`.
@Suite(.timeLimit(.minutes(10))) struct QuerySnippetTests {
    /// Forty messages that expire one after the other while Prometheus looks, and three users without pre-keys.
    private static let schema = """
        CREATE TABLE messages (message_id bigint PRIMARY KEY, expires_at timestamptz);
        CREATE INDEX ON messages (expires_at);
        INSERT INTO messages SELECT n, now() + n * interval '1 second' FROM generate_series(1, 40) n;
        CREATE TABLE users (user_id bigint PRIMARY KEY);
        CREATE TABLE one_time_prekeys (user_id bigint, used_at timestamptz);
        """

    @Test func everyQueryOfTheProcedureHasAnAnswerThatMoves() async throws {
        let server = try await RealPostgres.shared()
        let redis = try await blocking.run { try RealRedis() }
        let database = try await blocking.run { try server.makeDatabase(Self.schema) }
        let port = try LoopbackPort.reserve()
        let scene = try await RotationScene.make(
            .init(
                more: """
                    server: { listen: "127.0.0.1:\(port)" }
                    maintenance:
                      database: { host: "\(server.host)", name: \(database), user: \(RealPostgres.user) }
                      redis: { address: "127.0.0.1:\(redis.declaration.port)" }
                      jobs:
                        - { name: messages, kind: expired-messages, every: 1s }
                        - { name: prekeys, kind: prekeys, prekeys: one_time_prekeys, used: used_at, channel: notices, every: 1s }
                    """))
        let service = try ServeTests.Service(scene, port: port)
        #expect(try await eventually { await service.get("/readyz")?.status == 200 }, "\(service.output)")
        let configuration = try scene.directory.write(
            """
            global: { scrape_interval: 1s }
            scrape_configs:
              - { job_name: certs, honor_labels: true, static_configs: [ { targets: ["127.0.0.1:\(port)"] } ] }
            """, to: "prometheus.yml")
        let prometheus = try await PrometheusServer.start(configuration: configuration, in: scene.directory)
        defer { prometheus.stop() }

        func value(_ query: String) async throws -> Double { try await prometheus.query(query).first?.value ?? .nan }
        #expect(
            try await eventually(within: 90) {
                // Before the first of them: an increase needs a zero to grow from.
                try await value("rate(messenger_expired_messages_cleaned_up_total[5m])") > 0
            }, "\(service.output)")
        #expect(try await value("rate(messenger_expired_messages_cleaned_up_total[7d])") > 0)
        _ = try await blocking.run { try server.psql("INSERT INTO users VALUES (1), (2), (3)", database: database) }
        #expect(
            try await eventually(within: 60) {
                try await value("sum(rate(messenger_prekeys_replenished_total[5m]))") > 0
            })
        #expect(try await value("messenger_prekeys_replenished_total") == 3)
        #expect(try await prometheus.query("avg(up) by (job)").map(\.labels) == [["job": "certs"]])
        #expect(try await eventually { try await (89...90).contains(value("ssl_cert_expiry_days")) })
        _ = try await service.end()
    }
}
