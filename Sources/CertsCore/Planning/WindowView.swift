import Foundation

/// What the declared windows of a certificate mean for its renewal at one moment.
struct WindowView {
    /// While a window is open: when the next one begins. What becomes due before that has its turn now.
    private(set) var isOpenUntilNext: Date?
    /// Until when it waits, and why; `nil`: it does not.
    private(set) var rest: (until: Date, because: String)?

    /// What may wait: the certificate that is served is good. What is broken, and what the CA asks for, may not.
    private static let patient: Set<PlanReason> = [
        .beforeExpiry, .thirdOfLifetime, .halfOfLifetime, .namesChanged, .keyChanged, .subjectChanged, .issuerChanged,
    ]

    init(_ declaration: CertificateDeclaration, _ state: CertificateState?, _ reason: PlanReason, at now: Date) {
        guard let window = declaration.window, Self.patient.contains(reason), state?.revision != nil,
            let record = state?.currentRecord, let next = window.next(after: now)
        else { return }
        if window.occurrence(at: now) != nil {
            let due = declaration.renewal.due(notBefore: record.notBefore, notAfter: record.notAfter)
            // Not again in the window in which it was renewed: only in the second half of the time before it is due.
            let half = record.notBefore.addingTimeInterval(due.at.timeIntervalSince(record.notBefore) / 2)
            isOpenUntilNext = reason == due.reason && now >= half ? next.start : nil
        } else if next.start < Self.floor(declaration, record) {
            rest = (next.start, "waits for the \(window.type.rawValue) window; not past its emergency floor")
        }
    }

    /// The emergency floor: after it nothing waits. Halfway between the due date and the expiry, so that half of the time
    /// is left for failures.
    static func floor(_ declaration: CertificateDeclaration, _ record: CertificateRecord) -> Date {
        let due = declaration.renewal.due(notBefore: record.notBefore, notAfter: record.notAfter).at
        return due.addingTimeInterval(max(0, record.notAfter.timeIntervalSince(due)) / 2)
    }
}
