import CertsCore
import CertsDocker
import CertsHTTP
import CertsStore
import CertsTesting
import Foundation
import Testing

@testable import CertsMaintenance

/// The commands of the written procedure for Docker, logs, updates and rollback: what each does on the real component, and
/// that ours does what it meant.
@Suite(.timeLimit(.minutes(10))) struct HostSnippetTests {
    private static let day: TimeInterval = 86400

    private static func build(_ docker: PrivateDocker, _ name: String, _ content: String) async throws {
        try await docker.build(name, ["Dockerfile": "FROM certs-test/haproxy\nCOPY v /v\n", "v": content])
    }

    /// `docker system prune -a`: takes the image that a rollback would need.
    @Test func systemPruneTakesTheRollbackAndOursDoesNot() async throws {
        for isOurs in [false, true] {
            let docker = try await PrivateDocker.make()
            let engine = try await docker.engine()
            let shop = try await HostShop.make()
            let recording = HostJob.recordDeployments(
                DeploymentRecording(engineSocket: docker.socket, healthyAfter: 0))
            for version in ["v1.2.2", "v1.2.3"] {
                try await Self.build(docker, "chat-server:\(version)", version)
                _ = try await engine.remove(["containers", "chat"], query: [("force", "1")])
                try await engine.make("chat", image: "chat-server:\(version)")
                #expect(try await shop.run(recording).rows == 1)
            }
            try await Self.build(docker, "old-tool:1", "tool")
            if isOurs {
                let run = try await shop.run(
                    .cleanUpDocker(DockerCleanUp(engineSocket: docker.socket)), after: 8 * Self.day)
                #expect(run.result == .succeeded, "\(run.reason ?? "")")
            } else {
                // Without -f it waits for an answer.
                #expect(try docker.docker("system", "prune", "-a", "-f").status == 0)
            }
            #expect(try await engine.exists(["images", "chat-server:v1.2.2", "json"]) == isOurs)
            #expect(try await engine.exists(["images", "chat-server:v1.2.3", "json"]))
            #expect(try await !engine.exists(["images", "old-tool:1", "json"]))
        }
    }

    /// `docker volume prune`: at API 1.41 and before it takes volumes with a name, too, that nobody uses at the moment.
    @Test func volumePruneTakesNamedVolumesAndOursDoesNot() async throws {
        let docker = try await PrivateDocker.make()
        let engine = try await docker.engine()
        let shop = try await HostShop.make()
        // Else its image would go, too.
        try await engine.make("holder", labels: ["certs.keep": "1"], started: false)
        func fill() async throws {
            try await engine.make(
                "writer", command: ["sh", "-c", "echo rows > /data/rows"], binds: ["postgres-data:/data"])
            try await engine.waitForEnd("writer")
            // As `docker-compose down` does.
            _ = try await engine.remove(["containers", "writer"])
        }
        try await fill()
        // `docker volume prune -f` of an engine of this version.
        _ = try await engine.send(.post, ["volumes", "prune"])
        #expect(try await !engine.exists(["volumes", "postgres-data"]))

        try await fill()
        for days in [8.0, 60, 400] {
            let run = try await shop.run(
                .cleanUpDocker(DockerCleanUp(engineSocket: docker.socket)), after: days * Self.day)
            #expect(run.result == .succeeded, "\(run.reason ?? "")")
        }
        try await engine.make("reader", command: ["cat", "/data/rows"], binds: ["postgres-data:/data"])
        try await engine.waitForEnd("reader")
        let logs = try await engine.send(.get, ["containers", "reader", "logs"], query: [("stdout", "1")])
        #expect(DockerStream.text(logs) == "rows\n")
    }

    /// `logrotate -f /etc/logrotate.d/messenger`: rotates what is not due, so that the history shrinks with each call.
    @Test func forcedRotationEatsTheHistoryAndOursDoesNot() async throws {
        let directory = try TemporaryDirectory(prefix: "certs-rotate")
        let shop = try await HostShop.make()
        func begin() throws -> String {
            try directory.writeSecret("today\n", to: "app.log")
            try directory.writeSecret("last month\n", to: "app.log.1")
            try directory.writeSecret("the month before\n", to: "app.log.2")
            return try directory.writeSecret(
                "\(directory.path)/app.log {\nmonthly\nrotate 2\ncreate 0600\n}\n", to: "messenger")
        }
        func history() throws -> String {
            try ["app.log.1", "app.log.2"].map { try String(contentsOfFile: directory.path($0), encoding: .utf8) }
                .joined()
        }
        let rules = try begin()
        for _ in 0..<3 { try Tool.run("logrotate", "-f", "-s", directory.path("state"), rules) }
        #expect(try !history().contains("month"))

        _ = try begin()
        for _ in 0..<3 {
            let run = try await shop.run(.rotateLogs(LogRotation(configuration: rules)))
            #expect(run.result == .succeeded && run.rows == 0, "\(run.reason ?? "")")
        }
        #expect(try history() == "last month\nthe month before\n")
    }

    /// `find /var/log/messenger -name "*.log" -mtime +30 -delete`: leaves what was rotated, and takes the live log of a
    /// service that has had nothing to say.
    @Test func findTakesTheLiveLogAndOursTheRotatedOnes() async throws {
        let directory = try TemporaryDirectory(prefix: "certs-find")
        let shop = try await HostShop.make()
        let root = directory.path("messenger")
        func begin() throws {
            try FileManager.default.createDirectory(atPath: root, withIntermediateDirectories: true)
            for name in ["quiet.log", "app.log.1.gz", "app.log-20250101"] {
                try directory.write("line\n", to: "messenger/\(name)")
                try FileManager.default.setAttributes(
                    [.modificationDate: Date().addingTimeInterval(-90 * Self.day)], ofItemAtPath: "\(root)/\(name)")
            }
        }
        func left() throws -> [String] { try FileManager.default.contentsOfDirectory(atPath: root).sorted() }
        try begin()
        #expect(try Tool.run("find", root, "-name", "*.log", "-mtime", "+30", "-delete").status == 0)
        #expect(try left() == ["app.log-20250101", "app.log.1.gz"])

        try begin()
        let run = try await shop.run(.deleteFiles(FileCleanUp(root: root, allowsUnknownOpenFiles: true)))
        #expect(run.rows == 2, "\(run.reason ?? "")")
        #expect(try left() == ["quiet.log"])
    }

    /// `apt-get update && apt-get upgrade -y`: everything at once, whatever it restarts. Ours says what there is and where
    /// it comes from, and changes nothing.
    @Test func upgradeTakesEverythingAndOursOnlyTells() async throws {
        let shop = try await HostShop.make()
        let would = try Tool.run("apt-get", "-s", "-o", "Debug::NoLocking=1", "dist-upgrade")
        #expect(would.status == 0)
        let upgrades = would.output.split(whereSeparator: \.isNewline).filter {
            $0.hasPrefix("Inst ") && $0.contains(" [") && $0.split(separator: " ")[2].hasPrefix("[")
        }
        func installed() throws -> String { try Tool.run("dpkg-query", "-W").output }
        let before = try installed()
        let run = try await shop.run(.reportUpdates(UpdateCheck()))
        #expect([.succeeded, .incomplete].contains(run.result), "\(run.reason ?? "")")
        #expect(run.rows == upgrades.count)
        #expect(try installed() == before)
        let metrics = try await shop.metrics(.reportUpdates(UpdateCheck()))
        #expect(metrics.contains("certs_packages_security_pending{job=\"job\"} "))
        #expect(metrics.contains("certs_reboot_required{job=\"job\"} "))
    }

    /// `docker-compose up -d --rollback chat-server`, `docker-compose up -d --image chat-server:v1.2.2 chat-server`:
    /// neither option exists, and nothing says so to a script.
    @Test func composeCannotRollBackAndOursCan() async throws {
        let docker = try await PrivateDocker.make()
        let engine = try await docker.engine()
        let shop = try await HostShop.make()
        let work = DeploymentRecording(engineSocket: docker.socket, healthyAfter: 0, healthyWithin: 60)
        for version in ["v1.2.2", "v1.2.3"] {
            try await Self.build(docker, "chat-server:\(version)", version)
            _ = try await engine.remove(["containers", "chat-server"], query: [("force", "1")])
            try await engine.make("chat-server", image: "chat-server:\(version)")
            #expect(try await shop.run(.recordDeployments(work)).rows == 1)
        }
        func image() async throws -> String? {
            try await engine.details(["containers", "chat-server", "json"])?["Config"]?["Image"]?.text
        }
        let folder = try TemporaryDirectory(prefix: "certs-compose")
        try folder.write(
            "version: '3'\nservices: { chat-server: { image: 'chat-server:v1.2.3' } }\n", to: "docker-compose.yml")
        for option in [["--rollback"], ["--image", "chat-server:v1.2.2"]] {
            let arguments = ["docker-compose", "-H", "unix://\(docker.socket)", "up", "-d"] + option + ["chat-server"]
            let outcome = try Tool.run(arguments, directory: folder.path)
            // It prints how it is used, ends with 0, and nothing has changed: a script takes that for a success.
            #expect(outcome.output.contains("Usage: up") && outcome.status == 0, "\(outcome.output)")
            #expect(try await image() == "chat-server:v1.2.3")
        }
        let rollback = ServiceRollback(work, files: shop.state, now: { Date() })
        _ = try await rollback.run(
            try await rollback.plan("chat-server", to: nil), control: JobControl(now: { Date() }))
        #expect(try await image() == "chat-server:v1.2.2")
    }

    /// `git checkout HEAD~1 internal/config/config.go`: the commit before the last need not be one of this file, and what
    /// was not committed is gone.
    @Test func checkoutGivesBackTheSameFileAndOursTheOneBefore() async throws {
        let folder = try TemporaryDirectory(prefix: "certs-git")
        let shop = try await HostShop.make()
        let path = folder.path("config.yml")
        func git(_ arguments: String...) throws {
            let outcome = try Tool.run(
                ["git", "-c", "user.name=a", "-c", "user.email=a@example.com", "-C", folder.path] + arguments)
            #expect(outcome.status == 0, "\(outcome.output)")
        }
        func contents() throws -> String { try String(contentsOfFile: path, encoding: .utf8) }
        let work = FileVersioning(files: [.init(path: path)])
        try git("init", "-q")
        for text in ["limit: 1\n", "limit: 2\n"] {
            try folder.write(text, to: "config.yml")
            try git("add", ".")
            try git("commit", "-q", "-m", text)
            #expect(try await shop.run(.keepVersions(work)).rows == 1)
        }
        try folder.write("notes\n", to: "README")
        try git("add", ".")
        try git("commit", "-q", "-m", "notes")
        try git("checkout", "-q", "HEAD~1", "config.yml")
        #expect(try contents() == "limit: 2\n")

        try folder.write("limit: 3 # not committed\n", to: "config.yml")
        let rollback = FileRollback(work, files: shop.state, live: shop.state.liveFiles, now: { Date() })
        _ = try await rollback.run(try await rollback.plan(path, to: 1), control: JobControl(now: { Date() }))
        #expect(try contents() == "limit: 1\n")
        _ = try await rollback.run(try await rollback.plan(path, to: 3), control: JobControl(now: { Date() }))
        #expect(try contents() == "limit: 3 # not committed\n")
    }
}
