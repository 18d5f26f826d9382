import CertsCore
import CertsCrypto
import CertsTesting
import Foundation
import Testing

/// HAProxy answers `Success!` and serves something else.
@Suite struct WrongServedTests {
    @Test func `rolls back when a forgotten copy of the bundle wins, and says why`() async throws {
        let scene = try await RotationScene.make()
        try await scene.certs("rotate", exits: 0)
        let old = try await scene.served()
        let bytes = FileManager.default.contents(atPath: scene.bundle)
        try await scene.addForgottenCopy()
        #expect(try await scene.served() == old)

        let run = try await scene.certs("rotate", "messenger", exits: 6)
        #expect(run.errors.contains("rolled back: the old certificate is served again"))
        #expect(try await scene.servedByOpenSSL() == old)
        #expect(FileManager.default.contents(atPath: scene.bundle) == bytes)
        #expect(try scene.mode(scene.bundle) == 0o640)
        let status = try await scene.expectOneTruth()
        #expect(status.revision == 1)
        #expect(status.sha256 == old)

        let last = try #require(try await scene.history().first)
        #expect(last.outcome == "rolled-back")
        #expect(last.failure?.step == "verify")
        #expect(last.failure?.code == "served.other")
        #expect(last.failure?.message.contains("127.0.0.1:\(scene.balancer.port)") == true)
        #expect(last.failure?.hint?.contains("another file with the same name") == true)
        #expect(Array(last.steps.map(\.step).suffix(4)) == ["verify", "restore", "verify-restored", "finished"])
    }

    @Test func `what was rolled back is deployed once the cause is gone, without a second certificate`() async throws {
        let scene = try await RotationScene.make()
        try await scene.certs("rotate", exits: 0)
        try await scene.addForgottenCopy()
        try await scene.certs("rotate", "messenger", exits: 6)
        // The timer does not try again at once.
        let resting = try await scene.certs("rotate", "-o", "json", exits: 5)
        #expect(try scene.decoded(ResultsDocument.self, resting).results.first?.outcome == "blocked")
        try await scene.removeForgottenCopy()
        try await scene.certs("deploy", "messenger", exits: 0)
        let status = try await scene.expectOneTruth()
        #expect(status.revision == 2)
        #expect(status.state == "valid")
    }

    @Test func `reports a rollback after a reload in the same way`() async throws {
        let scene = try await RotationScene.make(
            .init(reload: "{ method: signal, pidFile: DIR/haproxy.pid }\n    verifyWithin: 3s", isMaster: true))
        try await scene.certs("rotate", exits: 0)
        let old = try await scene.served()
        // A copy that stands before the bundle wins at every load.
        try FileManager.default.copyItem(atPath: scene.bundle, toPath: scene.directory.path("certs/a.pem"))
        try scene.balancer.write(crt: [
            scene.directory.path("certs/default.pem"), scene.directory.path("certs/a.pem"), scene.bundle,
        ])
        try await scene.balancer.restart()
        try await scene.certs("rotate", "messenger", exits: 6)
        #expect(try await scene.served() == old)
        #expect(try scene.onDisk().record.sha256 == old)
        #expect(try await scene.status().revision == 1)
        #expect(try await scene.history().first?.failure?.code == "served.other")
    }
}
