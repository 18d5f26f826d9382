package import CertsCore
import Foundation

/// Debian's Redis on a free port of the loopback, ended by its own pid.
package final class RealRedis: Sendable {
    package let port: Int
    private let directory: TemporaryDirectory
    private let process: ServerProcess

    /// Starts it and returns when it answers. Blocking.
    package init() throws {
        directory = try TemporaryDirectory(prefix: "certs-redis")
        port = try LoopbackPort.reserve()
        process = ServerProcess(
            [
                "redis-server", "--port", String(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
                "--dir", directory.path,
            ], directory: directory.path, log: directory.path("redis.log"))
        let ask = ["redis-cli", "-p", String(port), "ping"]
        try process.start { (try? Tool.run(ask).output.contains("PONG")) == true }
    }

    deinit { process.stop() }

    package var declaration: RedisDeclaration { RedisDeclaration(host: "127.0.0.1", port: port) }

    /// What `redis-cli` prints. Blocking.
    @discardableResult
    package func cli(_ words: String...) throws -> String {
        try Tool.run(["redis-cli", "-p", String(port)] + words).output.trimmingCharacters(in: .whitespacesAndNewlines)
    }
}
