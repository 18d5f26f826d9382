package import CertsCore
package import Foundation

/// What `certs status -o json` prints; the field names are frozen (DESIGN §7). Unknown is `null`, never 0.
package struct StatusReport: Sendable, Encodable {
    package var schema = 1
    package var certificates: [Entry]

    package struct Entry: Sendable, Encodable {
        package var name: String
        package var managed: Bool
        package var state: CertificateState.Condition
        @OrNull package var revision: Int?
        @OrNull package var issuedRevision: Int?
        @OrNull package var issuer: String?
        @OrNull package var subject: String?
        @OrNull package var serial: String?
        @OrNull package var sha256: String?
        /// The leaves of the other key types, where there are several.
        package var alternates: [String]
        package var names: [String]
        @OrNull package var keyAlgorithm: String?
        @OrNull package var notBefore: Date?
        @OrNull package var notAfter: Date?
        /// Fractional, negative once expired.
        @OrNull package var daysLeft: Double?
        @OrNull package var dueAt: Date?
        @OrNull package var dueReason: String?
        package var consecutiveFailures: Int
        @OrNull package var nextAttemptAt: Date?
        @OrNull package var lastFailure: Failure?
        @OrNull package var problem: String?
        package var targets: [Target]
    }

    package struct Failure: Sendable, Encodable {
        package var step: String
        package var code: String
        package var message: String
        @OrNull package var hint: String?

        package init(_ failure: Rotation.Failure) {
            step = failure.step.rawValue
            code = failure.code.rawValue
            message = failure.message
            _hint = OrNull(wrappedValue: failure.hint)
        }
    }

    package struct Target: Sendable, Encodable {
        package var name: String
        @OrNull package var node: String?
        package var state: String
        package var endpoints: [EndpointEntry]
    }

    package struct EndpointEntry: Sendable, Encodable {
        package var address: String
        @OrNull package var serverName: String?
        @OrNull package var servedSha256: String?
        /// `null`: not known.
        @OrNull package var matches: Bool?
        @OrNull package var problem: String?
        package var observedAt: Date
    }

    package init(certificates: [Entry]) { self.certificates = certificates }
}

extension StatusReport.Entry {
    /// A managed certificate.
    package init(_ declaration: CertificateDeclaration?, _ state: CertificateState, at now: Date) {
        let shown = state.intendedRecord
        let intended = state.intendedFingerprints
        self.init(
            name: state.name.rawValue, managed: true, state: state.condition(at: now), revision: state.revision,
            issuedRevision: state.issuedRevision,
            issuer: (state.requested?.issuer ?? declaration?.issuer)?.rawValue, subject: shown?.subject,
            serial: shown?.serial,
            sha256: shown?.sha256, alternates: state.currentAlternates.map(\.hex),
            names: declaration?.names.map(\.value) ?? shown?.dnsNames ?? [],
            keyAlgorithm: shown?.keyAlgorithm, notBefore: shown?.notBefore, notAfter: shown?.notAfter,
            daysLeft: shown.map { $0.daysLeft(at: now) }, dueAt: state.dueAt, dueReason: state.dueReason?.rawValue,
            consecutiveFailures: state.consecutiveFailures, nextAttemptAt: state.nextAttemptAt,
            lastFailure: state.lastFailure.map(StatusReport.Failure.init),
            problem: nil,
            targets: state.targets.map { target in
                .init(
                    name: target.node.target.rawValue, node: target.node.node?.rawValue, state: target.state.rawValue,
                    endpoints: target.endpoints.map { seen in
                        .init(
                            address: seen.endpoint.address, serverName: seen.endpoint.serverName,
                            servedSha256: seen.served?.hex, matches: seen.served.map(intended.contains),
                            problem: seen.problem, observedAt: seen.observedAt)
                    })
            })
    }

    /// A certificate that is only watched: a file by its path, an endpoint by its label.
    package init(watched name: String, _ facts: WatchedFacts, at now: Date) {
        let record = facts.record
        self.init(
            name: name, managed: false, state: facts.condition(at: now), revision: nil, issuedRevision: nil,
            issuer: nil, subject: record?.subject, serial: record?.serial, sha256: record?.sha256,
            alternates: [], names: record?.dnsNames ?? [],
            keyAlgorithm: record?.keyAlgorithm, notBefore: record?.notBefore, notAfter: record?.notAfter,
            daysLeft: record.map { $0.daysLeft(at: now) }, dueAt: nil, dueReason: nil, consecutiveFailures: 0,
            nextAttemptAt: nil, lastFailure: nil, problem: facts.problem?.rawValue, targets: [])
    }
}

extension CertificateRecord {
    /// Days until notAfter, floored to a hundredth (14.4 minutes), so that the figure is stable between two scrapes;
    /// negative once expired.
    package func daysLeft(at now: Date) -> Double {
        (notAfter.timeIntervalSince(now) / 864).rounded(.down) / 100
    }
}

extension RotationEngine {
    /// The state of all certificates, or of one: declared ones (also those that have nothing yet), and those that are
    /// watched. What needs attention comes first.
    package func status(of name: Name? = nil, at now: Date) async throws -> StatusReport {
        let states = Dictionary(uniqueKeysWithValues: try await context.inventory.states().map { ($0.name, $0) })
        var entries = context.declarations.certificates
            .filter { name == nil || $0.name == name }
            .map { StatusReport.Entry($0, states[$0.name] ?? CertificateState(name: $0.name), at: now) }
        if name == nil { entries += try await watchedEntries(at: now) }
        entries.sort { ($0.notAfter ?? .distantPast, $0.name) < ($1.notAfter ?? .distantPast, $1.name) }
        return StatusReport(certificates: entries)
    }

    private func watchedEntries(at now: Date) async throws -> [StatusReport.Entry] {
        let labels = Set(context.declarations.watch.endpoints.map(\.label))
        let files = try await context.inventory.scannedFiles().map { StatusReport.Entry(watched: $0.path, $0.facts, at: now) }
        return try await files
            + context.inventory.sightings().filter { labels.contains($0.label) }
            .map { StatusReport.Entry(watched: $0.label, $0.facts, at: now) }
    }
}
