import CertsCore
import Foundation
import Subprocess
import SystemPackage

/// Runs the commands of the configuration: an argument vector, never a shell; a deadline; bounded output; nothing of
/// our own environment, which may hold secrets.
enum CommandRunner {
    /// Of each stream, in bytes; a command that prints more is ended.
    static let outputLimit = 1 << 20

    private static let environment: Environment = .custom([
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C",
    ])

    /// - Parameter purpose: begins the message of an error, e.g. `the reload command`.
    /// - Returns: what it printed to its standard output.
    /// - Throws: `target.reloadFailed` with the exit code and the last lines that the command printed.
    @discardableResult
    static func run(_ command: CertsCore.CommandLine, purpose: String) async throws -> String {
        guard let program = command.arguments.first else {
            throw CertsError(
                .configurationInvalid, "\(purpose) is empty", hint: "give the program and its arguments as a list")
        }
        let shown = command.arguments.map { TerminalText.sanitized($0, limit: 200) }.joined(separator: " ")
        let ended: Ended
        do {
            ended = try await race(command.deadline) { try await start(program, Array(command.arguments.dropFirst())) }
        } catch is DeadlinePassed {
            throw CertsError(
                .targetReloadFailed, "\(purpose) '\(shown)' did not end within \(command.deadline)",
                hint: "look why it waits, or give it more time", retry: .later)
        } catch let error as SubprocessError {
            throw CertsError(
                .targetReloadFailed, "\(purpose) '\(shown)' could not be run",
                hint: "check its path and mode, and how much it prints",
                cause: error)
        }
        guard !ended.succeeded else { return String(decoding: ended.standardOutput, as: UTF8.self) }
        let words = lastLines(ended.standardError) ?? lastLines(ended.standardOutput) ?? "it printed nothing"
        throw CertsError(
            .targetReloadFailed, "\(purpose) '\(shown)' failed (\(ended.status)): \(words)",
            hint: "run it by hand as the user of certs and mend what it says (`haproxy -c` says nothing with `-q`)",
            retry: .later)
    }

    private struct Ended: Sendable {
        var succeeded: Bool
        var status: String
        var standardOutput: [UInt8]
        var standardError: [UInt8]
    }

    private static func start(_ program: String, _ arguments: [String]) async throws -> Ended {
        var options = PlatformOptions()
        // A session of its own: at the deadline the children of the command end with it, and it has no terminal to ask.
        options.createSession = true
        options.teardownSequence = [.gracefulShutDown(toProcessGroup: true, allowedDurationToNextStep: .seconds(1))]
        let result = try await Subprocess.run(
            program.contains("/") ? .path(FilePath(program)) : .name(program), arguments: Arguments(arguments),
            environment: environment, platformOptions: options, input: .none, output: .bytes(limit: outputLimit),
            error: .bytes(limit: outputLimit))
        let status =
            switch result.terminationStatus {
            case .exited(let code): "exit code \(code)"
            case .signaled(let number): "signal \(number)"
            }
        return Ended(
            succeeded: result.terminationStatus.isSuccess, status: status, standardOutput: result.standardOutput,
            standardError: result.standardError)
    }

    private struct DeadlinePassed: Error {}

    /// The first of two: `body`, or the deadline. Unlike a task group it does not wait for the loser, which may take its
    /// time to end: what the caller was promised is the deadline.
    private static func race<Value: Sendable>(
        _ deadline: Duration, _ body: @escaping @Sendable () async throws -> Value
    ) async throws -> Value {
        let (outcomes, outcome) = AsyncStream.makeStream(of: Result<Value, any Error>.self)
        let work = Task { outcome.yield(await Result { try await body() }) }
        let timer = Task {
            try await Task.sleep(for: deadline)
            outcome.yield(.failure(DeadlinePassed()))
        }
        defer {
            work.cancel()
            timer.cancel()
        }
        for await first in outcomes { return try first.get() }
        throw CancellationError()
    }

    private static func lastLines(_ output: [UInt8]) -> String? {
        let lines = String(decoding: output.suffix(4096), as: UTF8.self).split(whereSeparator: \.isNewline).suffix(5)
        return lines.isEmpty ? nil : TerminalText.sanitized(lines.joined(separator: " | "), limit: 1000)
    }
}
