extension CertsError {
    /// A stable, documented identifier of a kind of failure, e.g. `target.timeout`.
    package struct Code: Hashable, Sendable, Codable, RawRepresentable, CustomStringConvertible {
        package let rawValue: String
        package init(rawValue: String) { self.rawValue = rawValue }
        init(_ rawValue: String) { self.rawValue = rawValue }
        package var description: String { rawValue }
        /// The part before the dot: `target` of `target.timeout`.
        package var family: Substring { rawValue.prefix { $0 != "." } }
    }
}

extension CertsError.Code {
    // What the user wrote.
    package static let configurationInvalid = Self("configuration.invalid")
    package static let nameInvalid = Self("name.invalid")
    package static let nameUnknown = Self("name.unknown")
    package static let usage = Self("usage")

    // Files and the state directory.
    package static let fileMissing = Self("file.missing")
    package static let fileUnreadable = Self("file.unreadable")
    package static let fileTooLarge = Self("file.tooLarge")
    package static let fileUnwritable = Self("file.unwritable")
    package static let stateInsecure = Self("state.insecure")
    package static let stateCorrupt = Self("state.corrupt")
    package static let stateNewer = Self("state.newer")
    package static let stateBusy = Self("state.busy")
    package static let lockHeld = Self("lock.held")

    // Keys, requests, certificates.
    package static let keyMalformed = Self("key.malformed")
    package static let keyPassphrase = Self("key.passphrase")
    package static let keyUnsupported = Self("key.unsupported")
    package static let keyMismatch = Self("key.mismatch")
    package static let requestMalformed = Self("request.malformed")
    package static let certificateMalformed = Self("certificate.malformed")
    package static let certificateMissing = Self("certificate.missing")
    package static let certificateRejected = Self("certificate.rejected")
    package static let openSSL = Self("openssl")

    // Issuers.
    package static let issuerRefused = Self("issuer.refused")
    package static let issuerUnavailable = Self("issuer.unavailable")
    package static let issuerLimited = Self("issuer.limited")
    package static let issuerPending = Self("issuer.pending")
    /// The CA came to look and did not find what it asked for.
    package static let challengeFailed = Self("issuer.challengeFailed")
    /// The terms of service have to be agreed to by a person.
    package static let termsNotAccepted = Self("issuer.termsNotAccepted")

    // DNS.
    package static let dnsFailed = Self("dns.failed")
    package static let dnsUpdateRefused = Self("dns.updateRefused")

    // OCSP stapling.
    package static let stapleRefused = Self("staple.refused")
    package static let stapleUnavailable = Self("staple.unavailable")
    package static let stapleRevoked = Self("staple.revoked")

    // Listening: the answers to challenges.
    /// Somebody else listens there.
    package static let listenInUse = Self("listen.inUse")
    package static let listenFailed = Self("listen.failed")

    // Targets: the HAProxy side.
    package static let targetUnreachable = Self("target.unreachable")
    package static let targetTimeout = Self("target.timeout")
    package static let targetRefused = Self("target.refused")
    package static let targetUnexpectedReply = Self("target.unexpectedReply")
    package static let targetForeignTransaction = Self("target.foreignTransaction")
    package static let targetNotReferenced = Self("target.notReferenced")
    package static let targetAmbiguous = Self("target.ambiguous")
    package static let targetDuplicateName = Self("target.duplicateName")
    package static let targetBundleTooLarge = Self("target.bundleTooLarge")
    package static let targetReloadFailed = Self("target.reloadFailed")

    // Proof.
    package static let probeFailed = Self("probe.failed")
    package static let probeTimeout = Self("probe.timeout")
    package static let probeUnreachable = Self("probe.unreachable")
    package static let servedOther = Self("served.other")
    package static let rolledBack = Self("rotation.rolledBack")
    package static let rollbackFailed = Self("rotation.rollbackFailed")

    // Telling people.
    package static let notificationFailed = Self("notification.failed")

    // Maintenance.
    package static let databaseUnreachable = Self("database.unreachable")
    package static let databaseRefused = Self("database.refused")
    package static let databaseTimeout = Self("database.timeout")
    package static let databaseFailed = Self("database.failed")
    /// A guard holds the job back; nothing was changed.
    package static let jobRefused = Self("job.refused")
    package static let jobFailed = Self("job.failed")
    package static let redisFailed = Self("redis.failed")
    /// The admin API of the service did not do what it was asked.
    package static let adminFailed = Self("admin.failed")

    // Time, policy, the rest.
    package static let clockStepped = Self("clock.stepped")
    package static let backoff = Self("rotation.backoff")
    package static let http = Self("http")
    package static let cancelled = Self("cancelled")
    package static let `internal` = Self("internal")
}
