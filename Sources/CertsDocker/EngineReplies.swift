import Foundation

/// `GET /version`.
struct EngineVersion: Decodable, Sendable {
    let apiVersion: String
    let minAPIVersion: String?

    private enum CodingKeys: String, CodingKey {
        case apiVersion = "ApiVersion"
        case minAPIVersion = "MinAPIVersion"
    }
}

/// One element of `GET /containers/json`.
struct ContainerSummary: Decodable, Sendable {
    let id: String
    /// With a leading slash each.
    let names: [String]?
    let state: String
    let labels: [String: String]?

    private enum CodingKeys: String, CodingKey {
        case id = "Id"
        case names = "Names"
        case state = "State"
        case labels = "Labels"
    }
}

/// `GET /containers/{id}/json`, as far as it concerns us.
package struct ContainerInspection: Decodable, Sendable {
    package let id: String
    private let slashedName: String
    /// What was started: the program of process 1, and its arguments.
    package let path: String
    package let arguments: [String]
    package let state: State
    package let settings: Settings
    package let mounts: [ContainerMount]

    /// Without the slash that the engine begins it with.
    package var name: String { slashedName.hasPrefix("/") ? String(slashedName.dropFirst()) : slashedName }

    private enum CodingKeys: String, CodingKey {
        case id = "Id"
        case slashedName = "Name"
        case path = "Path"
        case arguments = "Args"
        case state = "State"
        case settings = "Config"
        case mounts = "Mounts"
    }

    package struct State: Decodable, Sendable {
        /// `created`, `running`, `paused`, `restarting`, `removing`, `exited`, `dead`.
        package let status: String
        /// Of the container's process 1, as the engine's host counts; 0: there is none.
        package let pid: Int
        package let exitCode: Int
        /// A point in time, only compared.
        package let startedAt: String

        private enum CodingKeys: String, CodingKey {
            case status = "Status"
            case pid = "Pid"
            case exitCode = "ExitCode"
            case startedAt = "StartedAt"
        }

        package var isRunning: Bool { status == "running" }
    }

    package struct Settings: Decodable, Sendable {
        package let labels: [String: String]?
        /// Its output is then not framed.
        package let hasTerminal: Bool
        /// How long it may take to end by itself, in seconds; `nil`: what the engine thinks.
        package let stopTimeout: Int?

        private enum CodingKeys: String, CodingKey {
            case labels = "Labels"
            case hasTerminal = "Tty"
            case stopTimeout = "StopTimeout"
        }
    }
}

/// What a container sees of its host.
package struct ContainerMount: Decodable, Sendable, Hashable {
    /// `bind`, `volume`, `tmpfs`, …
    package let type: String
    /// Of a volume.
    package let name: String?
    /// On the engine's host; empty where there is none.
    package let source: String?
    /// In the container.
    package let destination: String

    private enum CodingKeys: String, CodingKey {
        case type = "Type"
        case name = "Name"
        case source = "Source"
        case destination = "Destination"
    }

    package init(type: String = "bind", name: String? = nil, source: String?, destination: String) {
        self.type = type
        self.name = name
        self.source = source
        self.destination = destination
    }
}

/// `GET /volumes/{name}`
package struct Volume: Decodable, Sendable {
    /// Of its driver; with the `local` one those of mount(8).
    package let options: [String: String]?

    private enum CodingKeys: String, CodingKey {
        case options = "Options"
    }

    /// The directory of the host that the volume is another name for; `nil`: it is none.
    package var boundDirectory: String? {
        guard let options, let words = options["o"]?.split(separator: ","), let device = options["device"],
            words.contains("bind") || words.contains("rbind"), device.hasPrefix("/")
        else { return nil }
        return device
    }
}
