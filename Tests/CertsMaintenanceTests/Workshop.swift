import CertsCore
import CertsMaintenance
import CertsStore
import CertsTesting
import Foundation
import Logging

/// A state directory with a ledger, and a messenger's database.
struct Workshop: Sendable {
    let directory: TemporaryDirectory
    let messenger: Messenger
    let database: Database
    let state: StateDirectory

    /// - Parameter server: a server of its own; `nil`: that of all tests.
    static func make(_ content: String, on server: RealPostgres? = nil) async throws -> Workshop {
        let directory = try TemporaryDirectory(prefix: "certs-jobs")
        let state = try await StateDirectory.open(at: directory.path("state"), create: true)
        return Workshop(
            directory: directory, messenger: try await Messenger.make(content, on: server),
            database: try await Database.open(in: state), state: state)
    }

    func runner(
        redis: RedisDeclaration? = nil, host: String = "host", server: DatabaseDeclaration? = nil,
        now: @escaping @Sendable () -> Date = { Date() }
    ) -> JobRunner {
        let maintenance = MaintenanceDeclaration(database: server ?? messenger.declaration, redis: redis)
        return JobRunner(
            executor: JobExecutor(maintenance) { _ in Secret(copying: []) }, ledger: database, locks: state,
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }, host: host, now: now)
    }

    static func job(_ work: JobWork = .deleteRows(Messenger.expired), _ schedule: JobSchedule = JobSchedule(.every(1)))
        throws -> JobDeclaration
    {
        JobDeclaration(name: try Name("messages"), work: work, schedule: schedule, retries: 0)
    }
}
