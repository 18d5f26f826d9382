package import CertsCore
import CertsDocker
import CertsHTTP
package import Foundation

/// Puts an earlier deployment of a service in the place of the one that runs.
///
/// The container that runs is renamed and kept until the new one is healthy; where that does not become so, it is put
/// back. So at each moment one of the two can be started by hand.
package struct ServiceRollback: Sendable {
    package let work: DeploymentRecording
    private let journal: DeploymentJournal
    private let now: @Sendable () -> Date

    /// Of the name of the container that waits.
    static let suffix = "-before-rollback"
    private static let reply: Duration = .seconds(30)

    package init(_ work: DeploymentRecording, files: any MaintenanceFiles, now: @escaping @Sendable () -> Date) {
        self.work = work
        self.now = now
        journal = DeploymentJournal(files: files)
    }

    package struct Plan: Sendable {
        package let service: String
        package let target: ServiceDeployment
        /// What runs now, as far as it is recorded; `nil`: something else.
        package let current: Int?
        package let deployments: [ServiceDeployment]
    }

    /// What a rollback would do; changes nothing.
    ///
    /// - Parameter number: of the deployment; `nil`: the last that is not what there is now.
    /// - Throws: `name.unknown`, `job.refused`.
    package func plan(_ name: String, to number: Int?) async throws -> Plan {
        let known = try await journal.service(name)
        let engine = try await DockerEngine.connect(to: work.engineSocket, reply: Self.reply)
        let details = try await engine.details(["containers", known.service, "json"])
        let (image, creation) = (details?["Image"]?.text, details.map { ContainerCreation.body(of: $0) })
        func isCurrent(_ deployment: ServiceDeployment) -> Bool {
            deployment.imageID == image && deployment.creation == creation
        }
        let current = known.deployments.last(where: isCurrent)?.number
        let found =
            if let number { known.deployments.first { $0.number == number } } else {
                known.deployments.last { !isCurrent($0) }
            }
        guard let target = found else {
            let numbers = known.deployments.map { String($0.number) }.joined(separator: ", ")
            throw CertsError(
                .jobRefused,
                number.map { "deployment \($0) of \(known.service) is not recorded" }
                    ?? "no deployment of \(known.service) but the one that runs is recorded", subject: known.service,
                hint: "recorded: \(numbers.isEmpty ? "none" : numbers)")
        }
        guard !isCurrent(target) else {
            throw CertsError(
                .jobRefused, "deployment \(target.number) of \(known.service) is what runs now", subject: known.service,
                hint: "name another one with --to")
        }
        return Plan(service: known.service, target: target, current: current, deployments: known.deployments)
    }

    /// Does it.
    ///
    /// - Returns: what was done, for the ledger.
    /// - Throws: `job.refused` where nothing was changed; `job.failed` where the old container was put back, or could
    ///   not be.
    package func run(_ plan: Plan, control: JobControl) async throws -> String {
        let engine = try await DockerEngine.connect(to: work.engineSocket, reply: Self.reply)
        let image = try await self.image(of: plan, engine)
        let old = try await engine.details(["containers", plan.service, "json"])
        try await refuse(plan, old, engine)
        if let old, let seen = try await SeenDeployment.make(old, engine, now: now()) {
            _ = try await journal.add(
                seen.deployment, to: seen.service, composeService: seen.composeService, keep: work.kept)
        }
        let swap = ContainerSwap(engine: engine, service: plan.service, old: old, work: work, now: now)
        try await withUncancelledTask { try await swap.run(plan.target, image: image, control: control) }
        if let made = try await engine.details(["containers", plan.service, "json"]),
            let seen = try await SeenDeployment.make(made, engine, now: now())
        {
            _ = try await journal.add(
                seen.deployment, to: seen.service, composeService: seen.composeService, keep: work.kept)
        }
        return "\(plan.service) runs deployment \(plan.target.number) again (\(plan.target.image), "
            + "\(plan.target.imageID.prefix(19)))"
    }

    /// Has the engine make the container of the deployment under another name, and removes it without having started it.
    ///
    /// - Returns: what was found, for people.
    /// - Throws: why the deployment would not do.
    package func rehearse(_ plan: Plan) async throws -> String {
        let engine = try await DockerEngine.connect(to: work.engineSocket, reply: Self.reply)
        let image = try await self.image(of: plan, engine)
        let old = try await engine.details(["containers", plan.service, "json"])
        try await refuse(plan, old, engine)
        let request = ContainerCreation.request(plan.target.creation, image: image, replacing: old)
        let name = plan.service + Self.rehearsalSuffix
        if let left = try await engine.details(["containers", name, "json"]) {
            guard left["Config"]?["Labels"]?[Self.rehearsalLabel] != nil else {
                throw CertsError(
                    .jobRefused, "there is a container \(name) that no rehearsal has made", subject: plan.service,
                    hint: "rename or remove it")
            }
            // What a rehearsal left that was cut short.
            _ = try await engine.remove(["containers", name], query: [("v", "1")])
        }
        var body = request.body
        body["Labels"] = .object(
            (body["Labels"]?.members ?? [:]).merging([Self.rehearsalLabel: .string("true")]) { $1 })
        let created: Created = try await engine.fetch(
            .post, ["containers", "create"], query: [("name", name)], body: try JSONEncoder().encode(body))
        // Only the volumes without a name that came with it: those that it was given by name stay.
        _ = try await engine.remove(["containers", created.id], query: [("v", "1")])
        return "deployment \(plan.target.number) can be made: its image and what it needs are there"
    }

    /// Of the container that a rehearsal makes and removes.
    static let rehearsalSuffix = "-rollback-test"
    private static let rehearsalLabel = "certs.rehearsal"

    /// The best name that still means the image of the deployment.
    private func image(of plan: Plan, _ engine: DockerEngine) async throws -> String {
        let target = plan.target
        for name in [target.image] + target.digests
        where try await engine.details(["images", name, "json"])?["Id"]?.text == target.imageID { return name }
        if try await engine.details(["images", target.imageID, "json"]) != nil { return target.imageID }
        throw CertsError(
            .jobRefused, "the image \(target.imageID.prefix(19)) (\(target.image)) is not on this host any more",
            subject: plan.service,
            hint: target.digests.first.map { "load it with `docker pull \($0)`, then try again" }
                ?? "it was built here: build it again from its sources, or load it with `docker load`")
    }

    private func refuse(_ plan: Plan, _ old: JSONValue?, _ engine: DockerEngine) async throws {
        let waiting = plan.service + Self.suffix
        if try await engine.details(["containers", waiting, "json"]) != nil {
            throw CertsError(
                .jobRefused, "a rollback of \(plan.service) was cut short: the container \(waiting) is there",
                subject: plan.service,
                hint: "keep one of the two: `docker rm \(waiting)`, or `docker rm -f \(plan.service)` and "
                    + "`docker rename \(waiting) \(plan.service)` and `docker start \(plan.service)`")
        }
        guard old?["HostConfig"]?["AutoRemove"]?.flag == true else { return }
        throw CertsError(
            .jobRefused, "the container \(plan.service) removes itself when it ends (`--rm`): it could not be put back",
            subject: plan.service, hint: "start the service without `--rm`")
    }
}

