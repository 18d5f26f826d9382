import CertsCore
import Foundation
import Testing

@testable import certs

@Suite struct HostJobConfigurationTests {
    private func parse(_ jobs: String) throws -> MaintenanceDeclaration {
        let text = """
            version: 1
            issuers: { local: { type: local-ca, commonName: Local CA } }
            certificates: [ { name: messenger, dnsNames: [messenger.example.com], issuer: local } ]
            maintenance:
              jobs:
                \(jobs)
            """
        return try ConfigurationFile.parse(Array(text.utf8), path: "/etc/certs/certs.yml").maintenance
    }

    private func work(_ job: String) throws -> HostJob? {
        guard case .host(let work)? = try parse(job).jobs.first?.work else { return nil }
        return work
    }

    @Test func theyNeedNoDatabaseAndHaveSafeDefaults() throws {
        #expect(try work("- { name: a, kind: docker-prune }") == .cleanUpDocker(DockerCleanUp()))
        #expect(DockerCleanUp().volumeLabels == [] && DockerCleanUp().age == 7 * 86400)
        #expect(
            try work("- { name: a, kind: old-files, root: /var/log/app }")
                == .deleteFiles(FileCleanUp(root: "/var/log/app")))
        #expect(!FileCleanUp(root: "/a").allowsUnknownOpenFiles)
        #expect(FileCleanUp(root: "/a").patterns.allSatisfy { fnmatch($0, "app.log", 0) != 0 })
        #expect(try work("- { name: a, kind: update-report }") == .reportUpdates(UpdateCheck()))
        #expect(!UpdateCheck().refreshesLists)
        #expect(try parse("- { name: a, kind: deployment-journal }").jobs.first?.schedule.rule == .every(600))
    }

    @Test func eachKeyIsRead() throws {
        #expect(
            try work(
                "- { name: a, kind: docker-prune, engine: /run/d.sock, after: 2d, keepDeployments: 5, volumes: [x, y=z], maximum: 7 }"
            )
                == .cleanUpDocker(
                    DockerCleanUp(
                        engineSocket: "/run/d.sock", age: 2 * 86400, keptDeployments: 5, volumeLabels: ["x", "y=z"],
                        limit: 7)))
        #expect(
            try work(
                "- { name: a, kind: old-files, root: /srv/a, patterns: ['*.tmp'], after: 12h, keep: 2, maximumFiles: 9, maximumShare: 50, openFilesUnknown: allow }"
            )
                == .deleteFiles(
                    FileCleanUp(
                        root: "/srv/a", patterns: ["*.tmp"], age: 43200, kept: 2, limit: 9, share: 0.5,
                        allowsUnknownOpenFiles: true)))
        #expect(
            try work("- { name: a, kind: log-rotation, configuration: rules }")
                == .rotateLogs(LogRotation(configuration: "/etc/certs/rules")))
        #expect(
            try work(
                "- { name: a, kind: update-report, refresh: true, packages: false, engine: /d.sock, goModules: [m] }")
                == .reportUpdates(
                    UpdateCheck(
                        refreshesLists: true, packages: false, engineSocket: "/d.sock", goModules: ["/etc/certs/m"])))
        #expect(
            try work(
                "- { name: a, kind: file-versions, keep: 3, files: [ { path: h.cfg, validate: [haproxy, -c], reload: [/bin/true] } ] }"
            )
                == .keepVersions(
                    FileVersioning(
                        files: [.init(path: "/etc/certs/h.cfg", validate: ["haproxy", "-c"], reload: ["/bin/true"])],
                        kept: 3)))
        #expect(
            try work(
                "- { name: a, kind: deployment-journal, engine: /d.sock, keep: 4, healthyAfter: 5s, healthyWithin: 1m }"
            )
                == .recordDeployments(
                    DeploymentRecording(engineSocket: "/d.sock", kept: 4, healthyAfter: 5, healthyWithin: 60)))
    }

    @Test(arguments: [
        ("- { name: a, kind: old-files }", "root"),
        ("- { name: a, kind: old-files, root: /a, patterns: ['b/*.log'] }", "slash"),
        ("- { name: a, kind: old-files, root: /a, openFilesUnknown: perhaps }", "refuse or allow"),
        ("- { name: a, kind: log-rotation }", "configuration"),
        ("- { name: a, kind: file-versions }", "files"),
        ("- { name: a, kind: file-versions, files: [ { path: a, validate: 'haproxy -c' } ] }", "list"),
        ("- { name: a, kind: docker-prune, volumes: all }", "list"),
        ("- { name: a, kind: deployment-journal, healthyAfter: 10m }", "longer"),
    ])
    func mistakesAreNamed(job: String, says: String) {
        do {
            _ = try parse(job)
            Issue.record("nothing was said about \(job)")
        } catch {
            #expect(CertsError.wrapping(error).description.contains(says), "\(error)")
        }
    }
}
