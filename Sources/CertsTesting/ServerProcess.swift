import Foundation
import Synchronization

/// A real server that a test starts: with a log of its own, ended by its own pid, never older than half an hour.
package final class ServerProcess: Sendable {
    private let arguments: [String]
    private let environment: [String: String]
    private let directory: String
    private let log: String
    /// `nil`: not running, as far as we have to do with it.
    private let child = Mutex<Int32?>(nil)

    /// - Parameters:
    ///   - arguments: the program, found through `PATH`, and its arguments.
    ///   - environment: added to that of the tests.
    ///   - directory: its working directory.
    ///   - log: the file to which standard output and standard error are added.
    package init(_ arguments: [String], environment: [String: String] = [:], directory: String, log: String) {
        self.arguments = arguments
        self.environment = environment
        self.directory = directory
        self.log = log
    }

    deinit { stop() }

    /// What it printed.
    package var output: String { String(decoding: FileManager.default.contents(atPath: log) ?? Data(), as: UTF8.self) }

    package var isRunning: Bool {
        child.withLock { child in
            guard let running = child else { return false }
            var status: Int32 = 0
            guard waitpid(running, &status, WNOHANG) == 0 else {
                child = nil
                return false
            }
            return true
        }
    }

    /// Starts it and returns when `isReady`. Blocking, for at most `seconds`.
    package func start(within seconds: Int = 30, isReady: () -> Bool) throws {
        guard !isRunning else { return }
        // `timeout` passes the signals on that it gets, and ends what a killed test run leaves behind.
        let variables = environment.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }
        let pid = try Tool.start(
            ["timeout", "1800", "env", "-C", directory] + variables + arguments, output: log)
        child.withLock { $0 = pid }
        for _ in 0..<(seconds * 50) {
            guard isRunning else { throw failure("ended at once") }
            if isReady() { return }
            usleep(20_000)
        }
        let error = failure("does not get ready within \(seconds) s")
        stop()
        throw error
    }

    /// Ends it, gently first. Blocking, for at most 6 s.
    package func stop() {
        guard isRunning, let running = child.withLock({ $0 }) else { return }
        kill(running, SIGTERM)
        for _ in 0..<500 where isRunning { usleep(10_000) }
        guard isRunning else { return }
        // `timeout` leads a process group of its own, with the server in it.
        kill(-running, SIGKILL)
        for _ in 0..<100 where isRunning { usleep(10_000) }
    }

    private func failure(_ what: String) -> Tool.Failure {
        Tool.Failure(description: "\(arguments.first ?? "") \(what): \(output.suffix(2000))")
    }
}
