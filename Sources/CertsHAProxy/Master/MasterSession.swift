import CertsCore

/// The conversation with HAProxy's master CLI, typed (management manual §9.4).
///
/// While the master reads its files again it listens to nobody, for seconds where it has many certificates: who is
/// refused asks again, until `end`.
struct MasterSession: Sendable {
    let socket: String
    var pause: Duration = .milliseconds(20)

    /// - Throws: `target.unreachable` or `target.timeout` when it did not answer until `end`; what the reply says.
    func processes(until end: ContinuousClock.Instant) async throws(CertsError) -> MasterReply.Processes {
        while true {
            do throws(CertsError) {
                return try MasterReply.processes(try await send(.listProcesses, until: end))
            } catch  where error.retry == .later && ContinuousClock.now + pause < end {
                try await wait(pause)
            }
        }
    }

    /// Asks for a reload; from HAProxy 2.7 on the answer comes when it is done.
    ///
    /// - Returns: `silent` also where the connection broke: then the request may have arrived, or not.
    func reload(until end: ContinuousClock.Instant) async throws(CertsError) -> MasterReply.Reload {
        while true {
            let reply: String
            do throws(CertsError) {
                reply = try await send(.reload, until: end)
            } catch  where error.code == .targetUnreachable && error.retry == .later {
                return .silent
            } catch  where error.code == .targetTimeout && ContinuousClock.now + pause < end {
                // Before the deadline: there was no place in the queue for this connection.
                try await wait(pause)
                continue
            }
            guard case .busy = try MasterReply.reload(reply) else { return try MasterReply.reload(reply) }
            guard ContinuousClock.now + pause * 5 < end else {
                throw CertsError(
                    .targetTimeout, "an earlier reload of HAProxy is still not done", subject: socket,
                    hint: "look at HAProxy's log; give the target more time with `verifyWithin`", retry: .later)
            }
            try await wait(pause * 5)
        }
    }

    /// Whether this socket's level is enough for `reload`.
    func mayReload(until end: ContinuousClock.Instant) async throws(CertsError) -> Bool {
        try MasterReply.mayReload(try await send(.showLevel, until: end))
    }

    /// What the old workers still do; who ended meanwhile is left out, who does not answer at once is told as listed.
    func states(of workers: [MasterReply.Worker]) async -> [OldWorker] {
        var result: [OldWorker] = []
        for (index, worker) in workers.enumerated() {
            var state: MasterReply.WorkerState?
            // A master keeps at most 50 by default: beyond a few nobody reads their numbers.
            if index < 8, let reply = try? await send(.showProcess(ofWorker: worker.pid), until: .now + .seconds(1)) {
                state = try? MasterReply.workerState(reply)
            }
            switch state {
            case .gone: continue
            case .alive(let connections, let age):
                result.append(OldWorker(pid: worker.pid, connections: connections, age: age ?? Double(worker.uptime)))
            case nil: result.append(OldWorker(pid: worker.pid, age: Double(worker.uptime)))
            }
        }
        return result
    }

    func wait(_ duration: Duration) async throws(CertsError) {
        do { try await Task.sleep(for: duration) } catch { throw CertsError.wrapping(error) }
    }

    private func send(_ command: RuntimeCommand, until end: ContinuousClock.Instant) async throws(CertsError) -> String
    {
        let left = max(.milliseconds(50), end - ContinuousClock.now)
        return try await RuntimeConnection(socket: socket, deadline: left, peer: .master).send(command)
    }
}
