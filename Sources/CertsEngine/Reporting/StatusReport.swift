package import CertsCore
package import Foundation

/// What `certs status -o json` prints; the field names are frozen (DESIGN §7). Unknown is `null`, never 0.
package struct StatusReport: Sendable, Encodable {
    package var schema = 1
    package var certificates: [Entry]
    /// The channels of `notifications:`.
    package var channels: [Channel] = []

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
        /// Not before: the backoff, or a limit of the issuer.
        @OrNull package var nextAttemptAt: Date?
        /// Why not before.
        @OrNull package var nextAttemptBecause: String?
        /// What the issuer waits for, if it says.
        @OrNull package var waitingFor: String?
        /// When the CA would like it to be renewed (RFC 9773).
        @OrNull package var hint: Hint?
        @OrNull package var lastFailure: Failure?
        @OrNull package var problem: String?
        package var targets: [Target]
    }

    package struct Hint: Sendable, Encodable {
        package var start: Date
        package var end: Date
        /// The time of the window that was picked.
        package var pick: Date
        /// When the CA is asked again.
        package var checkAt: Date
        @OrNull package var explanationUrl: String?

        package init(_ hint: RenewalHint) {
            (start, end, pick, checkAt) = (hint.start, hint.end, hint.pick, hint.checkAt)
            _explanationUrl = OrNull(wrappedValue: hint.explanationURL)
        }
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
    /// - Parameter item: what the planner says of it.
    package init(
        _ declaration: CertificateDeclaration?, _ state: CertificateState, _ item: PlanItem? = nil, at now: Date
    ) {
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
            consecutiveFailures: state.consecutiveFailures, nextAttemptAt: item?.blockedUntil ?? state.nextAttemptAt,
            nextAttemptBecause: item?.blockedBecause, waitingFor: state.waitingFor,
            hint: state.currentHint.map(StatusReport.Hint.init),
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
            nextAttemptAt: nil, nextAttemptBecause: nil, waitingFor: nil, hint: nil, lastFailure: nil,
            problem: facts.problem?.rawValue, targets: [])
    }
}

extension StatusReport {
    /// How many certificates are in each state, none left out: the samples of `certs_certificates`.
    package var counts: [(state: CertificateState.Condition, count: Int)] {
        let known = certificates.reduce(into: [:]) { $0[$1.state, default: 0] += 1 }
        return CertificateState.Condition.allCases.map { ($0, known[$0] ?? 0) }
    }
}

extension StatusReport.Entry {
    /// Whether an endpoint of ours was asked, and shows no certificate.
    package var isUnseen: Bool {
        sha256 != nil && targets.contains { target in target.endpoints.contains { $0.servedSha256 == nil } }
    }

    /// Whether an endpoint was last seen serving another certificate.
    package var isWronglyServed: Bool {
        targets.contains { target in target.endpoints.contains { $0.matches == false } }
    }

    /// Whether something is to be done for it, other than to wait for its time.
    package var isDue: Bool { [.due, .failing, .missing, .undeployed].contains(state) }

    /// In the order of the report: what needs attention first, then what expires first.
    package static func byUrgency(_ entries: [Self]) -> [Self] {
        // Looked up once for each, not for each comparison.
        let ranked = entries.map { (urgency: $0.urgency, notAfter: $0.notAfter ?? .distantPast, entry: $0) }
        return ranked.sorted {
            ($0.urgency, $0.notAfter, $0.entry.name) < ($1.urgency, $1.notAfter, $1.entry.name)
        }.map(\.entry)
    }

    /// What needs attention first has the smallest: what clients see fail, what `certs` could not do, what it will do.
    package var urgency: Int {
        switch state {
        case .expired: 0
        case _ where isWronglyServed: 1
        case .failing: 2
        case .unreadable: 3
        case .undeployed: 4
        case .missing: 5
        case .due: 6
        case .waiting: 7
        case .valid: 8
        }
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
        let (planner, limited) = (context.planner, context.limitedIssuers)
        let declarations = context.declarations.certificates.filter { name == nil || $0.name == name }
        let planned = declarations.map { Planned($0, states[$0.name], planner, limited: limited, at: now) }
            .sorted { Planner.isBefore($0.item, $1.item) }
        let seats = await seats(of: planned, at: now)
        let items = Dictionary(uniqueKeysWithValues: planned.map { ($0.item.certificate, $0.item) })
        var entries = declarations.map { declaration in
            let name = declaration.name
            var item = items[name]
            item?.rest(seats[name])
            return StatusReport.Entry(declaration, states[name] ?? CertificateState(name: name), item, at: now)
        }
        if name == nil { entries += try await watchedEntries(at: now) }
        var report = StatusReport(certificates: StatusReport.Entry.byUrgency(entries))
        report.channels = try await channelStatus()
        return report
    }

    /// The declared sources of watched certificates that could not be looked at last time: their `certs_source_up` is 0. One
    /// that was not looked at yet is left out: without the service nobody looks.
    package func downSources() async throws -> [String] {
        let watch = context.declarations.watch
        let endpoints = watch.endpoints.isEmpty ? [] : [WatchDeclaration.endpointSource]
        let declared = Set(watch.directories.map(\.name.rawValue) + endpoints)
        return try await context.inventory.watchSources().filter { !$0.isUp && declared.contains($0.name) }.map(\.name)
    }

    private func watchedEntries(at now: Date) async throws -> [StatusReport.Entry] {
        let labels = Set(context.declarations.watch.endpoints.map(\.label))
        let files = try await context.inventory.scannedFiles().map {
            StatusReport.Entry(watched: $0.path, $0.facts, at: now)
        }
        return try await files
            + context.inventory.sightings().filter { labels.contains($0.label) }
            .map { StatusReport.Entry(watched: $0.label, $0.facts, at: now) }
    }
}
