import CertsCore
import CertsDocker

/// A container that was found and runs, as it was a moment ago.
struct RunningContainer: Sendable {
    let engine: DockerEngine
    let inspection: ContainerInspection
    let processes: ContainerProcesses

    /// How it can be made to load its files again.
    enum Way: Sendable {
        case signal(master: ContainerProcess)
        case restart
    }

    var id: String { inspection.id }
    var shownName: String { "the container '\(TerminalText.sanitized(inspection.name, limit: 80))'" }

    /// What makes a container unusable for us: for a check, and for the reload that was not checked.
    struct Obstacle: Error {
        let finding: Finding
        let error: CertsError

        init(_ finding: Finding) {
            self.finding = finding
            error = CertsError(.targetReloadFailed, finding.message, hint: finding.remedy, retry: .later)
        }

        init(_ error: CertsError, id: String) {
            finding = Finding(error: error, id: id)
            self.error = error
        }
    }

    /// Where it is stopped, `processes` is empty.
    static func locate(_ declared: DockerContainer, reply: Duration) async throws(Obstacle) -> RunningContainer {
        let engine: DockerEngine
        do {
            engine = try await DockerEngine.connect(to: declared.engineSocket, reply: reply)
        } catch {
            let id =
                switch error.code {
                case .targetRefused: "docker-denied"
                case .targetTimeout: "docker-timeout"
                default: "docker-unreachable"
                }
            throw Obstacle(error, id: id)
        }
        do {
            let inspection = try await engine.find(declared.selector)
            let running = inspection.state.isRunning ? try await engine.processes(of: inspection.id) : []
            return RunningContainer(
                engine: engine, inspection: inspection,
                processes: ContainerProcesses(all: running, first: inspection.state.pid))
        } catch {
            let id =
                switch error.code {
                case .targetAmbiguous: "docker-container-ambiguous"
                case .targetUnreachable, .configurationInvalid: "docker-container-missing"
                default: "docker-container-unreadable"
                }
            throw Obstacle(error, id: id)
        }
    }

    /// - Parameter mayRestart: whether a restart was declared as the last resort.
    /// - Throws: where neither a signal nor a restart would make HAProxy load its files.
    func way(mayRestart: Bool) throws(Obstacle) -> Way {
        guard inspection.state.isRunning else {
            throw Obstacle(
                finding(
                    "docker-container-stopped", "\(shownName) does not run: it is \(inspection.state.status)",
                    remedy:
                        "start it: `docker start \(inspection.name)`; why it ended: `docker logs \(inspection.name)`"))
        }
        if let master = processes.master { return .signal(master: master) }
        if mayRestart, processes.haproxy != nil { return .restart }
        throw Obstacle(noMaster)
    }

    private var noMaster: Finding {
        let main = TerminalText.sanitized(
            processes.signalled?.arguments.joined(separator: " ") ?? "unknown", limit: 200)
        guard let signalled = processes.signalled, signalled.isHAProxy else {
            return finding(
                "docker-not-haproxy", "process 1 of \(shownName) is '\(main)', not HAProxy: a signal does not reach it",
                remedy: "start HAProxy as the command of the container, in a script with `exec haproxy …`; or declare "
                    + "`restart: true`, which closes every connection")
        }
        return finding(
            "docker-no-master", "HAProxy in \(shownName) runs without a master ('\(main)'): a signal reloads nothing",
            remedy: "start it with `-W` (the official image does where the command begins with `haproxy`); or declare "
                + "`restart: true`, which closes every connection")
    }

    private func finding(_ id: String, _ message: String, remedy: String) -> Finding {
        Finding(id: id, severity: .error, message: message, remedy: remedy)
    }
}
