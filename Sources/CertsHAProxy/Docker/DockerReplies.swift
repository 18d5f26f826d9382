import CertsCore
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
struct ContainerInspection: Decodable, Sendable {
    let id: String
    private let slashedName: String
    /// What was started: the program of process 1, and its arguments.
    let path: String
    let arguments: [String]
    let state: State
    let settings: Settings
    let mounts: [ContainerMount]

    /// Without the slash that the engine begins it with.
    var name: String { slashedName.hasPrefix("/") ? String(slashedName.dropFirst()) : slashedName }

    private enum CodingKeys: String, CodingKey {
        case id = "Id"
        case slashedName = "Name"
        case path = "Path"
        case arguments = "Args"
        case state = "State"
        case settings = "Config"
        case mounts = "Mounts"
    }

    struct State: Decodable, Sendable {
        /// `created`, `running`, `paused`, `restarting`, `removing`, `exited`, `dead`.
        let status: String
        /// Of the container's process 1, as the engine's host counts; 0: there is none.
        let pid: Int
        let exitCode: Int
        /// A point in time, only compared.
        let startedAt: String

        private enum CodingKeys: String, CodingKey {
            case status = "Status"
            case pid = "Pid"
            case exitCode = "ExitCode"
            case startedAt = "StartedAt"
        }

        var isRunning: Bool { status == "running" }
    }

    struct Settings: Decodable, Sendable {
        let labels: [String: String]?
        /// Its output is then not framed.
        let hasTerminal: Bool
        /// How long it may take to end by itself, in seconds; `nil`: what the engine thinks.
        let stopTimeout: Int?

        private enum CodingKeys: String, CodingKey {
            case labels = "Labels"
            case hasTerminal = "Tty"
            case stopTimeout = "StopTimeout"
        }
    }
}

/// What a container sees of its host.
struct ContainerMount: Decodable, Sendable, Hashable {
    /// `bind`, `volume`, `tmpfs`, …
    let type: String
    /// Of a volume.
    let name: String?
    /// On the engine's host; empty where there is none.
    let source: String?
    /// In the container.
    let destination: String

    private enum CodingKeys: String, CodingKey {
        case type = "Type"
        case name = "Name"
        case source = "Source"
        case destination = "Destination"
    }

    init(type: String = "bind", name: String? = nil, source: String?, destination: String) {
        self.type = type
        self.name = name
        self.source = source
        self.destination = destination
    }
}

/// `GET /volumes/{name}`
struct Volume: Decodable, Sendable {
    /// Of its driver; with the `local` one those of mount(8).
    let options: [String: String]?

    private enum CodingKeys: String, CodingKey {
        case options = "Options"
    }

    /// The directory of the host that the volume is another name for; `nil`: it is none.
    var boundDirectory: String? {
        guard let options, let words = options["o"]?.split(separator: ","), let device = options["device"],
            words.contains("bind") || words.contains("rbind"), device.hasPrefix("/")
        else { return nil }
        return device
    }
}

/// `GET /containers/{id}/top`: lines of `ps`, split into columns.
struct ProcessTable: Decodable, Sendable {
    let titles: [String]
    /// `nil`: the last one has ended a moment ago.
    let processes: [[String]]?

    private enum CodingKeys: String, CodingKey {
        case titles = "Titles"
        case processes = "Processes"
    }

    /// What `ps` is asked for: columns that procps and BusyBox know.
    static let columns = "-o pid,ppid,etime,args"

    /// - Throws: `target.unexpectedReply` where a column or a number is missing.
    func decoded() throws(CertsError) -> [ContainerProcess] {
        var result: [ContainerProcess] = []
        for row in processes ?? [] {
            guard row.count == titles.count, let pid = value("PID", in: row).flatMap({ Int($0) }),
                let parent = value("PPID", in: row).flatMap({ Int($0) }), let words = row.last
            else {
                throw CertsError(
                    .targetUnexpectedReply, "the Docker Engine lists processes in columns that nobody asked for",
                    hint: "check `ps \(Self.columns)` on the host of the engine")
            }
            result.append(
                ContainerProcess(
                    pid: pid, parent: parent, age: value("ELAPSED", in: row).flatMap(Self.seconds),
                    arguments: words.split(separator: " ").map(String.init)))
        }
        return result
    }

    private func value(_ title: String, in row: [String]) -> String? {
        titles.firstIndex(of: title).map { row[$0] }
    }

    /// `[[dd-]hh:]mm:ss`
    static func seconds(_ elapsed: String) -> Double? {
        let days = elapsed.split(separator: "-", maxSplits: 1, omittingEmptySubsequences: false)
        guard let clock = days.last else { return nil }
        let parts = clock.split(separator: ":", omittingEmptySubsequences: false).map { UInt16($0) }
        guard (2...3).contains(parts.count), days.count == 1 || UInt16(days[0]) != nil else { return nil }
        var total = days.count == 2 ? Double(UInt16(days[0]) ?? 0) : 0
        for (index, part) in parts.enumerated() {
            guard let part else { return nil }
            total = total * (index == 0 && parts.count == 3 ? 24 : 60) + Double(part)
        }
        return total
    }
}

/// `GET /exec/{id}/json`.
struct ExecState: Decodable, Sendable {
    let running: Bool
    let exitCode: Int?

    private enum CodingKeys: String, CodingKey {
        case running = "Running"
        case exitCode = "ExitCode"
    }
}

/// The answer to a request that made something.
struct Created: Decodable, Sendable {
    let id: String

    private enum CodingKeys: String, CodingKey {
        case id = "Id"
    }
}