/// One exchange of containers.
private struct ContainerSwap: Sendable {
    let engine: DockerEngine
    let service: String
    let old: JSONValue?
    let work: DeploymentRecording
    let now: @Sendable () -> Date

    private var waiting: String { service + ServiceRollback.suffix }
    private var oldID: String? { old?["Id"]?.text }

    func run(_ target: ServiceDeployment, image: String, control: JobControl) async throws {
        let request = ContainerCreation.request(target.creation, image: image, replacing: old)
        if let oldID { try await rename(oldID, to: waiting) }
        var made: String?
        do {
            let body = try JSONEncoder().encode(request.body)
            let created: Created = try await engine.fetch(
                .post, ["containers", "create"], query: [("name", service)], body: body)
            made = created.id
            for network in request.networks {
                let body = try JSONEncoder().encode(
                    JSONValue.object(["Container": .string(created.id), "EndpointConfig": network.endpoint]))
                _ = try await engine.send(.post, ["networks", network.name, "connect"], body: body)
            }
            // Both may want the same port of the host.
            if let oldID { try await stop(oldID, old) }
            _ = try await engine.send(.post, ["containers", created.id, "start"], deadline: .seconds(60))
            try await waitUntilHealthy(created.id, control)
        } catch {
            throw await putBack(made, CertsError.wrapping(error, subject: service))
        }
        // If it cannot go now, the next rollback says that it is there.
        if let oldID { _ = try? await engine.remove(["containers", oldID], query: [("v", "0"), ("force", "0")]) }
    }

