import CertsCore
import Foundation
import Subprocess
import SystemPackage

/// A program that the configuration names: an argument vector, never a shell; a deadline; bounded output; nothing of our
/// own environment, which may hold secrets, but `HOME` where it is asked for.
package struct Program: Sendable {
    /// The program, found through `PATH` or by its path, and its arguments.
    package let arguments: [String]
    package let deadline: Duration
    /// Of each stream, in bytes; a program that prints more is ended.
    package let outputLimit: Int
    package let keepsHome: Bool

    package init(_ arguments: [String], deadline: Duration, outputLimit: Int, keepsHome: Bool = false) {
        self.arguments = arguments
        self.deadline = deadline
        self.outputLimit = outputLimit
        self.keepsHome = keepsHome
    }

    /// The words of `arguments` for messages.
    package static func shown(_ arguments: [String]) -> String {
        arguments.map { TerminalText.sanitized($0, limit: 200) }.joined(separator: " ")
    }

    /// Runs it.
    ///
    /// - Parameter input: its standard input; it may end without having read it.
    /// - Returns: what it printed to its standard output.
    /// - Throws: ``ProgramFailure``; an error of the file system for `input`; `CancellationError`.
    @discardableResult
    package func run(input: [UInt8] = []) async throws -> [UInt8] {
        guard let program = arguments.first, !program.isEmpty else { throw ProgramFailure.empty }
        let ended: Ended
        do {
            ended = try await race(deadline) { try await start(program, input) }
        } catch is DeadlinePassed {
            throw ProgramFailure.late(deadline)
        } catch let error as SubprocessError {
            throw ProgramFailure.notRun(error, outputLimit: outputLimit)
        }
        guard let status = ended.failure else { return ended.standardOutput }
        let words = Self.lastLines(ended.standardError) ?? Self.lastLines(ended.standardOutput)
        throw ProgramFailure.failed(status: status, words: words ?? "it printed nothing")
    }

    private struct Ended: Sendable {
        /// `nil`: exit code 0.
        var failure: String?
        var standardOutput: [UInt8]
        var standardError: [UInt8]
    }

    private var environment: Environment {
        var values: [Environment.Key: String] = [
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C",
        ]
        if keepsHome { values["HOME"] = ProcessInfo.processInfo.environment["HOME"] ?? "/" }
        return .custom(values)
    }

    private func start(_ program: String, _ input: [UInt8]) async throws -> Ended {
        var options = PlatformOptions()
        // A session of its own: at the deadline its children end with it, and it has no terminal to ask.
        options.createSession = true
        options.teardownSequence = [.gracefulShutDown(toProcessGroup: true, allowedDurationToNextStep: .seconds(1))]
        let file = try Self.file(with: input)
        defer { try? file.close() }
        let result = try await Subprocess.run(
            program.contains("/") ? .path(FilePath(program)) : .name(program),
            arguments: Arguments(Array(arguments.dropFirst())), environment: environment, platformOptions: options,
            input: .fileDescriptor(file, closeAfterSpawningProcess: false), output: .bytes(limit: outputLimit),
            error: .bytes(limit: outputLimit))
        let failure: String? =
            switch result.terminationStatus {
            case .exited(0): nil
            case .exited(let code): "exit code \(code)"
            case .signaled(let number): "signal \(number)"
            }
        return Ended(
            failure: failure, standardOutput: result.standardOutput, standardError: result.standardError)
    }

    /// A file without a name that is read from its begin. Not a pipe: a program that ends without reading it would break
    /// that, and may do so.
    private static func file(with input: [UInt8]) throws -> FileDescriptor {
        if input.isEmpty { return try FileDescriptor.open("/dev/null", .readOnly, options: [.closeOnExec]) }
        let path = FilePath("\(FileManager.default.temporaryDirectory.path)/certs-input-\(UUID().uuidString)")
        let file = try FileDescriptor.open(
            path, .readWrite, options: [.create, .exclusiveCreate, .noFollow, .closeOnExec],
            permissions: .ownerReadWrite)
        unlink(path.string)
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
}

private struct DeadlinePassed: Error {}

/// The first of two: `body`, or the deadline. Unlike a task group it does not wait for the loser, which may take its time
/// to end: what the caller was promised is the deadline.
private func race<Value: Sendable>(
    _ deadline: Duration, _ body: @escaping @Sendable () async throws -> Value
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
    // In a task of its own: a stream ends with the task that is cancelled, and the program is to be ended before we return.
    let first = Task { await outcomes.first { _ in true } }
    let result = await withTaskCancellationHandler {
        await first.value
    } onCancel: {
        work.cancel()
        Task {
            try? await Task.sleep(for: .seconds(2))
            outcome.finish()
        }
    }
    guard let result, !Task.isCancelled else { throw CancellationError() }
    return try result.get()
}
