import CertsCore
import CertsDocker
import CertsHTTP
import CertsMaintenance
import CertsStore
import CertsTesting
import Foundation
import Logging

/// A state directory with a ledger, and jobs on this host without a database.
struct HostShop: Sendable {
    let directory: TemporaryDirectory
    let database: Database
    let state: StateDirectory

    static func make() async throws -> HostShop {
        let directory = try TemporaryDirectory(prefix: "certs-host")
        let state = try await StateDirectory.open(at: directory.path("state"), create: true)
        return HostShop(directory: directory, database: try await Database.open(in: state), state: state)
    }

    static func job(_ work: HostJob) throws -> JobDeclaration {
        JobDeclaration(name: try Name("job"), work: .host(work), schedule: JobSchedule(.every(60)), retries: 0)
    }

    func runner(now: @escaping @Sendable () -> Date = { Date() }) -> JobRunner {
        JobRunner(
            executor: JobExecutor(
                MaintenanceDeclaration(), host: HostPorts(files: state, live: state.liveFiles)
            ) { _ in Secret(copying: []) },
            ledger: database, locks: state, logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() },
            host: "host", now: now)
    }

    func run(_ work: HostJob, after: TimeInterval = 0) async throws -> JobRun {
        try await runner { Date().addingTimeInterval(after) }.run(try Self.job(work), occurrence: nil, source: .command)
    }

    func plan(_ work: HostJob, after: TimeInterval = 0) async throws -> [WorkPreview] {
        let control = JobControl { Date().addingTimeInterval(after) }
        return try await runner().executor.plan(try Self.job(work), sample: 1000, control: control)
    }

    /// What the plan refuses with.
    func refusal(_ work: HostJob) async -> CertsError? {
        do {
            _ = try await plan(work)
            return nil
        } catch {
            return CertsError.wrapping(error)
        }
    }

    func metrics(_ work: HostJob) async throws -> String {
        PrometheusText.render(try await JobMetrics.families([try Self.job(work)], database, now: Date()))
    }
}

extension DockerEngine {
    /// Makes a container of `certs-test/haproxy` that sleeps, or ends at once.
    @discardableResult
    func make(
        _ name: String, image: String = "certs-test/haproxy", command: [String] = ["sleep", "600"],
        labels: [String: String] = [:], binds: [String] = [], network: String = "none", environment: [String] = [],
        started: Bool = true, more: [String: JSONValue] = [:], host: [String: JSONValue] = [:]
    ) async throws -> String {
        var body = JSONValue.object([
            "Image": .string(image), "User": .string("0"), "Cmd": .array(command.map { .string($0) }),
            "Entrypoint": .array([]), "Labels": .object(labels.mapValues { .string($0) }),
            "Env": .array(environment.map { .string($0) }), "StopSignal": .string("SIGKILL"),
            "HostConfig": .object(
                [
                    "NetworkMode": .string(network), "Binds": .array(binds.map { .string($0) }),
                ].merging(host) { $1 }),
        ])
        for (key, value) in more { body[key] = value }
        let created: Created = try await fetch(
            .post, ["containers", "create"], query: [("name", name)], body: try JSONEncoder().encode(body))
        if started { _ = try await send(.post, ["containers", created.id, "start"]) }
        return created.id
    }

    func waitForEnd(_ container: String) async throws {
        for _ in 0..<300 {
            if try await inspect(container).state.status == "exited" { return }
            try await Task.sleep(for: .milliseconds(100))
        }
        throw RealDocker.Failed(description: "\(container) does not end")
    }

    func exists(_ path: [String]) async throws -> Bool { try await details(path) != nil }
}
