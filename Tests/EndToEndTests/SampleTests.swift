import CertsCore
import CertsTesting
import Foundation
import Testing

/// The files that are shipped as samples, as the programs that read them see them; and the start from nothing.
@Suite struct SampleTests {
    private let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().path

    @Test(arguments: ["Certs/certs.yml", "HAProxy/certs.yml"])
    func `the declarations are valid as they are`(_ file: String) async throws {
        let run = try await Program(arguments: [RotationScene.executable, "check", "--config", "\(root)/\(file)"]).run()
        #expect(run.status == 0, "\(run.all)")
        #expect(run.errors.contains("1 certificates, 1 issuers, 1 targets: ok"), "\(run.all)")
    }

    @Test func `haproxy accepts its configuration, and serves by it what certs rotates`() async throws {
        let scene = try await RotationScene.make(serves: false)
        var haproxy = Program(arguments: [Balancer.executable, "-c", "-q", "-f", "\(root)/HAProxy/haproxy-ssl.cfg"])
        haproxy.environment = [
            "CERTS_BUNDLE": scene.bundle, "CERTS_ADMIN_SOCKET": scene.balancer.socket,
            "CERTS_HTTPS_BIND": "127.0.0.1:\(scene.balancer.port)",
        ]
        let checked = try await haproxy.run()
        #expect(checked.status == 0, "\(checked.all)")

        haproxy = Program(
            arguments: [
                "setpriv", "--pdeathsig", "KILL", Balancer.executable, "-W", "-db", "-f",
                "\(root)/HAProxy/haproxy-ssl.cfg",
            ], environment: haproxy.environment)
        let (started, log) = (haproxy, scene.directory.path("haproxy.log"))
        let child = try await blocking.run { try started.start(output: log, errors: log) }
        defer { kill(child, SIGKILL) }
        let port = scene.balancer.port
        #expect(try await eventually { Loopback.accepts(port) })
        try await scene.certs("rotate", exits: 0)
        #expect(try await scene.servedByOpenSSL() == (try await scene.status().sha256))
        kill(child, SIGTERM)
        #expect(try await blocking.run { Program.wait(for: child, seconds: 10) } != nil)
    }

    @Test func `promtool accepts the alert rules and their tests`() async throws {
        for arguments in [["check", "rules", "alerts.yml"], ["test", "rules", "alerts-test.yml"]] {
            let run = try await Program(arguments: ["env", "-C", "\(root)/HAProxy", "promtool"] + arguments).run()
            #expect(run.status == 0, "\(run.all)")
        }
    }

    @Test func `init writes what check accepts, makes the local CA, and keeps what is there`() async throws {
        let directory = try TemporaryDirectory(prefix: "certs-e2e-init")
        func certs(_ command: String) async throws -> Program.Outcome {
            try await Program(arguments: [
                RotationScene.executable, command, "--config", directory.path("new/certs.yml"),
            ]).run()
        }
        let first = try await certs("init")
        #expect(first.status == 0, "\(first.all)")
        let checked = try await certs("check")
        #expect(checked.status == 0, "\(checked.all)")
        let root = directory.path("new/state/authorities/local/root.pem")
        let authority = try #require(FileManager.default.contents(atPath: root))
        let subject = try await tool("openssl", "x509", "-in", root, "-noout", "-subject")
        #expect(subject.contains("Example Local CA"))
        let again = try await certs("init")
        #expect(again.status == 0, "\(again.all)")
        #expect(again.errors.contains("is there already and is kept"))
        #expect(FileManager.default.contents(atPath: root) == authority)
    }

    @Test func `check --live finds what is wrong before a rotation does`() async throws {
        let scene = try await RotationScene.make()
        #expect(try await scene.certs("check", "--live", exits: 0).errors.contains(": ok"))
        #expect(try await scene.certs("check", "--exit-code").status == 10)
        try await scene.certs("rotate", exits: 0)
        #expect(try await scene.certs("check", "--live", "--exit-code").status == 0)
        try scene.directory.write(try scene.first.bundle(chain: []), to: "certs/server.pem")
        try await scene.balancer.restart()
        #expect(try await scene.certs("check", "--live", "--exit-code").status == 11)
        try await blocking.run { scene.balancer.stop() }
        try? FileManager.default.removeItem(atPath: scene.balancer.socket)
        let away = try await scene.certs("check", "--live", "-o", "json", exits: 1)
        #expect(away.text.contains("endpoint-unreachable") && away.text.contains("socket-missing"), "\(away.all)")
    }
}
