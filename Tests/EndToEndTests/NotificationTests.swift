import CertsCore
import CertsHTTP
import CertsTesting
import Foundation
import Testing

/// What people are told by the program: by hand, by the timer, by the service, and after `kill -9`.
@Suite(.timeLimit(.minutes(10))) struct NotificationTests {
    private struct Message: Decodable {
        struct Change: Decodable {
            let certificate: String
            let event: String
        }
        let id: String
        let kind: String
        let changes: [Change]
        var words: [String] { changes.map { "\($0.certificate) \($0.event)" } }
    }

    private struct Status: Decodable {
        struct Channel: Decodable {
            let channel: String
            let failures: Int
            let consecutiveFailures: Int
            let pending: Int
            let lastError: String?
        }
        let channels: [Channel]
    }

    private static func notifying(_ channel: String, _ more: String = "") -> RotationScene.Setting {
        RotationScene.Setting(more: "notifications: { channels: [ \(channel) ] }\n\(more)")
    }

    /// A scene whose channel is a script that appends what it gets to a file, a line each; it fails while there is a file
    /// `broken`, and hangs while there is a file `hang`.
    private static func scene(_ more: String = "") async throws -> RotationScene {
        let scene = try await RotationScene.make(
            notifying("{ name: ops, type: command, run: [DIR/tell], timeout: 60s }", more), serves: false)
        let directory = scene.directory.path
        let script = try scene.directory.write(
            """
            #!/bin/sh
            if [ -e \(directory)/hang ]; then touch \(directory)/hanging; exec sleep 40; fi
            if [ -e \(directory)/stuck ]; then echo $$ > \(directory)/pid; exec sleep 300; fi
            if [ -e \(directory)/broken ]; then echo out of order >&2; exit 1; fi
            cat >> \(directory)/told && echo >> \(directory)/told

            """, to: "tell")
        chmod(script, 0o700)
        return scene
    }

    private func told(_ scene: RotationScene) throws -> [Message] {
        let lines = (FileManager.default.contents(atPath: scene.directory.path("told")) ?? Data()).split(
            separator: 0x0a)
        return try lines.map { try JSONDecoder().decode(Message.self, from: Data($0)) }
    }

    @Test func `a failure goes to the webhook once, signed, and so does its end`() async throws {
        let receiver = try TestResponder(.answers { _ in Data() })
        let scene = try await RotationScene.make(
            Self.notifying("{ name: hook, type: webhook, url: \"\(receiver.url)\", secretFile: DIR/secret }"),
            serves: false)
        let secret = try scene.directory.write("between us\n", to: "secret")
        chmod(secret, 0o644)
        // A secret that others can read is no secret: the failure to tell changes nothing about the rotation.
        let first = try await scene.certs("rotate", "messenger")
        #expect(first.status == 1, "\(first.all)")
        #expect(receiver.requests.isEmpty)
        #expect(try await scene.certs("notify", "test", "hook", exits: 5).errors.contains("chmod 600"))
        chmod(secret, 0o600)
        try await scene.certs("notify", "test", "hook", exits: 0)
        try await scene.certs("rotate", "messenger", exits: 1)
        _ = try await scene.certs("rotate")
        try await scene.balancer.start()
        try await scene.certs("rotate", "messenger", exits: 0)
        _ = try await scene.certs("rotate")
        let messages = try receiver.requests.map { try JSONDecoder().decode(Message.self, from: $0.body) }
        #expect(messages.map(\.kind) == ["test", "changes", "changes"])
        #expect(messages.dropFirst().map(\.words) == [["messenger failed"], ["messenger recovered"]])
        #expect(receiver.requests.allSatisfy { $0.head.contains("Certs-Signature: v1=") })
        #expect(!receiver.requests.contains { String(decoding: $0.body, as: UTF8.self).contains("between us") })
        #expect(try await scene.certs("notify", "test", "pager", exits: 4).errors.contains("declared: hook"))
    }

    @Test func `what kill -9 interrupted is told once by the next run`() async throws {
        let scene = try await Self.scene()
        try scene.directory.write("", to: "hang")
        let child = try scene.program(["rotate", "messenger"]).start(
            output: scene.directory.path("out"), errors: scene.directory.path("err"))
        let isHanging = try await eventually(within: 60) {
            FileManager.default.fileExists(atPath: scene.directory.path("hanging"))
        }
        #expect(isHanging)
        kill(child, SIGKILL)
        _ = try await blocking.run { Program.wait(for: child, seconds: 20) }
        #expect(try told(scene).isEmpty)
        try FileManager.default.removeItem(atPath: scene.directory.path("hang"))
        for _ in 0..<2 { _ = try await scene.certs("rotate") }
        #expect(try told(scene).map(\.words) == [["messenger failed"]])
    }

    @Test func `a channel that fails is seen everywhere, and delays nothing`() async throws {
        let port = try LoopbackPort.reserve()
        let scene = try await Self.scene("server: { listen: \"127.0.0.1:\(port)\" }")
        try scene.directory.write("", to: "broken")
        let service = try ServeTests.Service(scene, port: port)
        #expect(try await eventually(within: 60) { await service.get("/readyz")?.status == 200 }, "\(service.output)")
        #expect(
            try await eventually(within: 60) {
                await service.text("/metrics").contains("certs_notification_failures_total{channel=\"ops\"} 1")
            }, "\(service.output)")
        let status = try await scene.certs("status", exits: 0)
        #expect(status.errors.contains("the channel ops fails"))
        #expect(status.errors.contains("out of order"))
        let document = try scene.decoded(Status.self, try await scene.certs("status", "-o", "json", exits: 0))
        #expect(document.channels.map(\.pending) == [1])
        #expect(document.channels.first?.lastError?.contains("out of order") == true)
        let check = try await scene.certs("check", exits: 0)
        #expect(check.text.contains("notification-failing"), "\(check.all)")
        #expect(try await scene.certs("notify", "-o", "name", exits: 0).text == "ops\n")

        // Mended: the message that waits is sent at its time, and nothing is counted as failing any longer.
        try FileManager.default.removeItem(atPath: scene.directory.path("broken"))
        #expect(try await eventually(within: 120) { try told(scene).count == 1 }, "\(service.output)")
        #expect(try told(scene).map(\.words) == [["messenger failed"]])
        _ = try await service.end(within: 60)
        let after = try scene.decoded(Status.self, try await scene.certs("status", "-o", "json", exits: 0))
        #expect(after.channels.map(\.consecutiveFailures) == [0])
        #expect(after.channels.map(\.failures) == [1])
    }

    @Test func `a service ends at once though a channel hangs, and ends what hangs`() async throws {
        let port = try LoopbackPort.reserve()
        let scene = try await Self.scene("server: { listen: \"127.0.0.1:\(port)\" }")
        try scene.directory.write("", to: "stuck")
        let service = try ServeTests.Service(scene, port: port)
        let pid = scene.directory.path("pid")
        let isStuck = try await eventually(within: 90) {
            (FileManager.default.contents(atPath: pid) ?? Data()).contains(0x0a)
        }
        #expect(isStuck, "\(service.output)")
        let child = try #require(
            pid_t(try String(contentsOfFile: pid, encoding: .utf8).trimmingCharacters(in: .newlines)))
        #expect(kill(child, 0) == 0)
        let status = try await service.end(within: 30).status
        #expect(status == 0, "\(service.output)")
        #expect(try await eventually(within: 20) { kill(child, 0) != 0 }, "it still runs")
        try FileManager.default.removeItem(atPath: scene.directory.path("stuck"))
        _ = try await scene.certs("rotate")
        #expect(try told(scene).map(\.words) == [["messenger failed"]])
    }

    @Test func `a mail goes out by the program as well`() async throws {
        let server = try await blocking.run { try MailServer(.init(password: "pass phrase")) }
        defer { server.stop() }
        let scene = try await RotationScene.make(
            Self.notifying(
                "{ name: mail, type: email, server: \"localhost:\(server.port)\", tls: starttls, from: certs@example.com, "
                    + "to: [ops@example.com], user: certs, passwordFile: DIR/password, caFile: \(server.caFile) }"),
            serves: false)
        chmod(try scene.directory.write("pass phrase\n", to: "password"), 0o600)
        try await scene.certs("rotate", "messenger", exits: 1)
        let mails = try server.mails()
        #expect(mails.map(\.isEncrypted) == [true], "\(server.log)")
        #expect(mails.first?.text.contains("messenger  failed") == true)
    }
}
