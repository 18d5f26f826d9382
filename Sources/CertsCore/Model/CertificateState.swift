package import Foundation

/// What is known of one managed certificate: one row of the inventory.
package struct CertificateState: Sendable, Hashable, Codable {
    package var name: Name
    /// The revision that `current` names: verified on every target.
    package var revision: Int?
    /// The newest issued revision; later than `revision` while it is not deployed.
    package var issuedRevision: Int?
    /// The leaf of the newest issued revision; of several key types the one that expires first.
    package var record: CertificateRecord?
    /// The leaf of the current revision, as above.
    package var currentRecord: CertificateRecord?
    /// The leaves of the other key types of the current revision.
    package var currentAlternates: [Fingerprint] = []
    /// Until when the staples of the current revision are valid, and when they are to be fetched anew.
    package var staple: StapleDates?
    /// What was declared when the newest issued revision was asked for.
    package var requested: RequestedProperties?
    /// The renewal time that the CA suggests (RFC 9773), if it does; see ``hint(for:)``.
    package var hint: RenewalHint?
    /// When the CA is asked for it; `nil`: it is not asked.
    package var hintCheck: HintCheck?
    package var dueAt: Date?
    package var dueReason: PlanReason?
    /// How many rotations have failed in a row.
    package var consecutiveFailures = 0
    package var lastFailure: Rotation.Failure?
    /// No automatic attempt before this time.
    package var nextAttemptAt: Date?
    /// Set while a rotation waits for its issuer.
    package var isWaiting = false
    /// What it waits for, if the issuer says: a challenge, a limit.
    package var waitingFor: String?
    package var lastSuccessAt: Date?
    package var targets: [TargetObservation] = []

    package init(name: Name) { self.name = name }

    /// The leaf that should be served: of the current revision, or of the newest one before the first deployment.
    package var intendedRecord: CertificateRecord? { currentRecord ?? record }

    /// The CA's suggestion, if it is about this leaf.
    package func hint(for record: CertificateRecord) -> RenewalHint? {
        hint.flatMap { $0.leaf.hex == record.sha256 ? $0 : nil }
    }

    /// The CA's suggestion for the newest leaf.
    package var currentHint: RenewalHint? { record.flatMap(hint(for:)) }

    /// Every leaf that may be served.
    package var intendedFingerprints: Set<Fingerprint> {
        Set(currentAlternates + [intendedRecord?.fingerprint].compactMap { $0 })
    }

    /// One word for tables and JSON.
    package func condition(at now: Date) -> Condition {
        if isWaiting, currentRecord == nil { return .waiting }
        guard let shown = intendedRecord else { return consecutiveFailures > 0 ? .failing : .missing }
        if shown.notAfter <= now { return .expired }
        if let issuedRevision, issuedRevision != revision { return .undeployed }
        if consecutiveFailures > 0 { return .failing }
        if isWaiting { return .waiting }
        if let dueAt, dueAt <= now { return .due }
        return .valid
    }

    package enum Condition: String, Sendable, Codable, CaseIterable {
        /// Never issued.
        case missing
        /// Waits for the issuer's answer.
        case waiting
        case valid, due
        /// Issued, but not seen served on every target.
        case undeployed
        case failing, expired, unreadable
    }
}

/// What `stat` says of a file; two equal stamps mean the same contents.
package struct FileStamp: Sendable, Hashable, Codable {
    package var device: UInt64
    package var inode: UInt64
    package var size: Int64
    /// Nanoseconds since 1970.
    package var modified: Int64
    /// Nanoseconds since 1970; changes even when the modification time is set back.
    package var changed: Int64

    package init(device: UInt64, inode: UInt64, size: Int64, modified: Int64, changed: Int64) {
        self.device = device
        self.inode = inode
        self.size = size
        self.modified = modified
        self.changed = changed
    }
}

/// The times of the OCSP responses that a certificate is deployed with; of several key types the earliest of each.
package struct StapleDates: Sendable, Hashable, Codable {
    package var refreshAt: Date
    package var nextUpdate: Date?

    package init(refreshAt: Date, nextUpdate: Date?) {
        self.refreshAt = refreshAt
        self.nextUpdate = nextUpdate
    }
}
