package import CertsCore
import Foundation
import Synchronization

/// Debian's PostgreSQL, started in a directory of its own on a Unix socket, ended by its own pid.
///
/// As root it runs as the user `postgres`, because it refuses to run as root.
package final class RealPostgres: Sendable {
    package let directory: TemporaryDirectory
    private let process: ServerProcess
    private let count = Atomic(0)

    package struct Failed: Error, CustomStringConvertible {
        package let description: String
    }

    private static let programs = "/usr/lib/postgresql/15/bin"
    package static let user = "postgres"
    package static let port = 5432

    /// The directory of its socket.
    package var host: String { directory.path("run") }

    /// Makes a cluster and starts it. Blocking.
    package init() throws {
        guard FileManager.default.isExecutableFile(atPath: "\(Self.programs)/initdb") else {
            throw Failed(description: "\(Self.programs)/initdb is not installed: apt-get install postgresql")
        }
        directory = try TemporaryDirectory(prefix: "certs-pg")
        try FileManager.default.createDirectory(atPath: directory.path("run"), withIntermediateDirectories: false)
        if geteuid() == 0 {
            try Self.expect("chown", "-R", Self.user, directory.path)
            chmod(directory.path, 0o755)
        }
        try Self.expect(
            Self.asServer + [
                "\(Self.programs)/initdb", "--no-sync", "-U", Self.user, "-E", "UTF8", "--locale=C.UTF-8", "-A",
                "trust",
                "-D", directory.path("cluster"),
            ])
        process = ServerProcess(
            Self.asServer + [
                "\(Self.programs)/postgres", "-D", directory.path("cluster"), "-k", directory.path("run"),
                "-c", "listen_addresses=", "-c", "fsync=off", "-c", "max_connections=200", "-c", "shared_buffers=64MB",
                "-c", "autovacuum=off", "-c", "unix_socket_permissions=0777",
            ], directory: "/tmp", log: directory.path("postgres.log"))
        try start()
    }

    deinit { process.stop() }

    /// Starts it again after ``stop()``. Blocking.
    package func start() throws {
        let ready = Self.asServer + ["\(Self.programs)/pg_isready", "-q", "-h", host]
        try process.start(within: 60) { (try? Tool.run(ready).status) == 0 }
    }

    /// Blocking.
    package func stop() { process.stop() }

    /// Ends all sessions and itself, as an administrator's restart does. Blocking.
    package func stopAtOnce() throws {
        try Self.expect(
            Self.asServer + ["\(Self.programs)/pg_ctl", "-D", directory.path("cluster"), "-m", "fast", "-w", "stop"])
        process.stop()
    }

    /// What it logged.
    package var output: String { process.output }

    private static var asServer: [String] {
        geteuid() == 0 ? ["setpriv", "--reuid", user, "--regid", user, "--clear-groups"] : []
    }

    private static func expect(_ arguments: String...) throws { try expect(arguments) }

    private static func expect(_ arguments: [String]) throws {
        let outcome = try Tool.run(arguments)
        guard outcome.status == 0 else { throw Failed(description: "\(arguments): \(outcome.output)") }
    }

    /// Runs SQL through `psql` and returns what it printed, unaligned. Blocking.
    @discardableResult
    package func psql(_ sql: String, database: String = "postgres") throws -> String {
        let outcome = try Tool.run([
            "psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", host, "-U", Self.user, "-d", database, "-c",
            sql,
        ])
        guard outcome.status == 0 else { throw Failed(description: "\(sql.prefix(200)): \(outcome.output)") }
        return outcome.output.trimmingCharacters(in: .whitespacesAndNewlines)
    }

    /// A new database with the tables of `schema`. Blocking.
    package func makeDatabase(_ schema: String = "") throws -> String {
        let name = "test_\(count.add(1, ordering: .relaxed).newValue)"
        try psql("CREATE DATABASE \(name) TEMPLATE template0")
        if !schema.isEmpty { try psql(schema, database: name) }
        return name
    }

    /// How to connect to `database`.
    package func declaration(_ database: String) -> DatabaseDeclaration {
        DatabaseDeclaration(host: host, port: Self.port, name: database, user: Self.user)
    }

    /// The server that all tests of one process share, each with a database of its own; ended with the process.
    package static func shared() async throws -> RealPostgres {
        try await BlockingPool.network.run {
            try common.withLock { common in
                if let common { return common }
                let started = try RealPostgres()
                common = started
                atexit { RealPostgres.stopShared() }
                return started
            }
        }
    }

    private static let common = Mutex<RealPostgres?>(nil)

    private static func stopShared() { common.withLock { $0 = nil } }
}
