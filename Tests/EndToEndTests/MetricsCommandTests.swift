import CertsCrypto
import CertsTesting
import Foundation
import Testing

/// `certs metrics`, for the textfile collector of the node_exporter.
@Suite struct MetricsCommandTests {
    struct Scene {
        let directory: TemporaryDirectory

        func path(_ name: String) -> String { directory.path(name) }

        init() throws {
            directory = try TemporaryDirectory(prefix: "certs-metrics")
            let pki = try TestPKI()
            let files = path("watched")
            try FileManager.default.createDirectory(atPath: files, withIntermediateDirectories: false)
            try pki.leaf(["www.example.com"]).certificate.pem.write(
                toFile: files + "/www.pem", atomically: true, encoding: .utf8)
            try """
            version: 1
            state: ./state
            watch: [ { name: watched, directory: ./watched } ]
            """.write(toFile: path("certs.yml"), atomically: true, encoding: .utf8)
        }

        func run(_ arguments: String...) async throws -> Program.Outcome {
            try await Program(
                arguments: [RotationScene.executable] + arguments + ["--config", path("certs.yml")]
            ).run()
        }
    }

    @Test func `the file is whole, readable for all, and has no family that the node_exporter has itself`() async throws
    {
        let scene = try Scene()
        #expect(try await scene.run("scan").status == 0)
        let file = scene.path("certs.prom")
        let written = try await scene.run("metrics", "--textfile", file)
        #expect(written.status == 0 && written.output.isEmpty, "\(written.all)")
        let text = try String(contentsOfFile: file, encoding: .utf8)
        #expect(
            text.contains(
                "ssl_cert_expiry_days{instance=\"\(scene.path("watched/www.pem"))\",cert=\"watched/www.pem\"}"))
        #expect(text.contains("\ncerts_build_info{") && text.hasSuffix("\n"))
        #expect(!text.contains("process_"))
        let mode = try FileManager.default.attributesOfItem(atPath: file)[.posixPermissions] as? Int
        #expect(mode == 0o644)
        #expect(
            try FileManager.default.contentsOfDirectory(atPath: scene.path("")).filter { $0.contains("prom") }
                == ["certs.prom"])
        #expect(try await scene.run("metrics").text.contains("\nprocess_cpu_seconds_total "))
    }

    /// The runbook sends people here: the metrics only count.
    @Test func `a scan names what it could not read, with the reason, each time`() async throws {
        let scene = try Scene()
        try "nothing".write(toFile: scene.path("watched/none.pem"), atomically: true, encoding: .utf8)
        #expect(symlink("/nowhere", scene.path("watched/link.pem")) == 0)
        for number in 0..<25 {
            try "-----BEGIN CERTIFICATE-----\n".write(
                toFile: scene.path("watched/z\(number).pem"), atomically: true, encoding: .utf8)
        }
        for arguments in [["scan"], ["scan"], ["scan", scene.path("watched")]] {
            let scan = try await Program(
                arguments: [RotationScene.executable] + arguments + ["--config", scene.path("certs.yml")]
            ).run()
            #expect(scan.status == 0)
            #expect(scan.errors.contains("not readable: \(scene.path("watched/none.pem")): no certificate"))
            #expect(scan.errors.contains("not readable: \(scene.path("watched/link.pem")): dangling link"))
            #expect(scan.errors.contains("/z0.pem: bad pem") && scan.errors.contains("and 7 more"), "\(scan.all)")
            #expect(!scan.errors.contains("www.pem"))
        }
    }

    @Test func `what cannot be rendered is a failure, and leaves the file as it was`() async throws {
        let scene = try Scene()
        #expect(try await scene.run("scan").status == 0)
        let file = scene.path("certs.prom")
        #expect(try await scene.run("metrics", "--textfile", file).status == 0)
        let before = try String(contentsOfFile: file, encoding: .utf8)
        let broken = try await Program(
            arguments: [
                "python3", "-c",
                "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('DROP TABLE watch_error'); c.commit()",
                scene.path("state/certs.sqlite"),
            ]
        ).run()
        try #require(broken.status == 0, "\(broken.all)")
        for arguments in [["metrics", "--textfile", file], ["metrics"]] {
            let outcome = try await Program(
                arguments: [RotationScene.executable] + arguments + ["--config", scene.path("certs.yml")]
            ).run()
            #expect(outcome.status != 0 && outcome.output.isEmpty && !outcome.errors.isEmpty, "\(outcome.all)")
        }
        #expect(try String(contentsOfFile: file, encoding: .utf8) == before)
    }
}
