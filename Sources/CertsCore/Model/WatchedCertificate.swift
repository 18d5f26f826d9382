package import Foundation

/// What is known of a certificate that is only watched: of a file, or of an endpoint of somebody else.
package struct WatchedFacts: Sendable, Hashable {
    /// Of the leaf as last read; stays while the input cannot be read.
    package var record: CertificateRecord?
    /// The earliest end of all certificates that were found with the leaf, and of the leaf.
    package var chainNotAfter: Date?
    /// Whether each certificate was issued by the next one; of an endpoint also whether the chain is trusted and the
    /// leaf is for its name. `nil`: not known.
    package var isChainValid: Bool?
    /// Why it could not be read last time.
    package var problem: WatchReason?

    package init(
        record: CertificateRecord? = nil, chainNotAfter: Date? = nil, isChainValid: Bool? = nil,
        problem: WatchReason? = nil
    ) {
        self.record = record
        self.chainNotAfter = chainNotAfter
        self.isChainValid = isChainValid
        self.problem = problem
    }

    /// The dates that were last known, and whether the chain was valid, stay while the input cannot be read: what is missing
    /// would end an alarm just when things get worse.
    package mutating func keep(_ known: WatchedFacts) {
        guard problem != nil, record == nil else { return }
        (record, chainNotAfter, isChainValid) = (known.record, known.chainNotAfter, known.isChainValid)
    }

    package func condition(at now: Date) -> CertificateState.Condition {
        guard problem == nil, let record else { return .unreadable }
        return record.notAfter <= now ? .expired : .valid
    }
}

/// A certificate file found by a scan: watched, not managed.
package struct ScannedFile: Sendable, Hashable {
    package var path: String
    /// The watched directory that it belongs to; `nil`: found by `certs scan DIRECTORY`.
    package var source: Name?
    /// The identity of the file as last read: unchanged means that it is not read again.
    package var stamp: FileStamp
    /// Whether it had not been changed for some time when it was read: what is written within the same tick of the
    /// kernel's clock may leave the stamp as it is.
    package var isSettled: Bool
    /// SHA-256 of its contents; empty if it could not be read.
    package var digest: Data
    package var facts: WatchedFacts

    package init(
        path: String, source: Name? = nil, stamp: FileStamp, isSettled: Bool = true, digest: Data = Data(),
        facts: WatchedFacts
    ) {
        self.path = path
        self.source = source
        self.stamp = stamp
        self.isSettled = isSettled
        self.digest = digest
        self.facts = facts
    }

    package var record: CertificateRecord? { facts.record }
    package var problem: WatchReason? { facts.problem }

    /// What a scan needs of it to know whether it has changed.
    package struct Known: Sendable, Hashable {
        package var source: Name?
        package var stamp: FileStamp
        package var isSettled: Bool
        package var problem: WatchReason?

        package init(source: Name?, stamp: FileStamp, isSettled: Bool, problem: WatchReason?) {
            self.source = source
            self.stamp = stamp
            self.isSettled = isSettled
            self.problem = problem
        }
    }
}

/// What a watched endpoint was last seen serving.
package struct EndpointSighting: Sendable, Hashable {
    /// ``WatchedEndpoint/label``.
    package var label: String
    /// `host:port`.
    package var address: String
    package var facts: WatchedFacts
    /// Of the OCSP response that was stapled; `nil`: not known.
    package var stapled: StapledStatus?
    package var stapleNextUpdate: Date?
    package var observedAt: Date

    package init(
        label: String, address: String, facts: WatchedFacts, stapled: StapledStatus? = nil,
        stapleNextUpdate: Date? = nil, observedAt: Date
    ) {
        self.label = label
        self.address = address
        self.facts = facts
        self.stapled = stapled
        self.stapleNextUpdate = stapleNextUpdate
        self.observedAt = observedAt
    }
}

/// What an OCSP response says of a certificate; none is not good.
package enum StapledStatus: String, Sendable, Hashable, Codable, CaseIterable {
    case good, revoked, unknown, none
}

/// The last look at a source of watched certificates.
package struct WatchSourceRecord: Sendable, Hashable {
    package var name: String
    /// Whether the source could be looked at as a whole.
    package var isUp: Bool
    /// Why not.
    package var problem: WatchReason?
    package var lookedAt: Date

    package init(name: String, isUp: Bool, problem: WatchReason? = nil, lookedAt: Date) {
        self.name = name
        self.isUp = isUp
        self.problem = problem
        self.lookedAt = lookedAt
    }
}

/// How often an input of a source was found to be bad, since the state directory was made.
package struct WatchErrorCount: Sendable, Hashable {
    package var source: String
    package var reason: WatchReason
    package var count: Int

    package init(source: String, reason: WatchReason, count: Int) {
        self.source = source
        self.reason = reason
        self.count = count
    }
}
