package import CertsCore
package import Foundation
import Subprocess
import SystemPackage

/// A program of the user that gets the message as JSON on its standard input. No shell, nothing of our environment but
/// PATH and HOME, a deadline, bounded output.
package struct CommandChannel: NotificationChannel {
    let name: Name
    let arguments: [String]
    /// Seconds.
    let timeout: TimeInterval

    /// Of each stream, in bytes; a program that prints more is ended.
    private static let outputLimit = 64 << 10

    package init(name: Name, arguments: [String], timeout: TimeInterval) {
        self.name = name
        self.arguments = arguments
        self.timeout = timeout
    }

    package func send(_ message: NotificationMessage) async throws {
        guard let program = arguments.first, !program.isEmpty else {
            throw CertsError(
                .configurationInvalid, "the command of \(name) is empty",
                hint: "give the program and its arguments as a list")
        }
        let shown = TerminalText.sanitized(URL(filePath: program).lastPathComponent, limit: 200)
        let input = Array(try MessageJSON.encode(message))
        let vector = Array(arguments.dropFirst())
        let ended: Ended
        do {
            ended = try await Self.firstOf(deadline: .milliseconds(Int(max(1, min(timeout, 3600) * 1000)))) {
                try await Self.start(program, vector, input)
            }
        } catch is DeadlinePassed {
            throw failure("did not end within \(timeout) s", shown, "look why it waits, or give it more time (timeout)")
        } catch let error as SubprocessError {
            throw failure(
                "could not be run: \(error)", shown,
                "check its path and mode, that it reads its input, and how much it prints (at most 64 KiB)")
        }
        guard !ended.succeeded else { return }
        throw failure(
            "failed (\(ended.status)): \(ended.lastLines ?? "it printed nothing")", shown,
            "run it by hand as the user of certs and mend what it says")
    }

    private func failure(_ what: String, _ shown: String, _ hint: String) -> CertsError {
        CertsError(
            .notificationFailed, "the command '\(shown)' of \(name) \(what)", subject: name.rawValue, hint: hint,
            retry: .later)
    }

    private struct Ended: Sendable {
        var succeeded: Bool
        var status: String
        var lastLines: String?
    }

    private static func start(_ program: String, _ arguments: [String], _ input: [UInt8]) async throws -> Ended {
        var options = PlatformOptions()
        // A session of its own: children end with the program at the deadline, and nothing can ask a terminal.
        options.createSession = true
        options.teardownSequence = [.gracefulShutDown(toProcessGroup: true, allowedDurationToNextStep: .seconds(1))]
        let environment = Environment.custom([
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": ProcessInfo.processInfo.environment["HOME"] ?? "/", "LC_ALL": "C",
        ])
        let file = try Self.file(with: input)
        defer { try? file.close() }
        let result = try await Subprocess.run(
            program.contains("/") ? .path(FilePath(program)) : .name(program), arguments: Arguments(arguments),
            environment: environment, platformOptions: options,
            input: .fileDescriptor(file, closeAfterSpawningProcess: false),
            output: .bytes(limit: outputLimit),
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

    /// A file without a name that is read from its begin. Not a pipe: a program that ends without reading it would break
    /// that, and may do so.
    private static func file(with input: [UInt8]) throws -> FileDescriptor {
        let path = "\(FileManager.default.temporaryDirectory.path)/certs-message-\(UUID().uuidString)"
        let raw = open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o600)
        guard raw >= 0 else {
            throw CertsError(
                .notificationFailed, "the message cannot be written: \(String(cString: strerror(errno)))",
                hint: "make room in the directory for temporary files", retry: .later)
        }
        unlink(path)
        let file = FileDescriptor(rawValue: raw)
        do {
            try file.writeAll(input)
            try file.seek(offset: 0, from: .start)
        } catch {
            try? file.close()
            throw error
        }
        return file
    }

    private static func lastLines(_ output: [UInt8]) -> String? {
        let lines = String(decoding: output.suffix(4096), as: UTF8.self).split(whereSeparator: \.isNewline).suffix(5)
        return lines.isEmpty ? nil : TerminalText.sanitized(lines.joined(separator: " | "), limit: 1000)
    }

    private struct DeadlinePassed: Error {}

    /// What `body` gives, or `DeadlinePassed`. It does not wait for a body that takes its time to end.
    private static func firstOf<Value: Sendable>(
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
}
