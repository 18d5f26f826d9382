import CertsCore
import Foundation
import Testing

@testable import certs

@Suite struct MaintenanceConfigurationTests {
    private func parse(_ jobs: String, database: String = "{ host: /run/postgresql, name: m, user: certs }") throws
        -> MaintenanceDeclaration
    {
        let text = """
            version: 1
            issuers: { local: { type: local-ca, commonName: Local CA } }
            certificates: [ { name: messenger, dnsNames: [messenger.example.com], issuer: local } ]
            maintenance:
              database: \(database)
              redis: { address: "127.0.0.1:6379" }
              jobs:
                \(jobs)
            """
        return try ConfigurationFile.parse(Array(text.utf8), path: "/etc/certs/certs.yml").maintenance
    }

    @Test func aKindBringsWhatTheProcedureSays() throws {
        let job = try #require(try parse("- { name: messages, kind: expired-messages }").jobs.first)
        #expect(job.schedule == JobSchedule(.every(60)))
        #expect(
            job.work
                == .deleteRows(RowDeletion(TableName("messages"), column: "expires_at", counter: .expiredMessages)))
        #expect(job.catchUp == .latest(within: 86400))
        #expect(job.overlap == .skip)
    }

    @Test func workOnTheDatabaseIsDeclared() throws {
        let jobs = try parse(
            """
            - { name: v, kind: vacuum, deadShare: 20, costDelay: 0 }
                - { name: f, kind: vacuum-full, tables: [messages], freeSpaceChecked: true }
                - { name: i, kind: reindex, schema: app, tables: [messages], indexes: [a, b], bloat: 50 }
                - { name: r, kind: database-report, top: 5 }
            """
        ).jobs
        #expect(
            jobs.map(\.work) == [
                .database(.vacuum(VacuumWork(deadShare: 0.2, costDelay: 0))),
                .database(
                    .vacuumFull(VacuumFullWork(scope: TableScope(names: ["messages"]), freeSpaceChecked: true))),
                .database(
                    .reindex(
                        ReindexWork(
                            scope: TableScope(schema: "app", names: ["messages"]), indexes: ["a", "b"],
                            bloatShare: 0.5))),
                .database(.report(DatabaseReportWork(top: 5))),
            ])
        #expect(jobs.first?.schedule == JobSchedule(.weekly([0], 180)))
        #expect(jobs.map(\.work.isDisruptive) == [false, true, false, false])
    }

    @Test(arguments: [
        ("every: 5m", JobSchedule.Rule.every(300)), ("daily: \"02:00\"", .daily([120])),
        ("daily: [\"02:00\", \"14:30\"]", .daily([120, 870])), ("weekly: sun 03:00", .weekly([0], 180)),
        ("weekly: 'mon,thu 22:15'", .weekly([1, 4], 1335)),
    ])
    func schedulesAreWrittenInFourWays(text: String, rule: JobSchedule.Rule) throws {
        let job = try #require(
            try parse("- { name: a, kind: temp-sessions, \(text), zone: Europe/Berlin, jitter: 30s }").jobs.first)
        #expect(job.schedule.rule == rule)
        #expect(job.schedule.zone.identifier == "Europe/Berlin")
        #expect(job.schedule.jitter == 30)
    }

    @Test(arguments: [
        ("- { name: a, kind: expired-mesages }", "expired-messages"),
        ("- { name: a, kind: expired-rows, table: t }", "column"),
        ("- { name: a, kind: temp-sessions, cron: '61 * * * *' }", "minute"),
        ("- { name: a, kind: temp-sessions, every: 5m, daily: \"02:00\" }", "write one of them"),
        ("- { name: a, kind: temp-sessions, daily: \"24:00\" }", "time of day"),
        ("- { name: a, kind: temp-sessions, zone: Mars/Base }", "time zone"),
        ("- { name: a, kind: audit-logs, category: c, directory: /a }", "retention"),
        ("- { name: a, kind: orphans, table: t, column: c, parent: p }", "created"),
        ("- { name: a, kind: temp-sessions, colunm: x }", "column"),
        ("- { name: a, kind: prekeys, prekeys: k }", "channel"),
        ("- { name: a, kind: vacuum-full }", "tables"), ("- { name: a, kind: reindex, bloat: 0 }", "bloat"),
        ("- { name: a, kind: temp-sessions, overlap: queue }", "queue-one"),
        (
            "- { name: a, kind: backup, directory: /srv/b }\n    - { name: b, kind: backup, directory: /srv/b/ }",
            "one directory"
        ),
        (
            "- { name: a, kind: deployment-journal }\n    - { name: b, kind: deployment-journal, keep: 3 }",
            "one job of this kind"
        ),
        ("- { name: a, kind: temp-sessions }\n    - { name: a, kind: temp-sessions }", "second job"),
        ("- { name: a, kind: backup }", "directory"), ("- { name: a, kind: restore-test }", "kind backup"),
        ("- { name: a, kind: backup, directory: /b, format: tar }", "custom"),
        ("- { name: a, kind: backup, directory: /b }\n    - { name: c, kind: restore-test, of: x }", "named 'x'"),
        ("- { name: a, kind: pgbackrest, stanza: 'x y' }", "stanza"),
    ])
    func whatIsWrongIsToldWithItsRemedy(jobs: String, part: String) throws {
        let error = #expect(throws: CertsError.self) { try parse(jobs) }
        #expect(error?.details.count == 1, "\(error?.report ?? "")")
        #expect(error?.report.contains(part) == true, "\(error?.report ?? "")")
    }

    private func parse(maintenance: String, certificate: String = "") throws -> Declarations {
        let text = """
            version: 1
            issuers: { local: { type: local-ca, commonName: Local CA } }
            certificates: [ { name: messenger, dnsNames: [messenger.example.com], issuer: local\(certificate) } ]
            maintenance:
              \(maintenance)
            """
        return try ConfigurationFile.parse(Array(text.utf8), path: "/etc/certs/certs.yml")
    }

    @Test func windowsBringWhatTheProcedureSays() throws {
        let windows =
            "windows: { emergency: {}, standard: {}, major: {}, security: { duration: 90m, verify: [/bin/true] } }"
        let found = try parse(maintenance: windows).maintenance.windows
        #expect(found.map(\.type) == WindowType.allCases)
        #expect(found.map(\.duration) == [nil, 7200, 14400, 5400])
        #expect(found.map { $0.schedule == nil } == [true, false, false, false])
        #expect(found[1].schedule == JobSchedule(.weekly([0], 120)))
        #expect(found[3].verify == [["/bin/true"]])
        let several = try parse(
            maintenance:
                "windows: { standard: { cron: '0 3 * * sat', zone: Europe/Berlin, verify: [[/bin/a, -v], [/bin/b]] } }")
        #expect(several.maintenance.windows.first?.verify == [["/bin/a", "-v"], ["/bin/b"]])
        #expect(several.maintenance.windows.first?.schedule?.zone.identifier == "Europe/Berlin")
    }

    @Test func aJobOfAWindowIsDueWhenItBeginsUnlessItHasATimeOfItsOwn() throws {
        let jobs = """
            windows: { standard: { weekly: sat 03:00, zone: Europe/Berlin } }
              jobs:
                - { name: a, kind: command, arguments: [/bin/true], window: standard }
                - { name: b, kind: command, arguments: [/bin/true], window: standard, daily: "04:00" }
            """
        let found = try parse(maintenance: jobs).maintenance.jobs
        #expect(found.map(\.window) == [.standard, .standard])
        #expect(found[0].schedule.rule == .weekly([6], 180))
        #expect(found[0].schedule.zone.identifier == "Europe/Berlin")
        #expect(found[1].schedule.rule == .daily([240]))
    }

    @Test(arguments: [
        ("windows: { weekly: {} }", "unknown key"),
        ("windows: { emergency: { weekly: sun 02:00 } }", "duration"),
        ("windows: { emergency: { zone: UTC } }", "zone"),
        ("jobs: [ { name: a, kind: command, arguments: [/bin/true], window: major } ]", "none is declared"),
        (
            "windows: { standard: { duration: 5m } }\n"
                + "  jobs: [ { name: a, kind: command, arguments: [/bin/true], window: standard } ]", "deadline"
        ),
        (
            // It begins a moment after its window does.
            "windows: { standard: {} }\n"
                + "  jobs: [ { name: a, kind: command, arguments: [/bin/true], window: standard, deadline: 2h } ]",
            "at most 119m"
        ),
        ("admin: { url: \"http://admin.example.com\", tokenFile: t }", "https"),
        ("admin: { url: \"http://127.0.0.1:8080\" }", "tokenFile"),
        ("admin: { url: \"http://127.0.0.1:8080\", tokenFile: t, maintenance: mode }", "path"),
        ("prometheus: { url: \"http://10.0.0.1:9090\" }", "https"),
    ])
    func whatIsWrongWithWindowsIsTold(maintenance: String, part: String) throws {
        let error = #expect(throws: CertsError.self) { try parse(maintenance: maintenance) }
        #expect(error?.details.count == 1, "\(error?.report ?? "")")
        #expect(error?.report.contains(part) == true, "\(error?.report ?? "")")
    }

    @Test func aCertificateWaitsForWindowsThatArePlanned() throws {
        let windows = "windows: { emergency: {}, standard: {} }"
        let found = try parse(maintenance: windows, certificate: ", window: standard")
        #expect(found.certificates.first?.window?.type == .standard)
        for wrong in ["emergency", "major", "weekly"] {
            #expect(throws: CertsError.self) { try parse(maintenance: windows, certificate: ", window: \(wrong)") }
        }
    }

    @Test func aDatabaseElsewhereIsReachedByTLSThatIsChecked() throws {
        let jobs = "- { name: a, kind: temp-sessions }"
        for wrong in [
            "{ host: db.example.com, name: m, user: u }", "{ host: db.example.com, name: m, user: u, tls: disable }",
        ] {
            #expect(throws: CertsError.self) { try parse(jobs, database: wrong) }
        }
        let right = try parse(jobs, database: "{ host: db.example.com, name: m, user: u, caFile: ca.pem }")
        #expect(right.database?.tls == .verifyFull)
        #expect(right.database?.caFile == "/etc/certs/ca.pem")
    }

    @Test func backupsAreDeclaredWithTheirRetentionAndTests() throws {
        let jobs = try parse(
            """
            - { name: nightly, kind: backup, directory: /srv/backups, format: directory, jobs: 4, compare: counts,
                clientDirectory: /opt/pg/bin, keep: { daily: 7, weekly: 5 }, offsite: [/usr/local/bin/copy, --fast] }
                - { name: proof, kind: restore-test }
                - { name: hourly, kind: pgbackrest, stanza: main, program: [runuser, -u, postgres, --, pgbackrest] }
            """
        ).jobs
        #expect(
            jobs.map(\.work) == [
                .backUp(
                    DatabaseBackup(
                        directory: "/srv/backups", format: .directory, parallel: 4, clientDirectory: "/opt/pg/bin",
                        comparison: .counts, retention: BackupRetention(daily: 7, weekly: 5, monthly: 0),
                        offsite: ["/usr/local/bin/copy", "--fast"])),
                .testRestore(RestoreTest()),
                .backUpServer(
                    PhysicalBackup(stanza: "main", program: ["runuser", "-u", "postgres", "--", "pgbackrest"])),
            ])
        #expect(jobs.map(\.schedule.rule) == [.daily([120]), .weekly([0], 240), .every(3600)])
        #expect(jobs.map(\.deadline) == [21600, 21600, 21600])
    }
}
