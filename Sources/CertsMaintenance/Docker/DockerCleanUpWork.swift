import CertsCore
import CertsDocker
import Foundation

/// Removes what Docker left, one object after another and without force: what has come into use in the meantime says so
/// (HTTP 409) and stays.
struct DockerCleanUpWork: HostWork {
    let work: DockerCleanUp
    let files: any MaintenanceFiles

    /// For one small answer.
    private static let reply: Duration = .seconds(30)

    func preview(_ job: Name, sample: Int, control: JobControl) async throws -> [WorkPreview] {
        let engine = try await DockerEngine.connect(to: work.engineSocket, reply: Self.reply)
        let items = try await leftovers(job, engine, control).items()
        var warnings = items.count > work.limit ? [tooMany(items.count, job).description] : []
        if try await DeploymentJournal(files: files).services().isEmpty {
            warnings.append(
                "no deployment is recorded, so no image is kept for a rollback: declare a job of kind deployment-journal"
            )
        }
        return DockerLeftovers.Kind.allCases.map { [warnings] kind in
            let these = items.filter { $0.kind == kind }
            return WorkPreview(
                subject: kind.rawValue, count: these.count, bytes: these.reduce(0) { $0 + $1.bytes },
                keys: these.prefix(sample).map(\.shown),
                warnings: warnings)
        }
    }

    func run(_ job: Name, control: JobControl) async throws -> JobExecutor.Done {
        let engine = try await DockerEngine.connect(to: work.engineSocket, reply: Self.reply)
        let leftovers = try await leftovers(job, engine, control)
        // Whatever comes of this run: what is in use now must not count as unused later.
        if !work.volumeLabels.isEmpty { try await leftovers.facts.detached.save(job, files) }
        let items = leftovers.items()
        guard items.count <= work.limit else { throw tooMany(items.count, job) }
        var removal = DockerRemoval(engine: engine, control: control)
        var failure: CertsError?
        do {
            for item in items {
                if control.isOver {
                    removal.left.append("\(items.count - removal.done - removal.left.count) more: \(control.ending)")
                    break
                }
                try await removal.remove(item)
            }
            if removal.removed[.images] ?? 0 > 0 {
                // Layers are shared: only the engine knows what has become free.
                let after = try await engine.diskUsage(within: max(.seconds(30), control.left)).layersSize
                removal.bytes[.images] = max(0, leftovers.facts.usage.layersSize - after)
            }
        } catch {
            failure = CertsError.wrapping(error, subject: job.rawValue)
        }
        let counts = DockerLeftovers.Kind.allCases.map {
            JobCounter(job: job, kind: .dockerBytes, table: $0.rawValue, value: removal.bytes[$0] ?? 0)
        }
        return JobExecutor.Done(
            rows: removal.done, backlog: removal.left.count, counts: counts,
            reason: removal.left.isEmpty
                ? nil : TerminalText.sanitized(removal.left.joined(separator: "; "), limit: 1000),
            error: failure)
    }

    private func tooMany(_ count: Int, _ job: Name) -> CertsError {
        CertsError(
            .jobRefused, "\(count) objects of Docker would go, more than \(work.limit)", subject: job.rawValue,
            hint: "look at `certs maintenance plan \(job)`; if they may go, raise `maximum`")
    }

    /// Asks the engine for everything that the decision needs.
    private func leftovers(_ job: Name, _ engine: DockerEngine, _ control: JobControl) async throws -> DockerLeftovers {
        let now = control.now()
        var facts = DockerLeftovers.Facts(
            usage: try await engine.diskUsage(within: max(.seconds(1), control.left)),
            images: try await engine.images(), networks: try await engine.networks())
        for container in facts.usage.containers where DockerLeftovers.endedStates.contains(container.state) {
            let details = try await engine.details(["containers", container.id, "json"])
            facts.ended[container.id] = EngineTime.date(details?["State"]?["FinishedAt"]?.text)
        }
        for image in facts.images {
            let details = try await engine.details(["images", image.id, "json"])
            facts.named[image.id] = EngineTime.date(details?["Metadata"]?["LastTagTime"]?.text)
        }
        facts.rollbackImages = try await DeploymentJournal(files: files).images(last: work.keptDeployments)
        if !work.volumeLabels.isEmpty {
            facts.detached = try await DetachedVolumes.load(job, files).seen(
                DockerLeftovers.detachable(facts.usage, work), now: now)
        }
        return DockerLeftovers(work: work, facts: facts, now: now)
    }
}

/// The removal of single objects, and what came of it.
private struct DockerRemoval {
    let engine: DockerEngine
    let control: JobControl
    var removed: [DockerLeftovers.Kind: Int] = [:]
    var bytes: [DockerLeftovers.Kind: Int] = [:]
    /// What stays, and why.
    var left: [String] = []

    var done: Int { removed.values.reduce(0, +) }

    mutating func remove(_ item: DockerLeftovers.Item) async throws {
        switch item.kind {
        case .containers:
            // Its volumes stay (`v`): they are another question.
            note(item, try await engine.remove(["containers", item.id], query: [("v", "0"), ("force", "0")]))
        case .networks: note(item, try await engine.remove(["networks", item.id]))
        case .images: note(item, try await removeImage(item.id))
        case .buildCache:
            if let freed = try await engine.removeCache(item.id, deadline: max(.seconds(1), control.left)) {
                note(item, .removed, bytes: freed)
            } else {
                note(item, .busy("the record \(item.shown) of the build cache is in use"))
            }
        case .volumes: note(item, try await engine.remove(["volumes", item.id]))
        }
    }

    private mutating func note(_ item: DockerLeftovers.Item, _ removal: DockerEngine.Removal, bytes freed: Int? = nil) {
        switch removal {
        case .removed:
            removed[item.kind, default: 0] += 1
            bytes[item.kind, default: 0] += freed ?? item.bytes
        case .gone: break
        case .busy(let why): left.append("\(item.kind.rawValue) \(item.shown): \(why)")
        }
    }

    /// Name by name: an image with several goes with the last. A name that means another image by now is not touched.
    private func removeImage(_ id: String) async throws -> DockerEngine.Removal {
        let options = [(name: "force", value: "0"), (name: "noprune", value: "1")]
        guard let details = try await engine.details(["images", id, "json"]) else { return .gone }
        let names = ((details["RepoTags"]?.elements ?? []) + (details["RepoDigests"]?.elements ?? [])).compactMap(
            \.text)
        for name in names where !name.hasPrefix("<none>") {
            guard try await engine.details(["images", name, "json"])?["Id"]?.text == id else { continue }
            let removal = try await engine.remove(["images", name], query: options, deadline: .seconds(120))
            if case .busy = removal { return removal }
        }
        guard try await engine.details(["images", id, "json"]) != nil else { return .removed }
        let removal = try await engine.remove(["images", id], query: options, deadline: .seconds(120))
        return removal == .gone ? .removed : removal
    }
}