    private func rename(_ id: String, to name: String) async throws {
        _ = try await engine.send(.post, ["containers", id, "rename"], query: [("name", name)])
    }

    private func stop(_ id: String, _ details: JSONValue?) async throws {
        let grace: Int64 = if case .integer(let seconds)? = details?["Config"]?["StopTimeout"] { seconds } else { 10 }
        let bounded = min(max(grace, 0), 300)
        // 304: it does not run.
        let response = try await engine.answer(
            .post, ["containers", id, "stop"], query: [("t", "\(bounded)")], deadline: .seconds(bounded + 30))
        guard response.isSuccess || response.status == 304 else {
            throw DockerFailure.refusal(response, socket: engine.socket)
        }
    }

    private func waitUntilHealthy(_ id: String, _ control: JobControl) async throws {
        let end = ContinuousClock.now + .seconds(work.healthyWithin)
        while true {
            guard let details = try await engine.details(["containers", id, "json"]) else {
                throw CertsError(
                    .jobFailed, "the new container of \(service) is gone: somebody has removed it", subject: service)
            }
            let health = ContainerHealth(details, now: now())
            if health.isHealthy(after: work.healthyAfter) { return }
            var failure = health.failure
            if failure == nil, control.isOver { failure = control.ending }
            if failure == nil, ContinuousClock.now >= end {
                failure = "it was not healthy within \(Int(work.healthyWithin)) s (\(health.check ?? health.status))"
            }
            if let failure {
                throw CertsError(
                    .jobFailed, "the new container of \(service) is not healthy: \(failure)", subject: service)
            }
            try await Task.sleep(for: .milliseconds(250))
        }
    }

    /// The old container as it was; what came in its place is removed, with its last words in the error.
    private func putBack(_ made: String?, _ failure: CertsError) async -> CertsError {
        do {
            var words = ""
            if let made {
                words = (try? await lastWords(of: made)).map { $0.isEmpty ? "" : "; it said: \($0)" } ?? ""
                // Whatever becomes of it, the old one must run again.
                try? await stop(made, nil)
                _ = try? await engine.remove(["containers", made], query: [("v", "0"), ("force", "1")])
            }
            if let oldID {
                var renaming: CertsError?
                do { try await rename(oldID, to: service) } catch { renaming = CertsError.wrapping(error) }
                if old?["State"]?["Running"]?.flag == true {
                    let response = try await engine.answer(
                        .post, ["containers", oldID, "start"], deadline: .seconds(60))
                    guard response.isSuccess || response.status == 304 else {
                        throw DockerFailure.refusal(response, socket: engine.socket)
                    }
                }
                if let renaming { throw renaming }
            }
            return CertsError(
                .jobFailed, "\(failure.message)\(words); the container that ran before is back", subject: service,
                hint: failure.hint ?? "look why the earlier deployment does not run any more, or name another with --to"
            )
        } catch {
            let problem = CertsError.wrapping(error)
            return CertsError(
                .jobFailed, "\(failure.message); and the old container could not be put back: \(problem.message)",
                subject: service,
                hint: "do it by hand: `docker rename \(waiting) \(service)`, `docker start \(service)`")
        }
    }

    private func lastWords(of id: String) async throws -> String {
        let output = try await engine.send(
            .get, ["containers", id, "logs"], query: [("stdout", "1"), ("stderr", "1"), ("tail", "3")])
        let lines = DockerStream.text(output).split(whereSeparator: \.isNewline)
        return TerminalText.sanitized(lines.joined(separator: " | "), limit: 300)
    }
}
