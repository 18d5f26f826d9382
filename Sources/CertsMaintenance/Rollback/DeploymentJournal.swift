package import CertsCore
import CertsCrypto
package import CertsDocker
package import Foundation

/// What ran as a service: enough to make its container again.
package struct ServiceDeployment: Codable, Sendable, Hashable {
    /// Counts up from 1 for each service.
    package var number: Int
    package var seenAt: Date
    /// The digest of the image's configuration: it means one image for ever.
    package var imageID: String
    /// As it was asked for: `NAME:TAG`.
    package var image: String
    /// `NAME@DIGEST`s under which a registry has it; empty: it was built here.
    package var digests: [String]
    /// The body of `POST /containers/create`.
    package var creation: JSONValue
}

/// The deployments of one service, oldest first.
package struct DeployedService: Codable, Sendable, Hashable {
    /// The name of its container.
    package var service: String
    /// Of Compose; `nil`: another tool made the container.
    package var composeService: String?
    package var deployments: [ServiceDeployment] = []
}

/// The deployments of all services, in the state directory: one file for each, 0600, since what a container is made with
/// holds its environment.
package struct DeploymentJournal: Sendable {
    package let files: any MaintenanceFiles

    /// Of one file: so many deployments of a container with a large environment.
    private static let limit = 16 << 20

    package init(files: any MaintenanceFiles) { self.files = files }

    private static func file(_ service: String) -> String {
        let isShort = service.utf8.count <= 90
        return (isShort ? service : ContentDigest.sha256(of: Secret(copying: service.utf8))) + ".json"
    }

    package func services() async throws -> [DeployedService] {
        var result: [DeployedService] = []
        for name in try await files.names(in: .deployments) {
            if let service = try await load(file: name) { result.append(service) }
        }
        return result
    }

    func load(_ service: String) async throws -> DeployedService? { try await load(file: Self.file(service)) }

    private func load(file: String) async throws -> DeployedService? {
        guard let text = try await files.read(file, in: .deployments, limit: Self.limit) else { return nil }
        do {
            return try StoredJSON.decode(DeployedService.self, from: text.withBytes { Data($0) })
        } catch {
            // Without its cause: the file holds secrets.
            throw CertsError(
                .stateCorrupt, "maintenance/deployments/\(file) in the state directory cannot be read", subject: file,
                hint: "look at it, and move it away; what the service runs now is recorded anew")
        }
    }

    /// The service that a person means: the name of its container, or its name in Compose.
    package func service(_ name: String) async throws -> DeployedService {
        let all = try await services()
        if let found = all.first(where: { $0.service == name }) { return found }
        let composed = all.filter { $0.composeService == name }
        if composed.count == 1 { return composed[0] }
        let known = (composed.isEmpty ? all : composed).map(\.service).joined(separator: ", ")
        throw CertsError(
            .nameUnknown,
            composed.isEmpty
                ? "no deployment of '\(TerminalText.sanitized(name, limit: 80))' is recorded"
                : "\(composed.count) containers are of the Compose service '\(TerminalText.sanitized(name, limit: 80))'",
            hint: known.isEmpty
                ? "declare a job of kind deployment-journal; it records what runs" : "recorded: \(known)")
    }

    /// Adds what runs now, unless it is what was added last.
    ///
    /// - Returns: whether it is new.
    func add(_ seen: ServiceDeployment, to service: String, composeService: String?, keep: Int) async throws -> Bool {
        var known = try await load(service) ?? DeployedService(service: service)
        known.composeService = composeService
        if let last = known.deployments.last, last.imageID == seen.imageID, last.creation == seen.creation {
            return false
        }
        var added = seen
        added.number = (known.deployments.last?.number ?? 0) + 1
        known.deployments = Array((known.deployments + [added]).suffix(max(1, keep)))
        try await files.write(
            Secret(copying: try StoredJSON.encode(known)), to: Self.file(service), in: .deployments)
        return true
    }

    /// The images of the last deployments of each service.
    func images(last count: Int) async throws -> Set<String> {
        Set(
            try await services().flatMap { service in
                // Deployments of one image that differ in their settings count once.
                var images: [String] = []
                for deployment in service.deployments.reversed() where !images.contains(deployment.imageID) {
                    images.append(deployment.imageID)
                }
                return images.prefix(count)
            })
    }
}
