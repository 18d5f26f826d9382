import ArgumentParser
import CertsCore
import Foundation

/// The command line (DESIGN §7). Data goes to stdout, everything else to stderr.
@main
struct Certs: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "certs",
        abstract: "Certificates for HAProxy: renewed, deployed, and seen served, or rolled back.",
        discussion: """
            Exit codes: 0 done, or nothing to do; 1 failed; 3 some certificates failed; 4 not found; 5 refused (lock, \
            policy, clock); 6 rolled back; 64 usage.
            """,
        version: "certs \(Product.version)",
        groupedSubcommands: [
            CommandGroup(name: "Set up", subcommands: [InitCommand.self, CheckCommand.self, ACMECommand.self]),
            CommandGroup(
                name: "Rotate",
                subcommands: [
                    PlanCommand.self, RotateCommand.self, DeployCommand.self, RollbackCommand.self, CSRCommand.self,
                    ImportCommand.self, ImportFromCommand.self, RevokeCommand.self,
                ]),
            CommandGroup(
                name: "Look",
                subcommands: [
                    StatusCommand.self, TimelineCommand.self, HistoryCommand.self, InspectCommand.self,
                    VerifyCommand.self, ProbeCommand.self, DriftCommand.self, ScanCommand.self,
                ]),
            CommandGroup(name: "Maintain", subcommands: [MaintenanceCommand.self, WindowCommand.self]),
            CommandGroup(
                name: "Serve",
                subcommands: [ServeCommand.self, HealthCommand.self, MetricsCommand.self, NotifyCommand.self]),
        ])

    @OptionGroup var global: GlobalOptions

    static func main() async {
        // A peer that closes its connection must be an error of a write, not the end of the process.
        signal(SIGPIPE, SIG_IGN)
        ProcessLimits.raiseOpenFiles()
        ProcessLimits.forgetDatabaseEnvironment()
        do {
            var command = try parseAsRoot()
            if var asynchronous = command as? any AsyncParsableCommand {
                try await asynchronous.run()
            } else {
                try command.run()
            }
        } catch let status as ExitStatus {
            Foundation.exit(status.rawValue)
        } catch let error as CertsError {
            Terminal.complain(error)
            Foundation.exit(ExitStatus(error).rawValue)
        } catch {
            exit(withError: error)
        }
    }
}

/// What the product says of itself.
enum Product {
    static let version = "0.1.0"
}
