import ArgumentParser
import CertsCore
import CertsMaintenance
import CertsStore
import Foundation

struct MaintenanceReportCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "report", abstract: "What was done, and what there is to know and to recommend; changes nothing.",
        subcommands: [
            MaintenanceLogReportCommand.self, MonthlyReportCommand.self, DatabaseReportCommand.self,
            MaintenanceReportUpdatesCommand.self,
        ])
}

/// `-o` of the reports that people read as they are.
enum ReportFormat: String, ExpressibleByArgument, CaseIterable {
    case markdown, json
}

struct ReportOptions: ParsableArguments {
    @Option(name: [.customShort("o"), .long], help: "markdown or json.")
    var output: ReportFormat = .markdown
}

struct MaintenanceLogReportCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "log", abstract: "The maintenance log of a window, or of all windows of a day (UTC).")

    @OptionGroup var global: GlobalOptions
    @OptionGroup var output: ReportOptions
    @Option(help: "The window, as `certs window status` names it. [default: the last one]")
    var window: String?
    @Option(help: "The day: 2025-12-04.")
    var day: String?

    struct Document: Encodable {
        let schema = 1
        let logs: [MaintenanceLog]
    }

    func validate() throws {
        guard window == nil || day == nil else { throw ValidationError("take --window or --day, not both") }
    }

    func run() async throws {
        let assembly = try await Assembly.forMaintenance(global)
        let ledger = assembly.database
        let windows: [WindowRecord]
        if let window {
            windows = [try await ledger.window(window)].compactMap(\.self)
        } else if let day {
            let start = try Time.parse(day)
            windows = try await ledger.windows(from: start, to: start.addingTimeInterval(86400))
        } else {
            windows = try await ledger.windows(limit: 1)
        }
        guard !windows.isEmpty else {
            throw CertsError(
                .nameUnknown, "no data: no window was opened \(window.map { "as '\($0)'" } ?? day ?? "yet")",
                hint: "`certs window status` lists them")
        }
        var logs: [MaintenanceLog] = []
        for window in windows { logs.append(try await MaintenanceLog.make(window, from: ledger, now: Date())) }
        switch output.output {
        case .markdown: Terminal.print(logs.map(\.markdown).joined(separator: "\n\n"))
        case .json: Terminal.print(try JSON.encode(Document(logs: logs), pretty: true))
        }
    }
}

struct MonthlyReportCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "monthly", abstract: "The monthly maintenance report.",
        discussion: "Runs of jobs are kept for 90 days; what is not known any more is \"no data\".")

    @OptionGroup var global: GlobalOptions
    @OptionGroup var output: ReportOptions
    @Option(help: "The month (UTC): 2025-12. [default: the last one that is over]")
    var month: String?

    struct Document: Encodable {
        let schema = 1
        let report: MonthlyReport
    }

    func run() async throws {
        let assembly = try await Assembly.forMaintenance(global)
        let maintenance = assembly.declarations.maintenance
        let now = Date()
        let month = try MonthlyReport.month(month, now: now)
        var material = try await MonthlyReport.Material.read(month, from: assembly.database)
        if let prometheus = maintenance.prometheus {
            let span = DateInterval(start: month.start, end: min(month.end, now))
            (material.uptime, material.uptimeSource) = await UptimeQuery(prometheus).ask(span)
        }
        let report = MonthlyReport(month, maintenance.windows, material, now: now)
        switch output.output {
        case .markdown: Terminal.print(report.markdown)
        case .json: Terminal.print(try JSON.encode(Document(report: report), pretty: true))
        }
    }
}
