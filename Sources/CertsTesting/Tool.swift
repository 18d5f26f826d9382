import Foundation

/// A real program, run by a test: its absence is an error, never a skip.
package enum Tool {
    package struct Outcome: Sendable {
        package let status: Int32
        /// Standard output and standard error together.
        package let output: String
    }

    package struct Failure: Error, CustomStringConvertible {
        package let description: String
    }

    /// Runs `arguments` (found through `PATH`), at most a minute. Blocking.
    @discardableResult
    package static func run(_ arguments: String..., directory: String? = nil) throws -> Outcome {
        try run(arguments, directory: directory)
    }

    /// As above.
    @discardableResult
    package static func run(_ arguments: [String], directory: String? = nil) throws -> Outcome {
        let scratch = try TemporaryDirectory(prefix: "certs-tool")
        // Into a file: a pipe would stay open in any other child that is started at the same moment.
        let output = scratch.path("output")
        let child = try start(["timeout", "60", "env", "-C", directory ?? "."] + arguments, output: output)
        let status = wait(for: child)
        if status == 127 { throw Failure(description: "\(arguments.first ?? "") is not installed") }
        let text = String(decoding: FileManager.default.contents(atPath: output) ?? Data(), as: UTF8.self)
        return Outcome(status: status, output: text)
    }

    /// Starts `arguments` with an empty standard input; the caller ends and awaits the child by its pid.
    package static func start(_ arguments: [String], output: String = "/dev/null") throws -> Int32 {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_addopen(&actions, 1, output, O_WRONLY | O_CREAT | O_APPEND, 0o600)
        posix_spawn_file_actions_adddup2(&actions, 1, 2)
        // Pipes of other tests must not live on in a child: their readers would never see an end.
        _ = closeFrom?(&actions, 3)
        // A thread of a pool blocks signals, and a child inherits that: it could not be told to end.
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var noSignals = sigset_t()
        sigemptyset(&noSignals)
        posix_spawnattr_setsigmask(&attributes, &noSignals)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK))
        var pointers = arguments.map { strdup($0) } + [nil]
        defer { pointers.forEach { free($0) } }
        var child: pid_t = 0
        let code = posix_spawnp(&child, arguments.first ?? "", &actions, &attributes, &pointers, environ)
        guard code == 0 else {
            throw Failure(description: "cannot start \(arguments): \(String(cString: strerror(code)))")
        }
        return child
    }

    /// `posix_spawn_file_actions_addclosefrom_np` of glibc 2.34, which its header hides from Swift.
    private static let closeFrom = dlsym(nil, "posix_spawn_file_actions_addclosefrom_np").map {
        unsafeBitCast($0, to: (@convention(c) (UnsafeMutablePointer<posix_spawn_file_actions_t>, Int32) -> Int32).self)
    }

    /// The exit code of a child, or 128 and its signal.
    @discardableResult
    package static func wait(for child: Int32) -> Int32 {
        var status: Int32 = 0
        while waitpid(child, &status, 0) < 0, errno == EINTR {}
        return status & 0x7f == 0 ? (status >> 8) & 0xff : 128 + (status & 0x7f)
    }
}
