import ArgumentParser

struct MaintenanceReportCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "report", abstract: "What there is to know; changes nothing.",
        subcommands: [MaintenanceReportUpdatesCommand.self])
}
