import CertsCore

/// A program, run by its argument vector.
struct CommandReloader: Reloader {
    let command: CommandLine

    /// What the command will do cannot be known before it runs.
    func check(bundlePaths: [String]) async -> [Finding] { [] }

    func reload(within limit: Duration) async throws -> ReloadOutcome {
        try await command.run(purpose: "the reload command")
        return ReloadOutcome(evidence: .askedFor)
    }
}
