import CertsCore
import CertsCrypto
import Foundation

/// Shows by fresh handshakes what endpoints serve.
struct EndpointProof: Sendable {
    let prober: any Prober
    var clock: any Clock<Duration> = ContinuousClock()
    /// For one handshake.
    var handshake: Duration = .seconds(5)
    /// Between two handshakes that did not show what was hoped for.
    var pause: Duration = .milliseconds(100)
    /// Shared by all rotations on the node.
    let known = KnownLeaves()

    /// How long to wait for the certificate that is expected.
    enum Patience: Sendable {
        /// After a hot swap the new certificate is served at once: only the connection may fail for a while.
        case swap(Duration)
        /// After a reload the old certificate may be served until the new worker is ready.
        case reload(Duration)

        var limit: Duration {
            switch self {
            case .swap(let limit), .reload(let limit): limit
            }
        }
    }

    /// Handshakes in a row that must agree; more once an endpoint was seen to answer in two ways, because several
    /// processes may share the port.
    static let agreement = 3
    static let strictAgreement = 8
    /// Handshakes made at the same time.
    static let width = 8

    // MARK: Looking

    /// One handshake with each, as any client makes it; a problem is part of the observation.
    func observe(_ endpoints: [Endpoint], now: Date) async -> [EndpointObservation] {
        await look(endpoints.map { Sighting.Question($0) }, now: now).map(\.observation)
    }

    /// One handshake for each question; a problem is part of the observation.
    func look(_ questions: [Sighting.Question], now: Date) async -> [Sighting] {
        await each(questions) { await sighting($0, now) }
    }

    private func sighting(_ question: Sighting.Question, _ now: Date) async -> Sighting {
        do {
            let served = try await probe(question)
            return Sighting(
                question, Self.observation(question.endpoint, served, now),
                isForName: question.endpoint.serverName.flatMap { Self.isLeaf(of: served, for: $0) })
        } catch {
            let problem = CertsError.wrapping(error)
            return Sighting(
                question,
                EndpointObservation(
                    endpoint: question.endpoint, served: nil, problem: problem.description, observedAt: now))
        }
    }

    private static func isLeaf(of served: ServedCertificate, for name: String) -> Bool? {
        guard let leaf = try? served.chainDER.first.map({ try Certificate(der: $0) }) else { return nil }
        return leaf.record.dnsNames.contains { DNSName.covers($0.lowercased(), host: name.lowercased()) }
    }

    func probe(_ question: Sighting.Question) async throws -> ServedCertificate {
        try await prober.probe(question.endpoint, as: question.client, deadline: handshake)
    }

    // MARK: One question

    /// Asks until as many handshakes in a row as are needed show one of the `expected` leaves.
    ///
    /// - Throws: `served.other`, `probe.…` with what was seen instead.
    func prove(
        _ question: Sighting.Question, shows expected: Set<Fingerprint>, patience: Patience
    ) async throws -> ServedCertificate {
        var tally = Tally(expected: expected)
        var waited = Duration.zero
        while true {
            let outcome: Result<ServedCertificate, any Error> = await Result { try await probe(question) }
            tally.count(outcome)
            if let served = tally.proved { return served }
            try Task.checkCancellation()
            if tally.isMatching { continue }
            let isHopeless = if case .swap = patience { tally.isConsistentlyWrong } else { false }
            if isHopeless || waited >= patience.limit { throw Self.failure(question, expected, tally) }
            try await clock.sleep(for: pause)
            waited += pause + tally.lastProbe(handshake)
        }
    }

    /// What the handshakes with one endpoint have shown so far.
    private struct Tally {
        let expected: Set<Fingerprint>
        private var agreeing = 0
        private var disagreeing = 0
        private var last: Result<ServedCertificate, any Error>?
        private(set) var other: ServedCertificate?

        init(expected: Set<Fingerprint>) { self.expected = expected }

        mutating func count(_ outcome: Result<ServedCertificate, any Error>) {
            switch outcome {
            case .success(let served) where expected.contains(served.fingerprint):
                agreeing += 1
                disagreeing = 0
            case .success(let served):
                let previous = last.flatMap { try? $0.get().fingerprint }
                disagreeing = previous == served.fingerprint ? disagreeing + 1 : 1
                agreeing = 0
                other = served
            case .failure:
                agreeing = 0
                disagreeing = 0
            }
            last = outcome
        }

        var isMatching: Bool { agreeing > 0 }
        var isConsistentlyWrong: Bool { disagreeing >= EndpointProof.agreement }
        var proved: ServedCertificate? {
            agreeing >= (other == nil ? EndpointProof.agreement : EndpointProof.strictAgreement)
                ? try? last?.get() : nil
        }
        var lastError: (any Error)? {
            if case .failure(let error)? = last { error } else { nil }
        }

        /// What the last handshake may have taken: a failure by deadline took all of it.
        func lastProbe(_ handshake: Duration) -> Duration {
            (lastError as? CertsError)?.code == .probeTimeout ? handshake : .zero
        }
    }

    private static func failure(
        _ question: Sighting.Question, _ expected: Set<Fingerprint>, _ tally: Tally
    ) -> CertsError {
        if let error = tally.lastError { return CertsError.wrapping(error, subject: question.endpoint.address) }
        guard let other = tally.other else {
            return CertsError(.internal, "no handshake was made", subject: question.endpoint.address)
        }
        let wanted = expected.map(\.short).sorted().joined(separator: " or ")
        return CertsError(
            .servedOther,
            "\(question.text) serves another certificate than \(wanted): \(other.text)",
            subject: question.endpoint.address,
            hint: "look for another file with the same name in the `bind` (a copy beside the bundle?), "
                + "for another process on this port, and whether the reload reached a master process (`haproxy -W`)",
            retry: .later)
    }

    // MARK: Parts

    static func observation(_ endpoint: Endpoint, _ served: ServedCertificate, _ now: Date) -> EndpointObservation {
        EndpointObservation(
            endpoint: endpoint, served: served.fingerprint, servedNotAfter: served.notAfter, observedAt: now)
    }

    /// Runs `body` for each element, a bounded number at a time; results in the order of the elements.
    func each<Element: Sendable, Value: Sendable>(
        _ elements: [Element], _ body: @escaping @Sendable (Element) async -> Value
    ) async -> [Value] {
        await concurrently(elements, width: Self.width, body)
    }
}

extension Sighting.Question {
    /// `127.0.0.1:443 (server name www.example.com, TLS 1.2, rsa)`.
    var text: String {
        let name = endpoint.serverName.map { "server name \($0)" } ?? "no server name"
        let version = client.version == .any ? nil : "TLS \(client.version.rawValue)"
        let words = [name, version, client.keyType.map { "\($0.rawValue) only" }].compactMap { $0 }
        return "\(endpoint.address) (\(words.joined(separator: ", ")))"
    }
}

extension ServedCertificate {
    /// Subject, end and short fingerprint.
    fileprivate var text: String {
        "\(TerminalText.sanitized(subject, limit: 200)), valid until \(notAfter.formatted(.iso8601)), "
            + "fingerprint \(fingerprint.short)"
    }
}

extension Result where Failure == any Error {
    init(_ body: () async throws -> Success) async {
        do { self = .success(try await body()) } catch { self = .failure(error) }
    }
}
