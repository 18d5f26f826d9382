import ArgumentParser
import CertsCore
import CertsEngine
import Foundation

struct TimelineCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "timeline", abstract: "The weeks to come: when each renewal is due and each certificate expires.",
        discussion: "What comes first is at the top; what is past is in the first week.")

    @OptionGroup var global: GlobalOptions
    @OptionGroup var output: OutputOptions
    @Argument(help: "One certificate.", completion: .certificates)
    var name: String?
    @Option(help: "How many weeks, 1 to 520.")
    var weeks = 26

    func validate() throws {
        guard (1...520).contains(weeks) else { throw ValidationError("--weeks takes 1 to 520, not \(weeks)") }
    }

    func run() async throws {
        let assembly = try await Assembly.make(global)
        let certificate = try name.map { try assembly.declaration($0).name }
        let now = Date()
        let report = TimelineReport(try await assembly.engine.status(of: certificate, at: now), weeks: weeks, at: now)
        if output.output == .table {
            return Terminal.print(TimelineView(report: report, style: .standardOutput).render())
        }
        try Listing(
            document: report, items: report.certificates,
            columns: [
                Column("certificate") { $0.certificate }, Column("due at") { Time.text($0.dueAt) },
                Column("not after") { Time.text($0.notAfter) },
                Column("renewal week", isNumber: true) { $0.renewalWeek.map(String.init) ?? "-" },
                Column("expiry week", isNumber: true) { $0.expiryWeek.map(String.init) ?? "-" },
            ]
        ).print(output.output)
    }
}
