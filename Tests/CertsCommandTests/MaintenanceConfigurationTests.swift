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
        ("- { name: a, kind: temp-sessions }\n    - { name: a, kind: temp-sessions }", "second job"),
    ])
    func whatIsWrongIsToldWithItsRemedy(jobs: String, part: String) throws {
        let error = #expect(throws: CertsError.self) { try parse(jobs) }
        #expect(error?.details.count == 1, "\(error?.report ?? "")")
        #expect(error?.report.contains(part) == true, "\(error?.report ?? "")")
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
}
