package import CertsCore
import CertsHTTP
package import Foundation

extension DockerEngine {
    /// The one container that `selector` means.
    ///
    /// - Throws: `target.unreachable` where there is none, `target.ambiguous` where there are several,
    ///   `configuration.invalid` for what can be no name.
    package func find(_ selector: DockerContainer.Selector) async throws(CertsError) -> ContainerInspection {
        switch selector {
        case .name(let name):
            guard DockerContainer.isName(name) else {
                throw CertsError(
                    .configurationInvalid, "'\(TerminalText.sanitized(name, limit: 80))' cannot name a container",
                    hint: "give its name or id, as `docker ps` shows it")
            }
            return try await inspect(name)
        case .compose(let project, let service):
            return try await inspect(try await composed(project: project, service: service).id)
        }
    }

    package func inspect(_ container: String) async throws(CertsError) -> ContainerInspection {
        try await fetch(.get, ["containers", container, "json"])
    }

    /// A container of a Compose service; one that ran and ended counts only where none runs.
    private func composed(project: String?, service: String) async throws(CertsError) -> ContainerSummary {
        var labels = ["com.docker.compose.service=\(service)"]
        if let project { labels.append("com.docker.compose.project=\(project)") }
        let filters = (try? JSONEncoder().encode(["label": labels])) ?? Data()
        let all: [ContainerSummary] = try await fetch(
            .get, ["containers", "json"],
            query: [("all", "1"), ("filters", String(decoding: filters, as: UTF8.self))])
        // What `docker-compose run` makes has the labels of the service as well.
        let members = all.filter { $0.labels?["com.docker.compose.oneoff"]?.lowercased() != "true" }
        let running = members.filter { $0.state == "running" }
        let candidates = running.isEmpty ? members : running
        let named = DockerContainer.Selector.compose(project: project, service: service).description
        guard let first = candidates.first else {
            throw CertsError(
                .targetUnreachable, "there is no container of the \(named)",
                hint: "start it (`docker-compose up -d`), and check both names: `docker-compose ps --services`; the "
                    + "project is the name of its directory where nobody said otherwise", retry: .later)
        }
        guard candidates.count == 1 else {
            let names = candidates.map { ($0.names?.first ?? $0.id).drop { $0 == "/" } }.sorted()
            throw CertsError(
                .targetAmbiguous,
                "\(candidates.count) containers are of the \(named): "
                    + TerminalText.sanitized(names.joined(separator: ", "), limit: 500),
                hint: project == nil ? "name the project too, or the container" : "name the container")
        }
        return first
    }

    /// Stops the container and starts it; one that is stopped is started.
    ///
    /// - Parameter grace: how long it may take to end by itself, in seconds.
    package func restart(_ container: String, grace: Int) async throws(CertsError) {
        _ = try await send(
            .post, ["containers", container, "restart"], query: [("t", "\(grace)")],
            deadline: reply + .seconds(grace))
    }

    /// What the container has written to standard error since `time`, at most the last 1000 lines.
    package func errors(of container: ContainerInspection, since time: Date) async throws(CertsError) -> String {
        // A terminal has one stream only, and that counts as standard output.
        let stream = container.settings.hasTerminal ? "stdout" : "stderr"
        let bytes = try await send(
            .get, ["containers", container.id, "logs"],
            query: [(stream, "1"), ("tail", "1000"), ("since", Self.stamp(time))], limit: 8 << 20)
        return DockerStream.text(bytes)
    }

    package func volume(_ name: String) async throws(CertsError) -> Volume {
        try await fetch(.get, ["volumes", name])
    }

    /// Seconds and nanoseconds since 1970, in the form that the engine takes.
    private static func stamp(_ time: Date) -> String {
        let seconds = time.timeIntervalSince1970
        return String(format: "%.0f.%09.0f", seconds.rounded(.down), (seconds - seconds.rounded(.down)) * 1e9)
    }
}
