package import CertsCore
package import Foundation
package import Logging

/// The maintenance mode as a lease: it is recorded before the mode is switched on, and goes when the mode is off again.
/// Whoever finds one whose time is over, or whose process is gone, switches the mode off.
package struct MaintenanceMode: Sendable {
    /// `nil`: no admin API is declared.
    package let admin: AdminClient?
    package let ledger: any WindowLedger
    package let locks: any WindowLocks
    private let logger: Logger
    package let now: @Sendable () -> Date

    /// How long after the end of its window the mode may be on: that is for the closing. In seconds.
    package static let closing: TimeInterval = 60
    /// A request that went unanswered may be carried out later: after this time it is made good. In seconds.
    static let lateAnswer: TimeInterval = 60

    package init(
        admin: AdminClient?, ledger: any WindowLedger, locks: any WindowLocks, logger: Logger,
        now: @escaping @Sendable () -> Date
    ) {
        self.admin = admin
        self.ledger = ledger
        self.locks = locks
        self.logger = logger
        self.now = now
    }

    // MARK: - By who works in the window

    /// Switches it on for `window`, unless somebody had it on before: then it is theirs, and stays on.
    ///
    /// - Parameter point: told before and after the request, for tests.
    /// - Returns: whether it was switched.
    /// - Throws: `admin.failed`; then it is off again, or will be.
    package func switchOn(for window: WindowRecord, point: (String) throws -> Void = { _ in }) async throws -> Bool {
        guard let admin else { return false }
        if try await admin.mode() == true { return false }
        guard window.endsAt > now() else {
            throw CertsError(
                .jobRefused, "the time of the window \(window.id) is over before its work has begun",
                subject: window.id,
                hint: "open it for longer (--for)")
        }
        let end = window.endsAt.addingTimeInterval(Self.closing)
        try await ledger.take(ModeLease(window: window.id, takenAt: now(), mustBeOffBy: end))
        try point("window-before-mode-on")
        do {
            try await admin.setMode(true, key: "\(window.id)-mode-on")
            try point("window-after-mode-on")
            if try await admin.mode() == false {
                throw CertsError(
                    .adminFailed, "the maintenance mode was switched on, and the service says that it is off",
                    hint: "look into the log of the service", retry: .later)
            }
            // Whoever found it too late has switched it off and taken the lease away: what was switched on after that
            // would never go off.
            guard try await ledger.lease()?.window == window.id else {
                try await ledger.take(ModeLease(window: window.id, takenAt: now(), mustBeOffBy: now()))
                throw CertsError(
                    .adminFailed, "the maintenance mode was switched on too late", subject: window.id,
                    hint: "open a window again", retry: .later)
            }
            return true
        } catch {
            let failure = CertsError.wrapping(error)
            try? await switchOff(
                window.id, why: "it could not be switched on for sure", once: failure.retry == .never)
            throw failure
        }
    }

    /// Switches it off and ends the lease.
    ///
    /// - Parameter once: `false`: once more later, because a request to switch it on may still be under way.
    /// - Throws: `admin.failed`; the lease stays, and it is tried again.
    package func switchOff(_ window: String, why: String, once: Bool = true) async throws {
        do {
            guard let admin else {
                throw CertsError(
                    .adminFailed, "the maintenance mode is on, and no admin API is declared any more",
                    hint: "declare it again (`admin:` under `maintenance:`)")
            }
            // A key of its own each time: the answer to an earlier one must not stand for this one.
            try await admin.setMode(false, key: "\(window)-mode-off-\(UUID().uuidString.lowercased())")
            if try await admin.mode() == true {
                throw CertsError(
                    .adminFailed, "the maintenance mode was switched off, and the service says that it is on",
                    hint: "look into the log of the service", retry: .later)
            }
        } catch {
            let failure = CertsError.wrapping(error)
            try await record(window, .failed, failure.description)
            throw failure
        }
        if once {
            try await ledger.drop(leaseOf: window)
        } else {
            let start = now()
            try await ledger.change(
                ModeLease(
                    window: window, takenAt: start, mustBeOffBy: start.addingTimeInterval(Self.lateAnswer),
                    isHandedOver: true))
        }
        try await record(window, .done, why)
    }

    // MARK: - By everybody else

    /// Switches off what must not be on any more, and closes windows whose process died.
    ///
    /// - Returns: whether there is nothing left to do; if not, it should be tried again.
    @discardableResult
    package func reconcile() async -> Bool {
        do {
            let lease = try await ledger.lease()
            let open = try await ledger.openWindows().filter { $0.source == .command && $0.runsTasks }
            guard lease != nil || !open.isEmpty else { return true }
            guard let lock = try await freeLock() else {
                // Somebody works in it; not for ever.
                guard let lease, lease.mustBeOffBy <= now() else { return true }
                try await switchOff(lease.window, why: "its time was over, and its process had not switched it off")
                return true
            }
            defer { lock.release() }
            // As it is now that nobody else works on it.
            var orphan: String?
            if let lease = try await ledger.lease() {
                if !lease.isHandedOver {
                    try await switchOff(
                        lease.window, why: "the process that had switched it on ended before it was off")
                    orphan = lease.window
                } else if lease.mustBeOffBy <= now() {
                    try await switchOff(lease.window, why: "its time was over")
                }
            }
            for window in try await ledger.openWindows() where window.source == .command {
                if window.runsTasks || window.id == orphan { try await close(window, lost: true) }
            }
            return true
        } catch {
            logger.error("the maintenance mode may still be on: \(CertsError.wrapping(error))")
            return false
        }
    }

    /// `nil`: somebody has it.
    private func freeLock() async throws -> (any HeldLock)? {
        do {
            return try await locks.lockWindow()
        } catch let error as CertsError where error.code == .lockHeld {
            return nil
        }
    }

    /// Records the end of a window.
    package func close(_ window: WindowRecord, lost: Bool = false) async throws {
        let time = now()
        let detail = lost ? "its process ended in the middle of it" : ""
        try await ledger.add(
            WindowEvent(window: window.id, at: time, step: .close, result: lost ? .failed : .done, detail: detail))
        try await ledger.close(window: window.id, at: time)
        if lost { logger.warning("the window \(window.id) was closed: \(detail)") }
    }

    private func record(_ window: String, _ result: WindowEvent.Result, _ detail: String) async throws {
        try await ledger.add(
            WindowEvent(window: window, at: now(), step: .modeOff, result: result, detail: detail))
        let text = TerminalText.sanitized("maintenance mode off: \(detail)")
        if result == .failed { logger.error("\(text)") } else { logger.notice("\(text)") }
    }
}
