package import CertsCore
package import Foundation

/// How one certificate stands, as far as somebody may be told of it.
package struct Standing: Sendable, Hashable {
    package var certificate: Name
    package var troubles: Set<Trouble>
    package var isExpired: Bool
    package var failure: Rotation.Failure?
    package var waitingFor: String?
    package var notAfter: Date?
    package var dueAt: Date?
    package var lastSuccessAt: Date?
    /// When it has another trouble if nothing happens; `nil`: never.
    package var nextChangeAt: Date?

    /// - Parameters:
    ///   - isHandOff: whether one of its issuers waits for a person.
    ///   - grace: how long after its due date a renewal is overdue, in seconds.
    package init(_ state: CertificateState, isHandOff: Bool, grace: TimeInterval, at now: Date) {
        certificate = state.name
        troubles = []
        failure = state.lastFailure
        waitingFor = state.waitingFor
        notAfter = state.intendedRecord?.notAfter
        dueAt = state.dueAt
        lastSuccessAt = state.lastSuccessAt
        isExpired = notAfter.map { $0 <= now } ?? false
        if state.consecutiveFailures > 0 { troubles.insert(Self.failing(state)) }
        // Without a date nothing has been issued yet: what keeps it from that is a failure or a person.
        let lateAt = notAfter == nil ? nil : dueAt?.addingTimeInterval(grace)
        let isLate = lateAt.map { $0 < now } ?? false
        nextChangeAt = [notAfter, lateAt].compactMap(\.self).filter { $0 >= now }.min()
        if isExpired || isLate { troubles.insert(.overdue) }
        if state.isWaiting, isHandOff, state.waitingFor == nil { troubles.insert(.handOffWaiting) }
    }

    /// How the last rotation failed: the step and what is left of its targets say whether anything was taken back.
    private static func failing(_ state: CertificateState) -> Trouble {
        switch state.lastFailure?.step {
        case .apply, .verify, .commit, .restore, .verifyRestored:
            state.targets.contains { $0.state == .failed } ? .rollbackFailed : .rolledBack
        default: .failed
        }
    }
}

extension Standing {
    /// What a person reads of one of its troubles.
    func change(_ trouble: Trouble) -> NotificationMessage.Change {
        var change = NotificationMessage.Change(
            certificate: certificate, event: trouble.event, message: "", notAfter: notAfter, dueAt: dueAt)
        let reason = failure.map { ": \($0.message)" } ?? ""
        switch trouble {
        case .failed: change.message = "the rotation failed, nothing live was touched\(reason)"
        case .rolledBack: change.message = "rolled back, the old certificate is served again\(reason)"
        case .rollbackFailed: change.message = "THE ROLLBACK FAILED, look at the target now\(reason)"
        case .overdue: change.message = isExpired ? "the certificate has expired" : "the renewal is overdue"
        case .handOffWaiting: change.message = "a request waits for its certificate"
        }
        switch trouble {
        case .failed, .rolledBack, .rollbackFailed:
            (change.code, change.hint) = (failure?.code.rawValue, failure?.hint)
        case .overdue: change.hint = "look why with `certs history \(certificate)`; `certs rotate \(certificate)`"
        case .handOffWaiting:
            change.hint = "`certs csr \(certificate)` prints it; bring the answer with `certs import \(certificate)`"
        }
        change.message = TerminalText.sanitized(change.message, limit: Self.textLimit)
        change.hint = change.hint.map { TerminalText.sanitized($0, limit: Self.textLimit) }
        return change
    }

    /// In bytes; so that a message of many has a size that receivers take.
    private static let textLimit = 400
}
