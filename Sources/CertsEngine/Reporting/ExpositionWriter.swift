package import CertsCore
package import Foundation

/// Writes the exposition while the inventory is read: one certificate is in memory at a time.
///
/// Not `Sendable`: whoever reads the inventory on another thread puts it behind a lock.
package struct ExpositionWriter {
    /// What was last read of the chain of a managed certificate.
    package struct Chain: Sendable {
        package var revision: Int
        /// `nil`: its files cannot be read.
        package var facts: WatchedFacts?

        package init(revision: Int, facts: WatchedFacts?) {
            self.revision = revision
            self.facts = facts
        }
    }

    let now: Date
    private let declarations: Declarations
    private let declared: [Name: CertificateDeclaration]
    private let endpoints: [Name: [Endpoint]]
    private let counts: [Name: RotationCounts]
    private let chains: [Name: Chain]
    private let watchedLabels: Set<String>
    private var samples = SampleWriter()
    private var written: Set<Name> = []
    private(set) var conditions: [CertificateState.Condition: Int] = [:]
    /// Certificates whose dates are known, by source.
    private(set) var certificates: [String: Int] = [:]
    /// The managed certificates whose chain is not, or not any more, the one that was given.
    package private(set) var unknownChains: [(name: Name, revision: Int, slots: [KeyType?])] = []

    package init(
        _ declarations: Declarations, tallies: [RotationTally], chains: [Name: Chain] = [:], now: Date
    ) {
        self.now = now
        self.declarations = declarations
        self.chains = chains
        watchedLabels = Set(declarations.watch.endpoints.map(\.label))
        declared = Dictionary(
            declarations.certificates.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
        endpoints = Dictionary(
            declarations.targets.map { ($0.name, $0.nodes.flatMap(\.endpoints)) },
            uniquingKeysWith: { first, _ in first })
        counts = RotationCounts.byName(tallies)
    }

    // MARK: Managed

    /// Adds a managed certificate; one that is not declared is left out.
    package mutating func add(_ state: CertificateState) throws {
        guard let declaration = declared[state.name], written.insert(state.name).inserted else { return }
        conditions[state.condition(at: now), default: 0] += 1
        if state.intendedRecord != nil { certificates[WatchDeclaration.managedSource, default: 0] += 1 }
        let chain = chain(of: state)
        for (instance, observation) in places(of: state, declaration) {
            try add(state, declaration, observation, chain, at: instance)
        }
        try addRotations(of: state, declaration)
    }

    private mutating func chain(of state: CertificateState) -> WatchedFacts? {
        guard let revision = state.revision ?? state.issuedRevision else { return nil }
        let known = chains[state.name]
        if known?.revision != revision {
            let slots = KeyPolicy.members(of: state.requested?.keyAlgorithms ?? []).map(\.slot)
            unknownChains.append((state.name, revision, slots))
            return nil
        }
        return known?.facts
    }

    private mutating func add(
        _ state: CertificateState, _ declaration: CertificateDeclaration, _ seen: EndpointObservation?,
        _ chain: WatchedFacts?, at instance: String
    ) throws {
        let labels = SampleWriter.labels(instance: instance, certificate: state.name.rawValue)
        if let record = state.intendedRecord {
            try addDates(record, labels, issuer: state.requested?.issuer.rawValue ?? "")
            try samples.add(.renewalDue, labels, state.dueAt?.timeIntervalSince1970)
        }
        let intended = state.intendedFingerprints
        if let served = seen?.served, !intended.isEmpty {
            try samples.add(.servedMatch, labels, intended.contains(served) ? 1 : 0)
        }
        try samples.add(.servedNotAfter, labels, seen?.servedNotAfter?.timeIntervalSince1970)
        try samples.add(.servedLastCheck, labels, seen?.observedAt.timeIntervalSince1970)
        try addChain(chain, labels)
        guard declaration.staple || state.staple != nil else { return }
        let isRevoked = state.lastFailure?.code == .stapleRevoked
        try addStaple(
            isRevoked ? .revoked : state.staple == nil ? .none : .good, until: state.staple?.nextUpdate, labels)
    }

    /// One series for each endpoint that was observed; before the first observation one for each declared endpoint, and
    /// for a certificate without targets one under its first name.
    private func places(
        of state: CertificateState, _ declaration: CertificateDeclaration
    ) -> [(instance: String, observation: EndpointObservation?)] {
        var byInstance: [String: EndpointObservation] = [:]
        let intended = state.intendedFingerprints
        for observation in state.targets.flatMap(\.endpoints) {
            let instance = instance(observation.endpoint, declaration)
            // Several addresses of one name: a mismatch must not be hidden by a match.
            if let known = byInstance[instance], known.served.map({ !intended.contains($0) }) ?? true { continue }
            byInstance[instance] = observation
        }
        if !byInstance.isEmpty { return byInstance.sorted { $0.key < $1.key }.map { ($0.key, $0.value) } }
        let own = declaration.targets.flatMap { endpoints[$0] ?? [] }.filter { one in
            one.serverName.map { host in declaration.names.contains { $0.covers(host) } } ?? true
        }
        let instances = Set(own.map { instance($0, declaration) }).sorted()
        let fallback = declaration.names.first?.value ?? state.name.rawValue
        return (instances.isEmpty ? [fallback] : instances).map { ($0, nil) }
    }

    private func instance(_ endpoint: Endpoint, _ declaration: CertificateDeclaration) -> String {
        "\(endpoint.serverName ?? declaration.names.first?.value ?? endpoint.host):\(endpoint.port)"
    }

    private mutating func addRotations(of state: CertificateState, _ declaration: CertificateDeclaration) throws {
        let labels = SampleWriter.labels(certificate: state.name.rawValue)
        let count = counts[state.name] ?? RotationCounts()
        try samples.add(.renewalAttempts, labels, Double(count.attempts))
        try samples.add(.renewalFailures, labels, Double(count.failures))
        try samples.add(.renewalConsecutive, labels, Double(state.consecutiveFailures))
        try samples.add(.renewalLastSuccess, labels, state.lastSuccessAt?.timeIntervalSince1970)
        try addHint(of: state, labels)
        let deployments = declaration.targets.isEmpty ? 0 : count.deployAttempts
        try samples.add(.deployAttempts, labels, Double(deployments))
        try samples.add(.deployFailures, labels, Double(count.deployFailures))
        try samples.add(.rollbacks, labels, Double(count.rollbacks))
        try samples.add(.rollbackFailures, labels, Double(count.rollbackFailures))
    }

    private mutating func addHint(of state: CertificateState, _ labels: [UInt8]) throws {
        try samples.add(.renewalHintFailures, labels, state.hintCheck.map { Double($0.failures) })
        guard let hint = state.currentHint else { return }
        try samples.add(.renewalHint, labels, hint.pick.timeIntervalSince1970)
        guard let page = hint.explanationURL else { return }
        var facts = labels
        facts.append(UInt8(ascii: ","))
        PrometheusText.append(label: "explanation", TerminalText.sanitized(page), to: &facts)
        try samples.add(.renewalHintInfo, facts, 1)
    }

    // MARK: Watched

    package mutating func add(_ file: ScannedFile) throws {
        let directory = file.source.flatMap { name in declarations.watch.directories.first { $0.name == name } }
        try add(
            file.facts, instance: file.path, certificate: Self.label(of: file, in: directory),
            source: directory?.name.rawValue ?? WatchDeclaration.handScanned)
    }

    /// `legacy/sub/server.pem`; the path itself for a file that was found by hand.
    private static func label(of file: ScannedFile, in directory: WatchedDirectory?) -> String {
        guard let directory, directory.covers(file.path) else { return file.path }
        let rest = file.path.path(below: directory.path) ?? file.path.split(separator: "/").last.map(String.init)
        return "\(directory.name)/\(rest ?? "")"
    }

    /// Adds a watched endpoint; one that is not declared is left out.
    package mutating func add(_ sighting: EndpointSighting) throws {
        guard watchedLabels.contains(sighting.label) else { return }
        let labels = try add(
            sighting.facts, instance: sighting.address, certificate: sighting.label,
            source: WatchDeclaration.endpointSource)
        try samples.add(.servedLastCheck, labels, sighting.observedAt.timeIntervalSince1970)
        guard let stapled = sighting.stapled else { return }
        try addStaple(stapled, until: sighting.stapleNextUpdate, labels)
    }

    @discardableResult
    private mutating func add(
        _ facts: WatchedFacts, instance: String, certificate: String, source: String
    ) throws -> [UInt8] {
        conditions[facts.condition(at: now), default: 0] += 1
        let labels = SampleWriter.labels(instance: instance, certificate: certificate)
        guard let record = facts.record else { return labels }
        certificates[source, default: 0] += 1
        try addDates(record, labels, issuer: "")
        try addChain(facts, labels)
        return labels
    }

    // MARK: Both

    private mutating func addDates(_ record: CertificateRecord, _ labels: [UInt8], issuer: String) throws {
        try samples.add(.expiryDays, labels, record.daysLeft(at: now))
        try samples.add(.notAfter, labels, record.notAfter.timeIntervalSince1970)
        try samples.add(.notBefore, labels, record.notBefore.timeIntervalSince1970)
        var facts = labels
        for (name, value) in [
            ("subject_cn", record.subjectCommonName ?? ""), ("issuer_cn", record.issuerCommonName ?? ""),
            ("serial", record.serial), ("key_algorithm", record.keyAlgorithm), ("issuer", issuer),
        ] {
            facts.append(UInt8(ascii: ","))
            PrometheusText.append(label: name, value, to: &facts)
        }
        try samples.add(.info, facts, 1)
        var digest = labels
        digest.append(UInt8(ascii: ","))
        PrometheusText.append(label: "fingerprint_sha256", record.sha256, to: &digest)
        try samples.add(.fingerprint, digest, 1)
    }

    private mutating func addChain(_ facts: WatchedFacts?, _ labels: [UInt8]) throws {
        try samples.add(.chainNotAfter, labels, facts?.chainNotAfter?.timeIntervalSince1970)
        guard let isLinked = facts?.isChainValid, let leaf = facts?.record, let end = facts?.chainNotAfter else {
            return
        }
        // The leaf's own end is told by other series.
        let isBroken = end < leaf.notAfter && end <= now
        try samples.add(.chainValid, labels, isLinked && !isBroken ? 1 : 0)
    }

    private mutating func addStaple(_ status: StapledStatus, until end: Date?, _ labels: [UInt8]) throws {
        for one in StapledStatus.allCases {
            var labels = labels
            labels.append(UInt8(ascii: ","))
            PrometheusText.append(label: "status", one.rawValue, to: &labels)
            try samples.add(.ocspStatus, labels, one == status ? 1 : 0)
        }
        try samples.add(.ocspNextUpdate, labels, end?.timeIntervalSince1970)
    }

    /// Ends the exposition: adds what is declared and has no state yet, and the families that are not for each
    /// certificate. The writer is used up.
    package mutating func finish(_ more: (ExpositionWriter) -> [MetricFamily]) throws -> RenderedExposition {
        for name in declared.keys.sorted() where !written.contains(name) { try add(CertificateState(name: name)) }
        let others = try RenderedExposition(rendering: more(self))
        return try RenderedExposition(try samples.finish() + others.families)
    }
}

/// What the history says of one certificate.
private struct RotationCounts {
    var attempts = 0, failures = 0
    var deployAttempts = 0, deployFailures = 0, rollbacks = 0, rollbackFailures = 0

    private static let deploySteps: Set<Rotation.Step> = [.prepare, .apply, .verify, .commit]

    static func byName(_ tallies: [RotationTally]) -> [Name: RotationCounts] {
        var result: [Name: RotationCounts] = [:]
        for tally in tallies { result[tally.certificate, default: .init()].add(tally) }
        return result
    }

    private mutating func add(_ tally: RotationTally) {
        let hasFailedToDeploy = tally.failedStep.map(Self.deploySteps.contains) ?? false
        if tally.purpose == .issue {
            attempts += tally.count
            if tally.failedStep != nil, !hasFailedToDeploy { failures += tally.count }
        }
        if hasFailedToDeploy { deployFailures += tally.count }
        if hasFailedToDeploy || tally.outcome == .committed { deployAttempts += tally.count }
        if tally.outcome == .rolledBack { rollbacks += tally.count }
        if tally.outcome == .rollbackFailed { rollbackFailures += tally.count }
    }
}

extension AlternativeName {
    /// Whether a server name falls under this name.
    func covers(_ serverName: String) -> Bool {
        switch self {
        case .dns(let pattern): DNSName.covers(pattern, host: serverName.lowercased())
        case .ip(let address): IPAddress(serverName) == address
        case .email, .uri: false
        }
    }
}
