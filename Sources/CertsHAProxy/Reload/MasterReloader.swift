import CertsCore
import Foundation

/// `reload` at HAProxy's master CLI, the socket of `-S` (management manual §9.4.1).
struct MasterReloader: Reloader {
    let socket: String
    /// How long a check waits for a master that is just reading its files.
    var checkLimit: Duration = .seconds(3)
    /// After how long without any change a reload counts as lost, and is asked for again.
    var quiet: Duration = .seconds(1)

    private var session: MasterSession { MasterSession(socket: socket) }

    func check(bundlePaths: [String]) async -> [Finding] {
        // Where there is no file nobody will answer; a master that reloads keeps its file.
        let isThere = access(socket, F_OK) == 0
        let end = ContinuousClock.now + (isThere ? checkLimit : .zero)
        do throws(CertsError) {
            let processes = try await session.processes(until: end)
            guard try await session.mayReload(until: end) else {
                return [
                    Finding(
                        id: "reload-not-permitted", severity: .error,
                        message: "the master socket \(socket) does not permit `reload`: it has the level `user`",
                        remedy: "start HAProxy with `-S \(socket),mode,600,level,operator`, or without a level")
                ]
            }
            return lastReloadFailed(processes.master)
        } catch {
            var error = error
            error.subject = error.subject ?? socket
            // An answer that will not be another one next time is somebody else's.
            let isForeign = error.code == .targetUnexpectedReply && error.retry == .never
            return [Finding(error: error, id: isForeign ? "not-master-socket" : "reload-unavailable")]
        }
    }

    private func lastReloadFailed(_ master: MasterReply.Master) -> [Finding] {
        guard let failed = master.failed, failed > 0 else { return [] }
        return [
            Finding(
                id: "last-reload-failed", severity: .warning,
                message: "the last reload of HAProxy at \(socket) failed: it runs with what it loaded before",
                remedy: Self.remedy)
        ]
    }

    func reload(within limit: Duration) async throws -> ReloadOutcome {
        let end = ContinuousClock.now + limit
        // The master answers only when it reads no files: a worker that is new after this has read ours, whoever asked.
        let before = try await session.processes(until: end)
        var asked = 0
        while true {
            switch try await session.reload(until: end) {
            case .succeeded:
                let after = try? await session.processes(until: end)
                return await outcome(before, after)
            case .failed(let words): throw didNotLoad(words)
            case .silent where before.master.reportsReloads:
                // Each reload that was begun is reported: this request did not arrive.
                guard ContinuousClock.now < end else { throw nothingHappened(limit) }
                try await session.wait(.milliseconds(100))
            case .silent, .busy:
                asked += 1
                // A request that meets a master on its way into a reload is lost without a trace.
                guard let after = try await change(since: before, until: end, quiet: asked == 1 ? quiet : limit) else {
                    guard asked == 1, ContinuousClock.now < end else { throw nothingHappened(limit) }
                    continue
                }
                let result = await outcome(before, after)
                guard case .newWorker = result.evidence else { throw didNotLoad(nil) }
                return result
            }
        }
    }

    /// What `show proc` tells once something has changed.
    ///
    /// - Parameter quiet: how long the master may answer without a change; `nil` is returned then.
    private func change(
        since before: MasterReply.Processes, until end: ContinuousClock.Instant, quiet: Duration
    ) async throws(CertsError) -> MasterReply.Processes? {
        var firstAnswer: ContinuousClock.Instant?
        while true {
            let now = try await session.processes(until: end)
            let isChanged =
                now.master.pid != before.master.pid || now.master.reloads != before.master.reloads
                || now.workers.map(\.pid) != before.workers.map(\.pid)
            if isChanged { return now }
            let since = firstAnswer ?? ContinuousClock.now
            firstAnswer = since
            guard ContinuousClock.now - since < quiet, ContinuousClock.now + session.pause < end else { return nil }
            try await session.wait(session.pause)
        }
    }

    private func outcome(_ before: MasterReply.Processes, _ after: MasterReply.Processes?) async -> ReloadOutcome {
        let known = Set((before.workers + before.oldWorkers).map(\.pid))
        let new = after?.workers.first { !known.contains($0.pid) }
        return ReloadOutcome(
            evidence: new.map { .newWorker(pid: $0.pid) } ?? .reported,
            oldWorkers: await session.states(of: after?.oldWorkers ?? []))
    }

    // MARK: Errors

    private static let remedy =
        "read the reason in HAProxy's log (`journalctl -u haproxy`, `docker logs`), or let `haproxy -c -f CONFIGURATION` print it, and mend it"

    private func didNotLoad(_ words: String?) -> CertsError {
        CertsError(
            .targetReloadFailed,
            "HAProxy did not load its files again, and runs on with what it had" + (words.map { ": \($0)" } ?? ""),
            subject: socket, hint: Self.remedy, retry: .later)
    }

    private func nothingHappened(_ limit: Duration) -> CertsError {
        CertsError(
            .targetTimeout, "HAProxy was told to reload, and did not within \(limit)", subject: socket,
            hint: "look at HAProxy's load and log, and give the target more time with `verifyWithin`", retry: .later)
    }
}
