import CertsCore
import CertsMaintenance
import CertsStore
import CertsTesting
import Foundation
import Testing

/// The reports side by side with the templates of the maintenance procedures.
@Suite(.timeLimit(.minutes(10))) struct ReportTests {
    /// "Maintenance log format", as it stands there.
    private static let logTemplate = """
        ## Maintenance Log - 2025-12-04

        **Start Time**: 02:00 UTC
        **End Time**: 02:45 UTC
        **Performed By**: Operations Team

        ### Tasks Completed
        - Database vacuum and analyze
        - Certificate rotation for load balancer
        - Security patch application
        - Log rotation and cleanup

        ### Issues Encountered
        - None

        ### Verification Results
        - All services operational
        - Database performance improved
        - Certificate valid until 2026-03-04
        """

    /// "Maintenance report template", as it stands there.
    private static let reportTemplate = """
        # Monthly Maintenance Report - December 2025

        ## Summary
        - 4 maintenance windows completed
        - 0 critical issues encountered
        - 12 security patches applied
        - Database performance improved by 15%

        ## Key Metrics
        - Uptime: 99.98%
        - Mean Time to Recovery: 12 minutes
        - Maintenance Window Adherence: 100%

        ## Recommendations
        - Schedule additional database optimization
        - Review certificate rotation procedure
        - Update maintenance documentation
        """

    private static func date(_ text: String) throws -> Date {
        try #require(ISO8601DateFormatter().date(from: text))
    }

    /// A month with four weekly windows (2025-12-07, 14, 21, 28), the third of which lasted 30 minutes too long, and
    /// an emergency on the 4th.
    private func december() async throws -> WindowShop {
        let shop = try await WindowShop.make([("vacuum", ["/bin/true"])]) { maintenance in
            maintenance.windows.append(
                WindowDeclaration(.standard, schedule: JobSchedule(.weekly([0], 120)), duration: 7200))
        }
        let ledger = shop.database
        let emergency = WindowRecord(
            id: "emergency-1", type: .emergency, plannedAt: nil, openedAt: try Self.date("2025-12-04T02:00:00Z"),
            endsAt: try Self.date("2025-12-04T03:00:00Z"), closedAt: try Self.date("2025-12-04T02:45:00Z"),
            openedBy: "ops@db1", source: .command, runsTasks: true, message: "Emergency maintenance")
        try await ledger.open(emergency)
        let start = emergency.openedAt
        let work: [(WindowEvent.Step, String, String)] = [
            (.announce, "", "Emergency maintenance"), (.modeOn, "", ""), (.task, "vacuum", "done"),
            (.verify, "/usr/local/bin/verify", "exit code 0"),
            (.verify, "certificate messenger", "valid until 2026-03-04, served by 2 of 2 endpoints"),
            (.modeOff, "", ""),
            (.close, "", ""),
        ]
        for (index, (step, subject, detail)) in work.enumerated() {
            try await ledger.add(
                WindowEvent(
                    window: emergency.id, at: start.addingTimeInterval(Double(index) * 420), step: step,
                    subject: subject, detail: detail))
        }
        try await run(ledger, "vacuum", start.addingTimeInterval(60), 90.04, .succeeded, rows: 12, in: emergency.id)
        for (index, day) in ["07", "14", "21", "28"].enumerated() {
            let planned = try Self.date("2025-12-\(day)T02:00:00Z")
            try await ledger.open(
                WindowRecord(
                    id: "standard-\(day)", type: .standard, plannedAt: planned, openedAt: planned.addingTimeInterval(2),
                    endsAt: planned.addingTimeInterval(7200),
                    closedAt: planned.addingTimeInterval(index == 2 ? 9000 : 7200), openedBy: "certs@db1",
                    source: .timer))
        }
        return shop
    }

    private func run(
        _ ledger: Database, _ job: String, _ start: Date, _ seconds: TimeInterval, _ result: JobRun.Result,
        rows: Int = 0, in window: String? = nil
    ) async throws {
        try await ledger.finish(
            JobRun(
                id: "\(job)-\(Int(start.timeIntervalSince1970))", job: try Name(job), occurrence: nil, startedAt: start,
                endedAt: start.addingTimeInterval(seconds), result: result, rows: rows,
                reason: result == .failed ? "no *room*" : nil, source: .timer, runner: "db1:1", window: window))
    }

    /// Headings and fields, without what is filled in.
    private func skeleton(_ text: String) -> [String] {
        text.split(separator: "\n").map(String.init).compactMap { line in
            if line.hasPrefix("#") || line.hasPrefix("**") {
                return String(line.prefix { $0 != ":" && !$0.isNumber })
            }
            return nil
        }
    }

    @Test func theLogHasTheDocumentsFormAndEachLineItsSource() async throws {
        let shop = try await december()
        let window = try #require(try await shop.database.window("emergency-1"))
        let log = try await MaintenanceLog.make(window, from: shop.database, now: shop.now())
        #expect(
            log.markdown == """
                ## Maintenance Log - 2025-12-04

                **Start Time**: 02:00 UTC
                **End Time**: 02:45 UTC
                **Performed By**: ops@db1

                ### Tasks Completed
                - vacuum: 12 done in 90.0 s[^1]
                - Maintenance mode from 02:07 UTC to 02:35 UTC[^2]

                ### Issues Encountered
                - None

                ### Verification Results
                - /usr/local/bin/verify: exit code 0[^2]
                - certificate messenger: valid until 2026-03-04, served by 2 of 2 endpoints[^2]

                [^1]: ledger: job_run vacuum-1764813660
                [^2]: ledger: maintenance_event of emergency-1
                """)
        #expect(skeleton(log.markdown) == skeleton(Self.logTemplate))
        let again = try await MaintenanceLog.make(window, from: shop.database, now: shop.now())
        #expect(again.markdown == log.markdown)
    }

    @Test func whatWentWrongInAWindowIsInItsLog() async throws {
        let shop = try await december()
        let window = try #require(try await shop.database.window("standard-21"))
        try await run(
            shop.database, "vacuum", window.openedAt.addingTimeInterval(60), 5, .failed, in: window.id)
        try await shop.database.add(
            WindowEvent(
                window: window.id, at: window.openedAt, step: .task, result: .skipped, subject: "reindex",
                detail: "it takes about 600 s, and 30 s are left"))
        let log = try await MaintenanceLog.make(window, from: shop.database, now: shop.now())
        let issues = log.issues.map(\.text)
        #expect(
            issues == [
                "vacuum: failed: no \\*room\\*", "not run: reindex: it takes about 600 s, and 30 s are left",
                "The window lasted 1800 s past its end (04:00 UTC)",
            ])
        #expect(log.markdown.contains("### Tasks Completed\n- None\n"))
        #expect(log.markdown.contains("- no data: nothing was verified"))
    }

    @Test func theMonthlyReportHasTheDocumentsFormAndSaysNoDataWhereThereIsNone() async throws {
        let shop = try await december()
        let now = try Self.date("2026-01-02T00:00:00Z")
        let month = try MonthlyReport.month(nil, now: now)
        // Failed twice in a row, and mended 12 minutes after the first began.
        let begin = try Self.date("2025-12-10T10:00:00Z")
        try await run(shop.database, "orphans", begin, 5, .failed)
        try await run(shop.database, "orphans", begin.addingTimeInterval(300), 5, .failed)
        try await run(shop.database, "orphans", begin.addingTimeInterval(715), 5, .succeeded)
        let material = try await MonthlyReport.Material.read(month, from: shop.database)
        let report = MonthlyReport(month, shop.maintenance.windows, material, now: now)
        let span = "2025-12-01 00:00 UTC to 2026-01-01 00:00 UTC"
        #expect(
            report.markdown == """
                # Monthly Maintenance Report - December 2025

                ## Summary
                - 5 maintenance windows completed[^1]
                - 1 critical issues encountered[^2]
                - security patches applied: no data[^3]

                ## Key Metrics
                - Uptime: no data[^4]
                - Mean Time to Recovery: 12 minutes[^5]
                - Maintenance Window Adherence: 75.00%[^6]

                ## Recommendations
                - Look into the job orphans: 2 of 3 runs failed[^7]
                - Give the standard window more time: it lasted 30 minutes too long[^8]

                [^1]: ledger: maintenance_window opened \(span), closed and not cut short; a planned window counts once
                [^2]: ledger: job_run (failed or lost; of one job in a row is one), rotation (not committed), \
                maintenance_event (failed), begun \(span)
                [^3]: the ledger does not record which patches the declared commands applied
                [^4]: no Prometheus is declared (`prometheus:` under `maintenance:`)
                [^5]: ledger: job_run begun \(span); mean of (end of the next run that succeeded - begin of the first that \
                failed), 1 resolved, 0 open
                [^6]: configuration: windows planned \(span); ledger: maintenance_window; 3 that began and ended inside of \
                their time / 4 planned
                [^7]: ledger: job_run begun \(span)
                [^8]: configuration and ledger: maintenance_window \(span)
                """)
        #expect(skeleton(report.markdown) == skeleton(Self.reportTemplate))
        let json = String(decoding: try JSONEncoder().encode(report), as: UTF8.self)
        #expect(json.contains("\"value\":null"))
    }

    @Test func aMonthInWhichNothingIsKnownHasNoFigures() async throws {
        let shop = try await WindowShop.make()
        let now = try Self.date("2026-06-15T00:00:00Z")
        let month = try MonthlyReport.month("2025-12", now: now)
        let material = try await MonthlyReport.Material.read(month, from: shop.database)
        let text = MonthlyReport(month, shop.maintenance.windows, material, now: now).markdown
        #expect(text.contains("- critical issues encountered: no data"))
        #expect(text.contains("- Mean Time to Recovery: no data"))
        #expect(text.contains("- Maintenance Window Adherence: no data"))
        #expect(text.contains("## Recommendations\n- None"))
        for wrong in ["2025-13", "2025", "12-2025", "2027-01", ""] {
            #expect(throws: CertsError.self) { try MonthlyReport.month(wrong, now: now) }
        }
    }

    @Test func aMonthThatIsNotOverIsToldSoFar() async throws {
        let shop = try await december()
        let now = try Self.date("2025-12-16T00:00:00Z")
        let month = try MonthlyReport.month("2025-12", now: now)
        let material = try await MonthlyReport.Material.read(month, from: shop.database)
        let report = MonthlyReport(month, shop.maintenance.windows, material, now: now)
        #expect(report.through == now)
        #expect(report.markdown.contains("2 that began and ended inside of their time / 2 planned"))
    }

    @Test func uptimeComesFromARealPrometheus() async throws {
        let directory = try TemporaryDirectory(prefix: "certs-uptime")
        let port = try LoopbackPort.reserve()
        // It scrapes itself, and somebody who is not there.
        try directory.write(
            """
            global: { scrape_interval: 1s }
            scrape_configs:
              - { job_name: self, static_configs: [ { targets: ["127.0.0.1:\(port)"] } ] }
              - { job_name: away, static_configs: [ { targets: ["127.0.0.1:1"] } ] }
            """, to: "prometheus.yml")
        let process = ServerProcess(
            [
                "prometheus", "--config.file=\(directory.path("prometheus.yml"))",
                "--storage.tsdb.path=\(directory.path("data"))", "--web.listen-address=127.0.0.1:\(port)",
            ], directory: directory.path, log: directory.path("log"))
        try await BlockingPool.network.run { try process.start(within: 60) { LoopbackPort.isServed(port) } }
        defer { process.stop() }
        func ask(_ selector: String) async -> (value: Double?, source: String) {
            let now = Date()
            let query = UptimeQuery(PrometheusDeclaration(url: "http://127.0.0.1:\(port)", selector: selector))
            return await query.ask(DateInterval(start: now.addingTimeInterval(-600), end: now))
        }
        var found: (value: Double?, source: String) = (nil, "")
        for _ in 0..<300 {
            found = await ask("up{job=\"self\"}")
            if found.value != nil, await ask("up{job=\"away\"}").value != nil { break }
            try await Task.sleep(for: .milliseconds(200))
        }
        #expect(found.value == 100)
        #expect(found.source.contains("avg(avg_over_time(up{job=\"self\"}[600s]))"))
        #expect(await ask("up{job=\"away\"}").value == 0)
        let none = await ask("up{job=\"nobody\"}")
        #expect(none.value == nil && none.source.contains("no samples"))
        let wrong = await ask("up{")
        #expect(wrong.value == nil && wrong.source.contains("400"))
    }
}
