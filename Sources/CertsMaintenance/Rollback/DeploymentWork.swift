import CertsCore
import CertsDocker
import Foundation

/// Writes down what runs in containers, once it is healthy.
struct DeploymentWork: HostWork {
    let work: DeploymentRecording
    let files: any MaintenanceFiles

    private static let reply: Duration = .seconds(30)

    func preview(_ job: Name, sample: Int, control: JobControl) async throws -> [WorkPreview] {
        let engine = try await DockerEngine.connect(to: work.engineSocket, reply: Self.reply)
        let journal = DeploymentJournal(files: files)
        var changed: [String] = []
        for seen in try await deployments(engine, control) {
            let last = try await journal.load(seen.service)?.deployments.last
            if last?.imageID != seen.deployment.imageID || last?.creation != seen.deployment.creation {
                changed.append("\(seen.service) \(seen.deployment.image)")
            }
        }
        return [
            WorkPreview(
                subject: "deployments", count: changed.count,
                keys: changed.prefix(sample).map { TerminalText.sanitized($0, limit: 200) })
        ]
    }

    func run(_ job: Name, control: JobControl) async throws -> JobExecutor.Done {
        let engine = try await DockerEngine.connect(to: work.engineSocket, reply: Self.reply)
        let journal = DeploymentJournal(files: files)
        var added = 0
        for seen in try await deployments(engine, control) {
            let isNew = try await journal.add(
                seen.deployment, to: seen.service, composeService: seen.composeService, keep: work.kept)
            if isNew { added += 1 }
        }
        return JobExecutor.Done(rows: added)
    }

    /// Of the containers that run and are healthy.
    private func deployments(_ engine: DockerEngine, _ control: JobControl) async throws -> [SeenDeployment] {
        var result: [SeenDeployment] = []
        for container in try await engine.containers(all: false) where container.state == "running" {
            // It may end meanwhile.
            guard let details = try await engine.details(["containers", container.id, "json"]),
                let seen = try await SeenDeployment.make(details, engine, now: control.now()),
                ContainerHealth(details, now: control.now()).isHealthy(after: work.healthyAfter)
            else { continue }
            result.append(seen)
        }
        return result.sorted { $0.service < $1.service }
    }
}

/// A container as a deployment of a service; its number is given by the journal.
struct SeenDeployment {
    let service: String
    let composeService: String?
    let deployment: ServiceDeployment

    /// `nil`: it has no image any more, or is none of a service (`docker-compose run`).
    static func make(_ details: JSONValue, _ engine: DockerEngine, now: Date) async throws -> SeenDeployment? {
        let labels = details["Config"]?["Labels"]
        guard let name = details["Name"]?.text.map({ String($0.drop { $0 == "/" }) }), DockerContainer.isName(name),
            let image = details["Image"]?.text,
            labels?["com.docker.compose.oneoff"]?.text?.lowercased() != "true",
            !name.hasSuffix(ServiceRollback.suffix),
            let known = try await engine.details(["images", image, "json"])
        else { return nil }
        return SeenDeployment(
            service: name, composeService: labels?["com.docker.compose.service"]?.text,
            deployment: ServiceDeployment(
                number: 0, seenAt: now, imageID: image, image: details["Config"]?["Image"]?.text ?? image,
                digests: (known["RepoDigests"]?.elements ?? []).compactMap(\.text),
                creation: ContainerCreation.body(of: details)))
    }
}

/// Whether a container does its work, as far as the engine can tell.
struct ContainerHealth {
    let isRunning: Bool
    let status: String
    /// `nil`: it has no health check.
    let check: String?
    let exitCode: Int64
    /// How often the engine has started it again by itself.
    let restarts: Int64
    /// Since its last start, in seconds.
    let age: TimeInterval

    init(_ details: JSONValue, now: Date) {
        let state = details["State"]
        status = state?["Status"]?.text ?? "unknown"
        isRunning = status == "running"
        let words = state?["Health"]?["Status"]?.text
        check = words == "none" ? nil : words
        exitCode = if case .integer(let code)? = state?["ExitCode"] { code } else { 0 }
        restarts = if case .integer(let count)? = details["RestartCount"] { count } else { 0 }
        age = EngineTime.date(state?["StartedAt"]?.text).map { now.timeIntervalSince($0) } ?? 0
    }

    func isHealthy(after seconds: TimeInterval) -> Bool {
        guard isRunning else { return false }
        if let check { return check == "healthy" }
        return age >= seconds
    }

    /// Why it never will be; `nil`: it still may.
    var failure: String? {
        if status == "exited" || status == "dead" { return "it ended with exit code \(exitCode)" }
        if restarts > 0 || status == "restarting" { return "it ended and was started again" }
        return check == "unhealthy" ? "its health check says unhealthy" : nil
    }
}
