import CertsCore
import CertsTesting
import Foundation

/// Blocking work of the tests: away from the cooperative pool, whose two threads belong to all tests.
let blocking = BlockingPool(name: "end-to-end", width: 32)

/// A real program, started with its own standard output and standard error, and a deadline.
struct Program: Sendable {
    struct Outcome: Sendable {
        /// The exit code, or 128 and the number of the signal that ended it.
        let status: Int32
        let output: Data
        let errors: String
        let seconds: Double

        var text: String { String(decoding: output, as: UTF8.self) }
        /// Both streams, for the message of a failed expectation.
        var all: String { "exit \(status) after \(seconds) s\n\(text)\n\(errors)" }
    }

    struct Failure: Error, CustomStringConvertible {
        let description: String
    }

    let arguments: [String]
    var environment: [String: String] = [:]
    var input = "/dev/null"
    /// After which it is killed, and the test fails. In seconds.
    var deadline: Double = 60

    /// Runs to the end.
    func run() async throws -> Outcome {
        try await blocking.run { try runBlocking() }
    }

    func runBlocking() throws -> Outcome {
        let scratch = try TemporaryDirectory(prefix: "certs-e2e-run")
        let begin = Date()
        let child = try start(output: scratch.path("output"), errors: scratch.path("errors"))
        guard let status = Self.wait(for: child, seconds: deadline) else {
            kill(child, SIGKILL)
            _ = Self.wait(for: child, seconds: 10)
            throw Failure(description: "\(arguments) did not end within \(deadline) s")
        }
        if status == 127 { throw Failure(description: "\(arguments.first ?? "") is not installed") }
        func contents(_ name: String) -> Data { FileManager.default.contents(atPath: scratch.path(name)) ?? Data() }
        return Outcome(
            status: status, output: contents("output"), errors: String(decoding: contents("errors"), as: UTF8.self),
            seconds: Date().timeIntervalSince(begin))
    }

    /// Starts it and returns its pid; the caller ends and awaits it.
    func start(output: String, errors: String) throws -> pid_t {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, input, O_RDONLY, 0)
        posix_spawn_file_actions_addopen(&actions, 1, output, O_WRONLY | O_CREAT | O_APPEND, 0o600)
        posix_spawn_file_actions_addopen(&actions, 2, errors, O_WRONLY | O_CREAT | O_APPEND, 0o600)
        // Sockets of the tests must not live on in a child: their other end would never see them closed.
        _ = Self.closeFrom?(&actions, 3)
        var variables = ProcessInfo.processInfo.environment.filter { !$0.key.hasPrefix("CERTS_") }
        variables.merge(environment) { $1 }
        var words = arguments.map { strdup($0) } + [nil]
        var settings = variables.map { strdup("\($0)=\($1)") } + [nil]
        defer { (words + settings).forEach { free($0) } }
        var child: pid_t = 0
        let code = posix_spawnp(&child, arguments.first ?? "", &actions, nil, &words, &settings)
        guard code == 0 else {
            throw Failure(description: "cannot start \(arguments): \(String(cString: strerror(code)))")
        }
        return child
    }

    /// `posix_spawn_file_actions_addclosefrom_np` of glibc 2.34, which its header hides from Swift.
    private static let closeFrom = dlsym(nil, "posix_spawn_file_actions_addclosefrom_np").map {
        unsafeBitCast($0, to: (@convention(c) (UnsafeMutablePointer<posix_spawn_file_actions_t>, Int32) -> Int32).self)
    }

    /// The exit code of a child (128 and its signal); `nil`: it still runs. Blocking.
    static func wait(for child: pid_t, seconds: Double) -> Int32? {
        var status: Int32 = 0
        let end = Date().addingTimeInterval(seconds)
        while true {
            let ended = waitpid(child, &status, WNOHANG)
            if ended == child { return status & 0x7f == 0 ? (status >> 8) & 0xff : 128 + (status & 0x7f) }
            if ended < 0, errno != EINTR { return 127 }
            if Date() > end { return nil }
            usleep(2000)
        }
    }
}

/// Runs `arguments` and expects it to succeed; both streams together.
@discardableResult
func tool(_ arguments: String...) async throws -> String {
    let outcome = try await Program(arguments: arguments).run()
    guard outcome.status == 0 else { throw Program.Failure(description: "\(arguments): \(outcome.all)") }
    return outcome.text + outcome.errors
}

/// Asks until `condition` holds, at most `seconds`; whether it did.
func eventually(within seconds: Double = 20, _ condition: () async throws -> Bool) async throws -> Bool {
    let end = Date().addingTimeInterval(seconds)
    while Date() < end {
        if try await condition() { return true }
        try await blocking.run { _ = usleep(20_000) }
    }
    return false
}
