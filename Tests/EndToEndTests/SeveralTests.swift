import CertsCore
import CertsCrypto
import CertsTesting
import Foundation
import Synchronization
import Testing

/// Several targets of one certificate, and several certificates of one HAProxy.
@Suite struct SeveralTests {
    /// A second HAProxy with its own directory, for the same certificate, declared as the target `second`.
    private func addSecond(to scene: RotationScene) async throws -> (balancer: Balancer, directory: TemporaryDirectory)
    {
        let directory = try TemporaryDirectory(prefix: "certs-e2e-second")
        let bundle = try directory.write(try scene.first.bundle(chain: []), to: "server.pem")
        let balancer = try Balancer(in: directory, crt: [bundle])
        try await balancer.start()
        let target = """
              - name: second
                type: haproxy
                bundle: \(bundle)
                reload: { method: runtime, socket: \(balancer.socket) }
                endpoints: [ { address: "127.0.0.1:\(balancer.port)", serverName: \(RotationScene.name) } ]
            """
        try scene.writeConfiguration {
            $0.replacingOccurrences(of: "targets: [loadbalancer]", with: "targets: [loadbalancer, second]")
                .trimmingCharacters(in: .newlines) + "\n\(target)\n"
        }
        return (balancer, directory)
    }

    private func served(_ port: Int, _ name: String = RotationScene.name) async throws -> String {
        try await blocking.run {
            try TLSProbe(host: "127.0.0.1", port: port, serverName: name).run().leaf.record.sha256
        }
    }

    @Test func `when the second target fails, the first is rolled back too`() async throws {
        let scene = try await RotationScene.make()
        let (second, directory) = try await addSecond(to: scene)
        try await scene.certs("rotate", exits: 0)
        let old = try await scene.served()
        #expect(try await served(second.port) == old)

        try FileManager.default.copyItem(atPath: directory.path("server.pem"), toPath: directory.path("server.pem.bak"))
        try second.write(crt: [directory.path("server.pem"), directory.path("server.pem.bak")])
        try await second.restart()
        try await scene.certs("rotate", "messenger", exits: 6)
        #expect(try await served(second.port) == old)
        #expect(try await scene.expectOneTruth().sha256 == old)
        let last = try #require(try await scene.history().first)
        #expect(last.steps.map(\.step).filter { $0 == "restore" }.count == 2)
        #expect(last.outcome == "rolled-back")

        try second.write(crt: [directory.path("server.pem")])
        try await second.restart()
        try await scene.certs("deploy", "messenger", exits: 0)
        let new = try await scene.expectOneTruth().sha256
        #expect(new != old)
        #expect(try await served(second.port) == new)
    }

    @Test func `when the second target is away, nothing stays half done`() async throws {
        let scene = try await RotationScene.make()
        let (second, _) = try await addSecond(to: scene)
        try await scene.certs("rotate", exits: 0)
        let old = try await scene.served()
        try await blocking.run { second.stop() }
        let run = try await scene.certs("rotate", "messenger", exits: 1)
        #expect(run.errors.contains("nothing live was touched"), "every target is prepared before any is touched")
        #expect(try await scene.expectOneTruth().sha256 == old)
        try await second.start()
        #expect(try await served(second.port) == old)
    }

    @Test func `a HAProxy that dies between the swap and the proof starts again with the old certificate`() async throws
    {
        let scene = try await RotationScene.make(.init(reload: "{ method: runtime, socket: DIR/between.sock }"))
        let isArmed = Mutex(false)
        let (real, balancer) = (scene.balancer.socket, scene.balancer)
        let between = try FakeHAProxy(at: scene.directory.path("between.sock"), certificates: []) { _, command in
            guard command.hasPrefix("commit"), isArmed.withLock({ $0 }) else { return .forward(to: real) }
            isArmed.withLock { $0 = false }
            _ = try? FakeHAProxy.ask(real, Data("\(command)\n".utf8))
            balancer.stop()
            return .hangUp
        }
        defer { between.stop() }
        try await scene.certs("rotate", exits: 0)
        let old = try await scene.served()
        isArmed.withLock { $0 = true }
        let run = try await scene.certs("rotate", "messenger")
        #expect(run.status == 1, "\(run.all)")
        #expect(run.errors.contains("ROLLBACK FAILED"), "\(run.all)")
        #expect(try scene.onDisk().record.sha256 == old)
        try await scene.balancer.start()
        #expect(try await scene.served() == old)
        // The next try, once HAProxy is back, ends well.
        try await scene.certs("deploy", "messenger", exits: 0)
        #expect(try await scene.expectOneTruth().revision == 2)
    }

    @Test func `different certificates of one HAProxy rotate side by side`() async throws {
        let scene = try await RotationScene.make(serves: false)
        let names = ["a", "b", "c", "d", "e"]
        for name in names {
            try scene.directory.write(
                try scene.pki.selfSigned(["\(name).example.com"]).bundle(chain: []), to: "certs/\(name).pem")
        }
        let declared = names.map {
            "  - { name: \($0), dnsNames: [\($0).example.com], key: { algorithm: ecdsa-p256 }, issuer: local, targets: [loadbalancer] }"
        }
        try scene.directory.write(
            """
            version: 1
            state: ./state
            issuers:
              local: { type: local-ca, commonName: Scene CA, validity: 90d }
            certificates:
            \(declared.joined(separator: "\n"))
            targets:
              - name: loadbalancer
                type: haproxy
                bundle: ./certs/{name}.pem
                reload: { method: runtime, socket: ./admin.sock }
                endpoints: [ { address: "127.0.0.1:\(scene.balancer.port)" } ]

            """, to: "certs.yml")
        try scene.balancer.write(
            crt: ["default"].map { scene.directory.path("certs/\($0).pem") }
                + names.map { scene.directory.path("certs/\($0).pem") })
        try await scene.balancer.start()
        for _ in 1...3 {
            try await scene.certs("rotate", "--all", exits: 0)
            let all = try scene.decoded(StatusDocument.self, try await scene.certs("status", "-o", "json", exits: 0))
                .certificates
            #expect(Set(all.map(\.name)) == Set(names))
            for certificate in all {
                #expect(try await scene.served("\(certificate.name).example.com") == certificate.sha256)
            }
        }
        // One of them cannot be deployed: the others are, and the exit code says so.
        try scene.balancer.write(crt: ["default", "a", "b", "c", "d"].map { scene.directory.path("certs/\($0).pem") })
        try await scene.balancer.restart()
        let partly = try await scene.certs("rotate", "--all", "-o", "json", exits: 3)
        let results = try scene.decoded(ResultsDocument.self, partly).results
        #expect(results.filter { $0.outcome == "committed" }.map(\.certificate) == ["a", "b", "c", "d"])
        #expect(results.last?.code == "target.notReferenced")
    }
}
