import CertsCore
import Foundation
import Subprocess
import SystemPackage

/// A program of the user: `RUN… present|remove NAME VALUE`. No shell, nothing of our environment but PATH and HOME, a
/// deadline, bounded output.
struct CommandWriter: DNSRecordWriter {
    let arguments: [String]
    /// Seconds.
    let timeout: TimeInterval

    /// Of each stream, in bytes; a program that prints more is ended.
    private static let outputLimit = 256 << 10

    func add(_ value: String, at name: String) async throws { try await run("present", name, value) }
    func remove(_ value: String, at name: String) async throws { try await run("remove", name, value) }

    private func run(_ action: String, _ name: String, _ value: String) async throws {
        guard let program = arguments.first, !program.isEmpty else {
            throw CertsError(
                .configurationInvalid, "the DNS command is empty", hint: "give the program and its arguments as a list")
        }
        let shown = ([URL(filePath: program).lastPathComponent, action, name])
            .map { TerminalText.sanitized($0, limit: 200) }.joined(separator: " ")
        let vector = arguments.dropFirst() + [action, name, value]
        let ended: Ended
        do {
            ended = try await firstOf(deadline: .milliseconds(Int(max(1, timeout * 1000)))) {
                try await Self.start(program, Array(vector))
            }
        } catch is DeadlinePassed {
            throw CertsError(
                .challengeFailed, "the DNS command '\(shown)' did not end within \(timeout) s", subject: name,
                hint: "look why it waits, or give it more time (timeout)", retry: .later)
        } catch let error as SubprocessError {
            throw CertsError(
                .challengeFailed, "the DNS command '\(shown)' could not be run", subject: name,
                hint: "check its path and mode, and how much it prints (at most 256 KiB)", cause: error)
        }
        guard !ended.succeeded else { return }
        throw CertsError(
            .challengeFailed,
            "the DNS command '\(shown)' failed (\(ended.status)): \(ended.lastLines ?? "it printed nothing")",
            subject: name, hint: "run it by hand as the user of certs and mend what it says", retry: .later)
    }

    private struct Ended: Sendable {
        var succeeded: Bool
        var status: String
        var lastLines: String?
    }

    private static var environment: Environment {
        let ours = ProcessInfo.processInfo.environment
        return .custom([
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": ours["HOME"] ?? "/",
            "LC_ALL": "C",
        ])
    }

    private static func start(_ program: String, _ arguments: [String]) async throws -> Ended {
        var options = PlatformOptions()
        // A session of its own: children end with the program at the deadline, and nothing can ask a terminal.
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
            succeeded: result.terminationStatus.isSuccess, status: status,
            lastLines: lastLines(result.standardError) ?? lastLines(result.standardOutput))
    }

    private static func lastLines(_ output: [UInt8]) -> String? {
        let lines = String(decoding: output.suffix(4096), as: UTF8.self).split(whereSeparator: \.isNewline).suffix(5)
        return lines.isEmpty ? nil : TerminalText.sanitized(lines.joined(separator: " | "), limit: 1000)
    }
}

private struct DeadlinePassed: Error {}

/// What `body` gives, or `DeadlinePassed`. It does not wait for a body that takes its time to end.
private func firstOf<Value: Sendable>(
    deadline: Duration, _ body: @escaping @Sendable () async throws -> Value
) async throws -> Value {
    let (outcomes, outcome) = AsyncStream.makeStream(of: Result<Value, any Error>.self)
    let work = Task {
        do { outcome.yield(.success(try await body())) } catch { outcome.yield(.failure(error)) }
    }
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
