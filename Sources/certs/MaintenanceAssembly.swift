import CertsCore
import CertsIssuers
import CertsMaintenance
import CertsStore
import Foundation
import Logging
import ServiceLifecycle

extension Assembly {
    /// What the maintenance jobs need, put together.
    var jobs: JobRunner { jobs(.window(declarations.maintenance, database)) }

    func jobs(_ disruption: DisruptionGuard) -> JobRunner {
        JobRunner(
            executor: JobExecutor(
                declarations.maintenance, renewal: RenewalWork(engine: engine),
                host: HostPorts(files: state, live: state.liveFiles), disruption: disruption,
                faults: FaultPoints(ProcessInfo.processInfo.environment["CERTS_FAULT"])
            ) { path in
                try SecretFile.read(path, what: "the password of the database or of Redis")
            }, ledger: database, locks: state, logger: logger, host: Self.hostName, now: { Date() })
    }

    /// The metrics of the jobs.
    var jobFamilies: @Sendable () async throws -> [MetricFamily] {
        let (maintenance, database) = (declarations.maintenance, database)
        return {
            let now = Date()
            return try await JobMetrics.families(maintenance.jobs, database, now: now)
                + WindowMetrics.families(maintenance, database, now: now)
        }
    }

    func job(_ name: String) throws -> JobDeclaration {
        let jobs = declarations.maintenance.jobs
        guard let found = jobs.first(where: { $0.name.rawValue == name }) else {
            let known = jobs.map(\.name.rawValue).joined(separator: ", ")
            throw CertsError(
                .nameUnknown, "no job named '\(name)' is declared",
                hint: known.isEmpty ? "declare one under `maintenance:` in the configuration" : "declared: \(known)")
        }
        return found
    }
}

/// The jobs as a service: they end with it, and what they had begun is recorded.
struct MaintenanceService: Service {
    let scheduler: JobScheduler

    func run() async throws {
        await cancelWhenGracefulShutdown { await scheduler.run() }
    }
}
