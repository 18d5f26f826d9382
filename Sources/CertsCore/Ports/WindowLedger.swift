package import Foundation

/// The memory of the maintenance windows and of the maintenance mode; implemented in CertsStore. What a call wrote is
/// durable when it returns.
package protocol WindowLedger: Sendable {
    /// Records that the window is open.
    ///
    /// - Returns: `false` if a window that was opened by its time is there already.
    @discardableResult
    func open(_ window: WindowRecord) async throws -> Bool
    /// Records its end, once.
    func close(window id: String, at date: Date) async throws
    func openWindows() async throws -> [WindowRecord]
    /// Newest first.
    func windows(limit: Int) async throws -> [WindowRecord]
    /// Those that were opened in `[start, end)`, oldest first.
    func windows(from start: Date, to end: Date) async throws -> [WindowRecord]
    func window(_ id: String) async throws -> WindowRecord?
    /// Adds to what happened in its window; nothing of that is ever changed.
    func add(_ event: WindowEvent) async throws
    /// In the order in which they happened.
    func events(of window: String) async throws -> [WindowEvent]

    func lease() async throws -> ModeLease?
    /// Before the mode is switched on.
    ///
    /// - Throws: `job.refused` where there is another one.
    func take(_ lease: ModeLease) async throws
    func change(_ lease: ModeLease) async throws
    func drop(leaseOf window: String) async throws

    /// The runs of all jobs that began in `[start, end)`, oldest first.
    func runs(from start: Date, to end: Date) async throws -> [JobRun]
    /// The rotations that began in `[start, end)`, oldest first.
    func rotations(from start: Date, to end: Date) async throws -> [Rotation]
}

/// One window that was opened.
package struct WindowRecord: Sendable, Hashable {
    package enum Source: String, Sendable, Hashable, Codable {
        /// Its time had come.
        case timer
        case command
    }

    package var id: String
    package var type: WindowType
    /// Begin of the planned window that it is; `nil`: it was not planned.
    package var plannedAt: Date?
    package var openedAt: Date
    package var endsAt: Date
    /// `nil`: it is open.
    package var closedAt: Date?
    /// `USER@HOST`.
    package var openedBy: String
    package var source: Source
    /// Whether who opened it runs the jobs of its type, and closes it.
    package var runsTasks: Bool
    /// What the users were told.
    package var message: String?

    package init(
        id: String, type: WindowType, plannedAt: Date?, openedAt: Date, endsAt: Date, closedAt: Date? = nil,
        openedBy: String, source: Source, runsTasks: Bool = false, message: String? = nil
    ) {
        self.id = id
        self.type = type
        self.plannedAt = plannedAt
        self.openedAt = openedAt
        self.endsAt = endsAt
        self.closedAt = closedAt
        self.openedBy = openedBy
        self.source = source
        self.runsTasks = runsTasks
        self.message = message
    }

    /// How long it lasts, or lasted, past its planned end, in seconds.
    package func overrun(at now: Date) -> TimeInterval { max(0, (closedAt ?? now).timeIntervalSince(endsAt)) }
}

/// One thing that happened in a window.
package struct WindowEvent: Sendable, Hashable {
    package enum Step: String, Sendable, Hashable {
        case announce
        case silence
        case modeOn = "mode-on"
        case task
        case verify
        case modeOff = "mode-off"
        case endSilence = "end-silence"
        case close
    }

    package enum Result: String, Sendable, Hashable {
        case done, failed, skipped
    }

    package var window: String
    package var at: Date
    package var step: Step
    package var result: Result
    /// The job, the program, the certificate; empty: the step says it all.
    package var subject: String
    /// One sentence; empty: there is nothing to add.
    package var detail: String

    package init(
        window: String, at: Date, step: Step, result: Result = .done, subject: String = "", detail: String = ""
    ) {
        self.window = window
        self.at = at
        self.step = step
        self.result = result
        self.subject = subject
        self.detail = detail
    }
}

/// The promise to switch the maintenance mode off again; it is kept before the mode is switched on, so that whoever looks
/// after a crash knows.
package struct ModeLease: Sendable, Hashable {
    package var window: String
    package var takenAt: Date
    package var mustBeOffBy: Date
    /// Whether a person works in the window and closes it; else it ends with the process that took it.
    package var isHandedOver: Bool

    package init(window: String, takenAt: Date, mustBeOffBy: Date, isHandedOver: Bool = false) {
        self.window = window
        self.takenAt = takenAt
        self.mustBeOffBy = mustBeOffBy
        self.isHandedOver = isHandedOver
    }
}

/// Held for as long as a process opens, works in or closes a window; implemented in CertsStore.
package protocol WindowLocks: Sendable {
    /// Never waits.
    ///
    /// - Throws: `lock.held`.
    func lockWindow() async throws -> any HeldLock
}
