import CertsCore
import CertsDocker
import Foundation

/// A signal to HAProxy in a container, through the Engine API.
///
/// The engine takes a signal with HTTP 204 whether or not anything reloads: what counts is a worker that was not there
/// before.
struct DockerReloader: Reloader {
    let container: DockerContainer
    /// For one answer of the engine.
    var reply: Duration = .seconds(10)
    /// Between two looks.
    var pause: Duration = .milliseconds(100)
    /// How long a new process must live to be believed where HAProxy says nothing: one that cannot load ends at once.
    var settling: Duration = .seconds(1)

    func reload(within limit: Duration) async throws -> ReloadOutcome {
        do {
            let found = try await RunningContainer.locate(container, reply: reply)
            // HAProxy ran at the check: our own restart ended it, and nothing is left to ask for a validation.
            if container.restart, found.processes.haproxy == nil { return try await restart(found, within: limit) }
            switch try found.way(mayRestart: container.restart) {
            case .signal(let master):
                try await validate(found, within: limit)
                return try await signal(master, of: found, within: limit)
            case .restart:
                do {
                    try await validate(found, within: limit)
                } catch {
                    // Of a container that ended meanwhile, as one does that is restarted for ever, it says nothing.
                    let state = try await found.engine.inspect(found.id).state
                    guard state.startedAt != found.inspection.state.startedAt || !state.isRunning else { throw error }
                }
                return try await restart(found, within: limit)
            }
        } catch let obstacle as RunningContainer.Obstacle {
            throw obstacle.error
        }
    }

    /// Lets HAProxy in the container read all that it would load, without loading it.
    private func validate(_ found: RunningContainer, within limit: Duration) async throws(CertsError) {
        guard let haproxy = found.processes.haproxy, let program = haproxy.arguments.first else { return }
        let running = haproxy.configuration
        let files = container.configuration.map { [$0] } ?? running.files
        guard !files.isEmpty else {
            throw CertsError(
                .targetReloadFailed, "HAProxy in \(found.shownName) does not show which configuration it has",
                hint: "declare its path inside of the container", retry: .later)
        }
        let arguments =
            [program, "-c"] + (running.directory.map { ["-C", $0] } ?? []) + files.flatMap { ["-f", $0] }
        let result = try await found.engine.execute(arguments, in: found.id, deadline: limit)
        guard result.exitCode != 0 else { return }
        let words = ReloadLog.reason(in: result.output) ?? "it printed nothing"
        throw CertsError(
            .targetReloadFailed,
            "HAProxy in \(found.shownName) refuses its files (exit code \(result.exitCode)): \(words)",
            hint: "mend what it says; it was not told to reload, and goes on serving what it has", retry: .later)
    }

    private func signal(
        _ master: ContainerProcess, of found: RunningContainer, within limit: Duration
    ) async throws(CertsError) -> ReloadOutcome {
        let before = Set(try await workers(of: master, in: found).map(\.pid))
        let asked = Date()
        let begin = ContinuousClock.now
        var firstSeen: ContinuousClock.Instant?
        var isRepeated = false
        try await found.engine.kill(found.id, container.signal)
        while true {
            // In this order: once the log tells of the success, the worker that it means is in the list.
            let log = await log(of: found, since: asked)
            let workers = try await workers(of: master, in: found)
            guard log.progress != .failed else { throw failed(found, log) }
            let now = ContinuousClock.now
            if let worker = workers.filter({ !before.contains($0.pid) }).max(by: { $0.pid < $1.pid }) {
                firstSeen = firstSeen ?? now
                let hasSettled = now - (firstSeen ?? now) >= settling && log.progress != .foreign
                if log.progress == .loaded || hasSettled {
                    return ReloadOutcome(
                        evidence: .newWorker(pid: worker.pid), oldWorkers: Self.old(workers, among: before))
                }
            } else {
                firstSeen = nil
            }
            guard now - begin < limit else { throw nothingNew(found, log, limit) }
            // A signal that comes while an earlier reload still finishes is lost without a trace (HAProxy 2.6.12).
            if !isRepeated, now - begin >= limit / 2, log.progress == .silent || log.progress == .foreign {
                try await found.engine.kill(found.id, container.signal)
                isRepeated = true
            }
            try await wait()
        }
    }

    private func restart(_ found: RunningContainer, within limit: Duration) async throws(CertsError) -> ReloadOutcome {
        let asked = Date()
        var firstSeen: (process: Int, at: ContinuousClock.Instant)?
        // Its `stop_grace_period`; 10 is the engine's own default.
        let grace = min(max(found.inspection.settings.stopTimeout ?? 10, 0), 300)
        try await found.engine.restart(found.id, grace: grace)
        let begin = ContinuousClock.now
        while true {
            let inspection = try await found.engine.inspect(found.id)
            var processes: [ContainerProcess] = []
            if inspection.state.isRunning {
                // It may end between the two questions.
                processes = (try? await found.engine.processes(of: found.id)) ?? []
            }
            let haproxy = ContainerProcesses(all: processes, first: inspection.state.pid).haproxy
            let now = ContinuousClock.now
            if let haproxy, inspection.state.startedAt != found.inspection.state.startedAt {
                if firstSeen?.process != haproxy.pid { firstSeen = (haproxy.pid, now) }
                if let firstSeen, now - firstSeen.at >= settling {
                    return ReloadOutcome(evidence: .newWorker(pid: haproxy.pid))
                }
            }
            // With a restart policy it would go on for ever.
            if ["exited", "dead", "restarting"].contains(inspection.state.status) || now - begin >= limit + settling {
                throw didNotStart(found, inspection.state, await log(of: found, since: asked))
            }
            try await wait()
        }
    }

    private func workers(
        of master: ContainerProcess, in found: RunningContainer
    ) async throws(CertsError) -> [ContainerProcess] {
        ContainerProcesses(all: try await found.engine.processes(of: found.id), first: found.inspection.state.pid)
            .workers(of: master)
    }

    /// Empty where it cannot be read: not every log driver of Docker can.
    private func log(of found: RunningContainer, since time: Date) async -> ReloadLog {
        ReloadLog((try? await found.engine.errors(of: found.inspection, since: time)) ?? "")
    }

    private func wait() async throws(CertsError) {
        do {
            try await Task.sleep(for: pause)
        } catch {
            throw CertsError.wrapping(error)
        }
    }

    private static func old(_ workers: [ContainerProcess], among before: Set<Int>) -> [OldWorker] {
        workers.filter { before.contains($0.pid) }.map { OldWorker(pid: $0.pid, age: $0.age) }
    }
}
