import CertsCore
import CertsMaintenance
import CertsStore
import CertsTesting
import Foundation
import Logging
import Synchronization
import Testing

/// A state directory, an admin API, and a clock that can be moved on.
final class WindowShop: Sendable {
    let directory: TemporaryDirectory
    let database: Database
    let state: StateDirectory
    let server: AdminServer
    let maintenance: MaintenanceDeclaration
    /// By how much the clock is ahead of the real one, in seconds.
    let ahead = Mutex<TimeInterval>(0)

    static let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

    private init(
        _ directory: TemporaryDirectory, _ state: StateDirectory, _ server: AdminServer,
        _ maintenance: MaintenanceDeclaration
    ) async throws {
        self.directory = directory
        self.state = state
        self.server = server
        self.maintenance = maintenance
        database = try await Database.open(in: state)
    }

    /// - Parameters:
    ///   - tasks: jobs that need an emergency window: a name and a program.
    ///   - change: of the declaration that comes of it.
    static func make(
        _ tasks: [(String, [String])] = [], verify: [[String]] = [], readsMode: Bool = false,
        _ change: (inout MaintenanceDeclaration) -> Void = { _ in }
    ) async throws -> WindowShop {
        let directory = try TemporaryDirectory(prefix: "certs-windows")
        let server = try AdminServer()
        var maintenance = MaintenanceDeclaration(
            jobs: try tasks.map { name, arguments in
                JobDeclaration(
                    name: try Name(name), work: .command(CommandWork(arguments)), schedule: JobSchedule(.every(1)),
                    deadline: 60, retries: 0, window: .emergency)
            }, windows: [WindowDeclaration(.emergency, duration: 3600, verify: verify)],
            admin: AdminDeclaration(url: server.url, tokenFile: "", readsMode: readsMode, timeout: 2))
        change(&maintenance)
        return try await WindowShop(
            directory, try await StateDirectory.open(at: directory.path("state"), create: true), server, maintenance)
    }

    var now: @Sendable () -> Date { { [self] in Date().addingTimeInterval(ahead.withLock { $0 }) } }

    func advance(by seconds: TimeInterval) { ahead.withLock { $0 += seconds } }

    var runner: JobRunner {
        JobRunner(
            executor: JobExecutor(maintenance) { _ in Secret(copying: []) }, ledger: database, locks: state,
            logger: Self.logger, host: "host", now: now)
    }

    var mode: MaintenanceMode {
        let admin = maintenance.admin.map { AdminClient($0) { Secret(copying: Array(AdminServer.token.utf8)) } }
        return MaintenanceMode(admin: admin, ledger: database, locks: state, logger: Self.logger, now: now)
    }

    var gate: WindowGate { WindowGate(maintenance, windows: database, jobs: database) }

    var procedure: WindowProcedure {
        WindowProcedure(
            maintenance, runner: runner, mode: mode,
            certificates: { [.init(subject: "certificate messenger", holds: true, detail: "valid until 2026-03-04")] })
    }

    func open(_ change: (inout WindowProcedure.Request) -> Void = { _ in }) async throws -> WindowRecord {
        var request = WindowProcedure.Request(.emergency, openedBy: "ops@host")
        change(&request)
        return try await procedure.open(request)
    }

    func events(_ window: WindowRecord) async throws -> [String] {
        try await database.events(of: window.id).map {
            [$0.step.rawValue, $0.result.rawValue, $0.subject].filter { !$0.isEmpty }.joined(separator: " ")
        }
    }

    func metrics() async throws -> String {
        PrometheusText.render(try await WindowMetrics.families(maintenance, database, now: now()))
    }

    /// The requests that change something, in their order.
    var posts: [String] { server.requests.filter { $0.method == "POST" }.map(\.body) }

    /// A program that keeps what the admin API says of the mode.
    func look(into name: String) -> [String] {
        [
            "/usr/bin/curl", "-sf", "-H", "Authorization: Bearer \(AdminServer.token)", "-o", directory.path(name),
            server.url + AdminServer.maintenance,
        ]
    }

    func text(_ name: String) -> String {
        String(decoding: FileManager.default.contents(atPath: directory.path(name)) ?? Data(), as: UTF8.self)
    }
}
