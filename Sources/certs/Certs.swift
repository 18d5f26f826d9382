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
        var isLog = LogFormat.asked == .json
        do {
            var command = try parseAsRoot()
            isLog = Self.isLog(command)
            if var asynchronous = command as? any AsyncParsableCommand {
                try await asynchronous.run()
            } else {
                try command.run()
            }
        } catch let status as ExitStatus {
            Foundation.exit(status.rawValue)
        } catch let error as CertsError {
            Terminal.complain(error, isJSON: isLog)
            Foundation.exit(ExitStatus(error).rawValue)
        } catch {
            end(with: error, isLog: isLog)
        }
    }

    /// Whether the error that ends the command is an event of a log.
    private static func isLog(_ command: any ParsableCommand) -> Bool {
        (command as? any LoggingCommand)?.global.logFormat.isJSON ?? (LogFormat.asked == .json)
    }

    /// Help, the version, a command line that is not understood, and whatever else is thrown.
    private static func end(with error: any Error, isLog: Bool) -> Never {
        let code = exitCode(for: error)
        guard isLog, code != .success else { exit(withError: error) }
        let text = message(for: error)
        let failure = CertsError(
            code == .validationFailure ? .usage : .internal, text.isEmpty ? "\(error)" : text,
            hint: code == .validationFailure ? "see `certs COMMAND --help`" : nil)
        Terminal.complain(failure, isJSON: true)
        Foundation.exit(code.rawValue)
    }
}

/// What the product says of itself.
enum Product {
    static let version = "0.1.0"
}
