import ArgumentParser

struct MaintenanceReportCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "report", abstract: "What there is to know and to recommend; changes nothing.",
        subcommands: [DatabaseReportCommand.self])
}
