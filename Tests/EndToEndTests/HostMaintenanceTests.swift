import CertsTesting
import Foundation
import Testing

/// The jobs on this host and the rollback of a file, as a person at a terminal meets them.
@Suite struct HostMaintenanceTests {
    private let directory: TemporaryDirectory

    init() throws {
        directory = try TemporaryDirectory(prefix: "certs-e2e-host")
        try directory.write(
            """
            version: 1
            state: ./state
            issuers: { local: { type: local-ca, commonName: Local CA } }
            certificates: [ { name: messenger, dnsNames: [messenger.example.com], issuer: local } ]
            maintenance:
              jobs:
                - { name: old-logs, kind: old-files, root: \(directory.path)/logs, openFilesUnknown: allow }
                - name: configuration
                  kind: file-versions
                  files:
                    - { path: haproxy.cfg, validate: [/bin/grep, -q, good, \(directory.path)/haproxy.cfg] }
            """, to: "certs.yml")
    }

    private func certs(_ arguments: String...) async throws -> Program.Outcome {
        try await Program(
            arguments: [RotationScene.executable, "maintenance"] + arguments + [
                "--config", directory.path("certs.yml"),
            ]
        ).run()
    }

    @Test func aFileIsPutBackOnlyWhenAskedForTwice() async throws {
        let path = directory.path("haproxy.cfg")
        for text in ["good 1\n", "good 2\n"] {
            try directory.write(text, to: "haproxy.cfg")
            let run = try await certs("run", "configuration")
            #expect(run.status == 0, "\(run.all)")
        }
        let plan = try await certs("rollback", "file", path)
        #expect(plan.status == 0 && plan.text.contains("would be put back"), "\(plan.all)")
        #expect(plan.errors.contains("nothing is changed"))
        #expect(try String(contentsOfFile: path, encoding: .utf8) == "good 2\n")
        let done = try await certs("rollback", "file", path, "--yes")
        #expect(done.status == 0, "\(done.all)")
        #expect(try String(contentsOfFile: path, encoding: .utf8) == "good 1\n")
        let status = try await certs("status", "configuration", "-o", "json")
        #expect(status.text.contains("is version 1 again"), "\(status.all)")
        let none = try await certs("rollback", "file", path, "--to", "99", "--yes")
        #expect(none.status == 5, "\(none.all)")
        let unknown = try await certs("rollback", "service", "chat")
        #expect(unknown.status == 5 && unknown.errors.contains("deployment-journal"), "\(unknown.all)")
    }

    @Test func thePlanNamesWhatTheRunDeletes() async throws {
        try FileManager.default.createDirectory(atPath: directory.path("logs"), withIntermediateDirectories: true)
        for (name, days) in [("a.log.1", 60.0), ("a.log", 60)] {
            try directory.write("line\n", to: "logs/\(name)")
            try FileManager.default.setAttributes(
                [.modificationDate: Date().addingTimeInterval(-days * 86400)],
                ofItemAtPath: directory.path("logs/\(name)"))
        }
        let plan = try await certs("plan", "old-logs", "-o", "json")
        #expect(plan.status == 0 && plan.text.contains("\"a.log.1\""), "\(plan.all)")
        let run = try await certs("run", "old-logs")
        #expect(run.status == 0 && run.errors.contains("1 rows"), "\(run.all)")
        #expect(!FileManager.default.fileExists(atPath: directory.path("logs/a.log.1")))
        #expect(FileManager.default.fileExists(atPath: directory.path("logs/a.log")))
    }

    @Test func updatesAreToldWithoutAJobThatDeclaresThem() async throws {
        let report = try await certs("report", "updates", "-o", "json")
        #expect(report.status == 0, "\(report.all)")
        let document = try #require(
            try JSONSerialization.jsonObject(with: Data(report.text.utf8)) as? [String: Any])
        #expect(document["schema"] as? Int == 1)
        #expect(document["updates"] is [Any])
        #expect(document["packagesPending"] is Int && document["rebootRequired"] is Bool)
    }
}
