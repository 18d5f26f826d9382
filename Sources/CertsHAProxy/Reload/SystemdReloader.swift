import CertsCore

/// `systemctl reload UNIT`, with the processes of the unit as the witness: Debian's unit sends a signal and reports
/// success before anything is loaded.
struct SystemdReloader: Reloader {
    let unit: String
    /// A program of the search path, or a path.
    var systemctl = "systemctl"

    func check(bundlePaths: [String]) async -> [Finding] {
        do {
            let state = try await state(within: .seconds(10))
            if let error = obstacle(state) { return [Finding(error: error, id: "reload-unavailable")] }
            guard await isHAProxy(state.mainPID) else {
                return [
                    Finding(
                        id: "reload-unseen", severity: .warning,
                        message: "the main process of \(unit) is not HAProxy: what a reload does cannot be seen",
                        remedy: "check that each endpoint of the target is listed: only a handshake tells then")
                ]
            }
            return [await WorkerWatch(master: state.mainPID, subject: unit).check()].compactMap(\.self)
        } catch {
            return [Finding(error: CertsError.wrapping(error), id: "reload-unavailable")]
        }
    }

    func reload(within limit: Duration) async throws -> ReloadOutcome {
        let end = ContinuousClock.now + limit
        let state = try await state(within: limit)
        if let error = obstacle(state) { throw error }
        let ask = {
            // It waits for `ExecReload`, which at Debian checks the configuration first.
            _ = try await run(["reload"], within: max(.milliseconds(100), end - ContinuousClock.now))
        }
        guard await isHAProxy(state.mainPID) else {
            try await ask()
            return ReloadOutcome(evidence: .askedFor)
        }
        return try await WorkerWatch(master: state.mainPID, subject: unit).reload(
            within: max(.milliseconds(100), end - ContinuousClock.now), ask: ask)
    }

    /// What `systemctl show` tells of a unit.
    struct State: Sendable, Equatable {
        var load = ""
        var active = ""
        var mainPID = 0
        var canReload = false

        init(_ text: String) {
            for line in text.split(whereSeparator: \.isNewline) {
                guard let mark = line.firstIndex(of: "=") else { continue }
                let value = String(line[line.index(after: mark)...])
                switch line[..<mark] {
                case "LoadState": load = value
                case "ActiveState": active = value
                case "MainPID": mainPID = Int(value) ?? 0
                case "CanReload": canReload = value == "yes"
                default: continue
                }
            }
        }
    }

    private func state(within limit: Duration) async throws -> State {
        State(try await run(["show", "--property=LoadState,ActiveState,MainPID,CanReload"], within: limit))
    }

    private func obstacle(_ state: State) -> CertsError? {
        if state.load != "loaded" {
            return failure(
                "systemd has no unit \(unit) (\(TerminalText.sanitized(state.load, limit: 40)))",
                hint: "`systemctl list-units --type=service` shows how HAProxy's unit is called")
        }
        if state.active != "active" && state.active != "reloading" {
            return failure(
                "the unit \(unit) is \(TerminalText.sanitized(state.active, limit: 40))",
                hint: "start it: `systemctl start \(unit)`")
        }
        guard state.canReload, state.mainPID > 1 else {
            return failure(
                "the unit \(unit) cannot be reloaded", hint: "give it `ExecReload=`, as HAProxy's own unit has it")
        }
        return nil
    }

    private func isHAProxy(_ pid: Int) async -> Bool {
        await WorkerTree.look(at: pid)?.master.name.hasPrefix("haproxy") == true
    }

    private func run(_ words: [String], within limit: Duration) async throws -> String {
        // Nobody is there to answer a question for a password; after `--` no name of a unit is an option.
        let arguments = [systemctl, "--no-ask-password", "--no-pager"] + words + ["--", unit]
        return try await CertsCore.CommandLine(arguments: arguments, deadline: limit).run(purpose: "the command")
    }

    private func failure(_ message: String, hint: String) -> CertsError {
        CertsError(.targetReloadFailed, message, subject: unit, hint: hint, retry: .later)
    }
}
