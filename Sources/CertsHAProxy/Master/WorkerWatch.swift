import CertsCore
import Foundation

/// Sees from the processes of this machine what came of a reload, where HAProxy itself says nothing.
struct WorkerWatch: Sendable {
    let master: Int
    /// Begins messages and is their subject: the pid file, the unit.
    let subject: String
    var pause: Duration = .milliseconds(10)
    /// After how long without any change a request counts as lost, and is made again.
    var quiet: Duration = .seconds(1)

    /// What stands in the way of a reload by this process.
    func check() async -> Finding? {
        guard let tree = await WorkerTree.look(at: master), !tree.isMaster else { return nil }
        let parent = await WorkerTree.look(at: tree.master.parent)
        let isWorker = parent?.master.name == tree.master.name && parent?.isMaster == true
        return Finding(
            id: "not-master-worker", severity: .error,
            message: isWorker
                ? "the process \(master) of \(subject) is a worker of HAProxy's master \(tree.master.parent): it cannot reload"
                : "the process \(master) of \(subject) is a HAProxy without a master: it cannot reload",
            remedy: isWorker
                ? "name the file that HAProxy's master writes (`-p FILE`)"
                : "start HAProxy with `-W` (`-Ws` under systemd), or use `reload: { method: runtime }`")
    }

    /// Asks for a reload, and waits for the worker that comes of it.
    ///
    /// - Parameter ask: called again once when nothing happens: a signal that meets a master at the end of a reload is
    ///   lost without a trace.
    /// - Returns: evidence `askedFor` where the processes cannot be seen.
    func reload(within limit: Duration, ask: () async throws -> Void) async throws -> ReloadOutcome {
        let end = ContinuousClock.now + limit
        // Only a worker that comes after the master has listened has surely read what is on disk now.
        guard let before = try await listening(until: end, limit), before.workers != nil else {
            try await ask()
            return ReloadOutcome(evidence: .askedFor)
        }
        if let finding = await check() {
            throw CertsError(.targetReloadFailed, finding.message, subject: subject, hint: finding.remedy)
        }
        try await ask()
        var askedAt = ContinuousClock.now
        var askedAgain = false
        var isLoading = false
        while ContinuousClock.now < end {
            guard let now = await WorkerTree.look(at: master) else { throw masterEnded }
            isLoading = !now.listens
            if !isLoading {
                if let new = now.newWorker(since: before) { return await outcome(new, before, now) }
                let reloaded = now.hasReloaded(since: before)
                if reloaded == true { throw didNotLoad }
                // Where an `exec` cannot be seen, a load that failed looks like a signal that was lost.
                if !askedAgain, ContinuousClock.now - askedAt > (reloaded == nil ? limit / 2 : min(quiet, limit / 2)) {
                    try await ask()
                    (askedAgain, askedAt) = (true, .now)
                }
            }
            try await Task.sleep(for: pause)
        }
        throw isLoading ? stillLoading(limit) : noNewWorker(limit)
    }

    private func listening(until end: ContinuousClock.Instant, _ limit: Duration) async throws -> WorkerTree? {
        while true {
            guard let tree = await WorkerTree.look(at: master) else { return nil }
            if tree.listens || !tree.isMaster { return tree }
            guard ContinuousClock.now < end else { throw stillLoading(limit) }
            try await Task.sleep(for: pause)
        }
    }

    private func outcome(_ new: ProcessStatus, _ before: WorkerTree, _ now: WorkerTree) async -> ReloadOutcome {
        let old = now.remaining(of: before)
        let ages = try? await BlockingPool.network.run { old.map(\.age) }
        return ReloadOutcome(
            evidence: .newWorker(pid: new.pid),
            oldWorkers: old.enumerated().map { OldWorker(pid: $1.pid, connections: nil, age: ages?[$0]) })
    }

    // MARK: Errors

    private static let remedy =
        "read the reason in HAProxy's log (`journalctl -u haproxy`), or let `haproxy -c -f CONFIGURATION` print it, and mend it"

    private var didNotLoad: CertsError {
        failure("HAProxy (pid \(master)) did not load its files again, and runs on with what it had", hint: Self.remedy)
    }

    private func noNewWorker(_ limit: Duration) -> CertsError {
        failure(
            "HAProxy (pid \(master)) was told to reload, and has no new worker after \(limit)",
            hint: Self.remedy)
    }

    private func stillLoading(_ limit: Duration) -> CertsError {
        CertsError(
            .targetTimeout, "HAProxy (pid \(master)) still loads its files after \(limit)", subject: subject,
            hint: "give the target more time with `verifyWithin`, and look at HAProxy's load and log", retry: .later)
    }

    private var masterEnded: CertsError {
        failure(
            "HAProxy's master (pid \(master)) ended while it was reloaded",
            hint: "look at its log, and start it again: nothing is served now")
    }

    private func failure(_ message: String, hint: String) -> CertsError {
        CertsError(.targetReloadFailed, message, subject: subject, hint: hint, retry: .later)
    }
}
