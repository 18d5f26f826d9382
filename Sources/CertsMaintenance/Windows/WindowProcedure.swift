package import CertsCore
import CertsPrograms
package import Foundation

/// One window opened by hand, from the announcement to the last line of its log.
///
/// Each step is in the ledger before the next begins. The points at which a test may end the process are named in
/// ``faultPoints``.
package struct WindowProcedure: Sendable {
    /// What the person who opens it asks for.
    package struct Request: Sendable {
        package var type: WindowType
        /// In seconds; `nil`: until its planned end, or as long as its type says.
        package var length: TimeInterval?
        /// For the users; `nil`: one that says when.
        package var message: String?
        /// Whether the jobs of its type are run, and the window closed; else a person works in it.
        package var runsTasks: Bool
        /// Whether the users are told and the mode is switched on.
        package var usesAdmin: Bool
        /// `USER@HOST`.
        package var openedBy: String

        package init(
            _ type: WindowType, length: TimeInterval? = nil, message: String? = nil, runsTasks: Bool = true,
            usesAdmin: Bool = true, openedBy: String
        ) {
            self.type = type
            self.length = length
            self.message = message
            self.runsTasks = runsTasks
            self.usesAdmin = usesAdmin
            self.openedBy = openedBy
        }
    }

    /// One proof that the service works.
    package struct Check: Sendable {
        package var subject: String
        package var holds: Bool
        package var detail: String

        package init(subject: String, holds: Bool, detail: String) {
            self.subject = subject
            self.holds = holds
            self.detail = detail
        }
    }

    /// In the order in which they are reached.
    package static let faultPoints = [
        "window-after-open", "window-after-announce", "window-before-mode-on", "window-after-mode-on",
        "window-before-tasks", "window-after-tasks", "window-after-verify", "window-after-mode-off",
    ]

    private let maintenance: MaintenanceDeclaration
    private let runner: JobRunner
    private let mode: MaintenanceMode
    private let faults: FaultPoints
    /// What the endpoints of the certificates serve.
    private let certificates: @Sendable () async -> [Check]
    /// Told of each step.
    private let report: @Sendable (WindowEvent) -> Void

    package init(
        _ maintenance: MaintenanceDeclaration, runner: JobRunner, mode: MaintenanceMode, faults: FaultPoints = .none,
        certificates: @escaping @Sendable () async -> [Check] = { [] },
        report: @escaping @Sendable (WindowEvent) -> Void = { _ in }
    ) {
        self.maintenance = maintenance
        self.runner = runner
        self.mode = mode
        self.faults = faults
        self.certificates = certificates
        self.report = report
    }

    /// `standard-20251204T020000Z`: a name that says which one it is.
    static func id(_ type: WindowType, _ date: Date) -> String {
        let parts = UTC.parts(date)
        func two(_ number: Int32) -> String { number < 10 ? "0\(number)" : "\(number)" }
        let day = "\(Int(parts.tm_year) + 1900)\(two(parts.tm_mon + 1))\(two(parts.tm_mday))"
        return "\(type.rawValue)-\(day)T\(two(parts.tm_hour))\(two(parts.tm_min))\(two(parts.tm_sec))Z"
    }

    // MARK: - Opening

    /// Opens a window, and with ``Request/runsTasks`` does all of it.
    ///
    /// - Returns: the window as it was recorded; its events tell what went wrong in it.
    /// - Throws: `job.refused`, `lock.held` before anything is done; `admin.failed` when the users could not be told or the
    ///   mode could not be switched: then the window is closed, or its lease stays until the mode is off.
    package func open(_ request: Request, interrupt: JobInterrupt = JobInterrupt()) async throws -> WindowRecord {
        let lock = try await mode.locks.lockWindow()
        defer { lock.release() }
        let window = try await begin(request)
        do {
            try faults.reached("window-after-open")
            try await announce(window, request)
            if request.usesAdmin, mode.admin != nil {
                let isOurs = try await mode.switchOn(for: window) { try faults.reached($0) }
                try await note(
                    window, .modeOn, isOurs ? .done : .skipped,
                    detail: isOurs ? "" : "somebody had switched it on before; it stays on")
            }
        } catch {
            try await abandon(window, CertsError.wrapping(error))
            throw error
        }
        if request.usesAdmin { await silence(window) }
        guard request.runsTasks else {
            try await handOver(window)
            return window
        }
        await carryOut(window, interrupt)
        return try await finish(window)
    }

    private func begin(_ request: Request) async throws -> WindowRecord {
        if let other = try await mode.ledger.openWindows().first(where: { $0.source == .command }) {
            throw CertsError(
                .jobRefused, "the window \(other.id) is open, by \(other.openedBy) since \(UTC.text(other.openedAt))",
                subject: other.id, hint: "close it with `certs window close`", retry: .later)
        }
        if request.usesAdmin, let lease = try await mode.ledger.lease() {
            throw CertsError(
                .jobRefused, "the maintenance mode of the window \(lease.window) is not off for sure yet",
                subject: lease.window,
                hint: "try again at \(UTC.text(lease.mustBeOffBy)), or look into the log of the service", retry: .later)
        }
        guard let declared = maintenance.window(request.type) else {
            throw CertsError(
                .nameUnknown, "no \(request.type.rawValue) window is declared",
                hint: "write '\(request.type.rawValue): {}' under `windows:`")
        }
        let now = mode.now()
        let planned = declared.occurrence(at: now)
        let end: Date
        if let length = request.length {
            end = now.addingTimeInterval(length)
        } else if let planned {
            end = planned.end
        } else if let duration = declared.duration {
            end = now.addingTimeInterval(duration)
        } else {
            throw CertsError(
                .usage, "nobody has said how long the \(request.type.rawValue) window lasts",
                hint: "say so with --for 2h")
        }
        let window = WindowRecord(
            id: "\(Self.id(request.type, now))-\(UUID().uuidString.prefix(4).lowercased())", type: request.type,
            plannedAt: planned?.start, openedAt: now, endsAt: end, openedBy: request.openedBy, source: .command,
            runsTasks: request.runsTasks, message: request.message ?? Self.message(request.type, now, end))
        try await mode.ledger.open(window)
        return window
    }

    /// With the day: an announcement is read on another one, and in another zone.
    static func message(_ type: WindowType, _ start: Date, _ end: Date) -> String {
        let sameDay = UTC.day(start) == UTC.day(end)
        let what = type == .emergency ? "Emergency maintenance" : "Scheduled maintenance"
        return "\(what) from \(UTC.text(start)) to \(sameDay ? UTC.time(end) : UTC.text(end))"
    }

    private func announce(_ window: WindowRecord, _ request: Request) async throws {
        guard request.usesAdmin, let admin = mode.admin, let message = window.message else {
            try await note(
                window, .announce, .skipped, detail: request.usesAdmin ? "no admin API is declared" : "as asked")
            return
        }
        try await admin.announce(message, key: "\(window.id)-announce")
        try await note(window, .announce, .done, detail: message)
        try faults.reached("window-after-announce")
    }

    /// An alert too many is no reason not to work.
    private func silence(_ window: WindowRecord) async {
        guard let silences = maintenance.alertmanager.map({ Silences($0) }) else { return }
        do {
            try await note(window, .silence, .done, detail: try await silences.begin(window))
        } catch {
            try? await note(window, .silence, .failed, detail: CertsError.wrapping(error).description)
        }
    }

    /// It would end with the time of the window.
    private func endSilence(_ window: WindowRecord) async {
        guard let silences = maintenance.alertmanager.map({ Silences($0) }),
            let events = try? await mode.ledger.events(of: window.id),
            let id = events.first(where: { $0.step == .silence && $0.result == .done })?.detail
        else { return }
        do {
            try await silences.end(id)
            try await note(window, .endSilence, .done, detail: id)
        } catch {
            try? await note(window, .endSilence, .failed, detail: CertsError.wrapping(error).description)
        }
    }

    /// Nothing was done in it. The mode is off, or its lease stays until it is.
    private func abandon(_ window: WindowRecord, _ error: CertsError) async throws {
        if let lease = try await mode.ledger.lease(), lease.window == window.id, !lease.isHandedOver {
            try? await mode.switchOff(window.id, why: "the window could not be opened", once: false)
        }
        let step: WindowEvent.Step =
            try await mode.ledger.events(of: window.id).contains { $0.step == .announce } ? .modeOn : .announce
        try await note(window, step, .failed, detail: error.description)
        try await mode.close(window)
    }

    /// From here on a person works in it; the mode goes at its end, whatever they do.
    private func handOver(_ window: WindowRecord) async throws {
        guard var lease = try await mode.ledger.lease(), lease.window == window.id else { return }
        lease.mustBeOffBy = window.endsAt
        lease.isHandedOver = true
        try await mode.ledger.change(lease)
    }

    // MARK: - The work

    /// The jobs of its type in their order, and the proofs. What fails is recorded; the next one has its turn.
    private func carryOut(_ window: WindowRecord, _ interrupt: JobInterrupt) async {
        let left = max(0, window.endsAt.timeIntervalSince(mode.now()))
        let alarm = Task {
            try await Task.sleep(for: .seconds(left))
            interrupt.set()
        }
        defer { alarm.cancel() }
        do {
            try faults.reached("window-before-tasks")
            for job in maintenance.jobs where job.window == window.type {
                try await carryOut(job, in: window, interrupt)
            }
            try faults.reached("window-after-tasks")
            try await verify(window, interrupt)
            try faults.reached("window-after-verify")
        } catch {
            // The ledger itself fails: the mode has to go off all the same.
            let failure = CertsError.wrapping(error)
            try? await note(window, .task, .failed, detail: failure.description)
        }
    }

    private func carryOut(_ job: JobDeclaration, in window: WindowRecord, _ interrupt: JobInterrupt) async throws {
        let left = window.endsAt.timeIntervalSince(mode.now())
        let gate = WindowGate(maintenance, windows: mode.ledger, jobs: runner.ledger)
        let expected = try await gate.expectedDuration(of: job)
        guard !interrupt.isSet, left >= 1, expected <= left else {
            let why =
                interrupt.isSet
                ? "told to stop" : "it takes about \(Int(expected)) s, and \(Int(max(0, left))) s are left"
            return try await note(window, .task, .skipped, job.name.rawValue, why)
        }
        var bounded = job
        bounded.deadline = min(job.deadline, left)
        let run = try await runner.run(
            bounded, occurrence: nil, source: .command, window: window.id, interrupt: interrupt)
        let seconds = max(0, (run.endedAt ?? run.startedAt).timeIntervalSince(run.startedAt))
        let result = run.result?.rawValue ?? "open"
        let reason = run.reason.map { ": \($0)" } ?? ""
        let words = String(format: "%.1f s, %d done, %@%@", seconds, run.rows, result, reason)
        try await note(window, .task, run.result == .succeeded ? .done : .failed, job.name.rawValue, words)
        guard run.result == .succeeded else { return }
        // Its occurrence has had its run.
        try await runner.ledger.plan(
            job.name, lastOccurrence: mode.now(), nextRunAt: job.schedule.next(after: mode.now()))
    }

    private func verify(_ window: WindowRecord, _ interrupt: JobInterrupt) async throws {
        for arguments in maintenance.window(window.type)?.verify ?? [] {
            let shown = Program.shown(arguments)
            do {
                try await Program(arguments, deadline: .seconds(300), outputLimit: 1 << 20).run()
                try await note(window, .verify, .done, shown, "exit code 0")
            } catch let failure as ProgramFailure {
                let error = failure.certsError(.jobFailed, "the program '\(shown)'")
                try await note(window, .verify, .failed, shown, error.description)
            }
        }
        for check in await certificates() {
            try await note(window, .verify, check.holds ? .done : .failed, check.subject, check.detail)
        }
    }

    // MARK: - Closing

    /// Ends the window that a person worked in.
    ///
    /// - Throws: `name.unknown` where none is open.
    package func close() async throws -> WindowRecord {
        let lock = try await mode.locks.lockWindow()
        defer { lock.release() }
        guard let window = try await mode.ledger.openWindows().first(where: { $0.source == .command }) else {
            throw CertsError(
                .nameUnknown, "no window was opened by hand", hint: "`certs window list` shows them")
        }
        do {
            try await verify(window, JobInterrupt())
        } catch {
            try? await note(window, .verify, .failed, detail: CertsError.wrapping(error).description)
        }
        return try await finish(window)
    }

    private func finish(_ window: WindowRecord) async throws -> WindowRecord {
        var failure: (any Error)?
        if let lease = try await mode.ledger.lease(), lease.window == window.id {
            do {
                try await mode.switchOff(window.id, why: "the work was done")
            } catch {
                failure = error
                // Nobody works in it any more: whoever comes next tries again.
                var over = lease
                (over.mustBeOffBy, over.isHandedOver) = (mode.now(), true)
                try await mode.ledger.change(over)
            }
        }
        try faults.reached("window-after-mode-off")
        await endSilence(window)
        try await mode.close(window)
        if let failure { throw failure }
        return try await mode.ledger.window(window.id) ?? window
    }

    private func note(
        _ window: WindowRecord, _ step: WindowEvent.Step, _ result: WindowEvent.Result, _ subject: String = "",
        _ detail: String = ""
    ) async throws {
        try await note(window, step, result, subject: subject, detail: detail)
    }

    private func note(
        _ window: WindowRecord, _ step: WindowEvent.Step, _ result: WindowEvent.Result, subject: String = "",
        detail: String
    ) async throws {
        let event = WindowEvent(
            window: window.id, at: mode.now(), step: step, result: result, subject: subject, detail: detail)
        try await mode.ledger.add(event)
        report(event)
    }
}
