import CertsCore
import Foundation

/// Shows by fresh handshakes what endpoints serve.
struct EndpointProof: Sendable {
    let prober: any Prober
    var clock: any Clock<Duration> = ContinuousClock()
    /// For one handshake.
    var handshake: Duration = .seconds(5)
    /// Between two handshakes that did not show what was hoped for.
    var pause: Duration = .milliseconds(100)

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
    private static let agreement = 3
    private static let strictAgreement = 8
    /// Endpoints asked at the same time.
    private static let width = 8

    /// One handshake with each; a problem is part of the observation.
    func observe(_ endpoints: [Endpoint], now: Date) async -> [EndpointObservation] {
        await each(endpoints) { endpoint in
            do {
                let served = try await prober.probe(endpoint, serverName: endpoint.serverName, deadline: handshake)
                return Self.observation(endpoint, served, now)
            } catch {
                let problem = CertsError.wrapping(error)
                return EndpointObservation(
                    endpoint: endpoint, served: nil, problem: problem.description, observedAt: now)
            }
        }
    }

    /// - Parameter chain: DER, leaf first, of what must be sent.
    /// - Throws: the first failure in the order of `endpoints`, after all were asked: `served.other`, `probe.…`.
    func prove(
        _ endpoints: [Endpoint], serves expected: Fingerprint, chain: [Data]?, patience: Patience
    ) async throws -> [EndpointObservation] {
        let results = await each(endpoints) { endpoint in
            await Result { try await prove(endpoint, expected, chain, patience) }
        }
        return try results.map { try $0.get() }
    }

    /// Proves that each endpoint serves what it was seen serving before; one that could not be reached then is asked,
    /// but nothing is required of it.
    func proveRestored(_ baseline: [EndpointObservation], patience: Patience) async throws -> [EndpointObservation] {
        let results = await each(baseline) { before in
            await Result {
                guard let expected = before.served else { return await observe([before.endpoint], now: Date()) }
                return [try await prove(before.endpoint, expected, nil, patience)]
            }
        }
        return try results.flatMap { try $0.get() }
    }

    // MARK: One endpoint

    private func prove(
        _ endpoint: Endpoint, _ expected: Fingerprint, _ chain: [Data]?, _ patience: Patience
    ) async throws -> EndpointObservation {
        var tally = Tally(expected: expected)
        var waited = Duration.zero
        while true {
            let outcome: Result<ServedCertificate, any Error> = await Result {
                try await prober.probe(endpoint, serverName: endpoint.serverName, deadline: handshake)
            }
            tally.count(outcome)
            if let served = tally.proved {
                try Self.check(served, chain: chain, endpoint)
                return Self.observation(endpoint, served, Date())
            }
            try Task.checkCancellation()
            if tally.isMatching { continue }
            let isHopeless = if case .swap = patience { tally.isConsistentlyWrong } else { false }
            if isHopeless || waited >= patience.limit { throw Self.failure(endpoint, expected, tally) }
            try await clock.sleep(for: pause)
            waited += pause + tally.lastProbe(handshake)
        }
    }

    /// What the handshakes with one endpoint have shown so far.
    private struct Tally {
        let expected: Fingerprint
        private var agreeing = 0
        private var disagreeing = 0
        private var last: Result<ServedCertificate, any Error>?
        private(set) var other: ServedCertificate?

        init(expected: Fingerprint) { self.expected = expected }

        mutating func count(_ outcome: Result<ServedCertificate, any Error>) {
            switch outcome {
            case .success(let served) where served.fingerprint == expected:
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

    private static func check(_ served: ServedCertificate, chain: [Data]?, _ endpoint: Endpoint) throws(CertsError) {
        guard let chain, !served.chainDER.starts(with: chain) else { return }
        throw CertsError(
            .servedOther,
            "\(describe(endpoint)) serves the right certificate, but its chain is not the one of the bundle: "
                + "\(served.chainDER.count) of \(chain.count) certificates were sent, or in another order",
            subject: endpoint.address,
            hint: "look for a second file or process that holds the same certificate without its chain")
    }

    private static func failure(_ endpoint: Endpoint, _ expected: Fingerprint, _ tally: Tally) -> CertsError {
        if let error = tally.lastError { return CertsError.wrapping(error, subject: endpoint.address) }
        guard let other = tally.other else {
            return CertsError(.internal, "no handshake was made", subject: endpoint.address)
        }
        return CertsError(
            .servedOther,
            "\(describe(endpoint)) serves another certificate than \(expected.short): "
                + "\(TerminalText.sanitized(other.subject, limit: 200)), valid until \(other.notAfter.formatted(.iso8601)), "
                + "fingerprint \(other.fingerprint.short)",
            subject: endpoint.address,
            hint: "look for another file with the same name in the `bind` (a copy beside the bundle?), "
                + "for another process on this port, and whether the reload reached a master process (`haproxy -W`)",
            retry: .later)
    }

    private static func describe(_ endpoint: Endpoint) -> String {
        endpoint.serverName.map { "\(endpoint.address) (server name \($0))" } ?? "\(endpoint.address) (no server name)"
    }

    private static func observation(_ endpoint: Endpoint, _ served: ServedCertificate, _ now: Date)
        -> EndpointObservation
    {
        EndpointObservation(
            endpoint: endpoint, served: served.fingerprint, servedNotAfter: served.notAfter, observedAt: now)
    }

    /// Runs `body` for each element, a bounded number at a time; results in the order of the elements.
    private func each<Element: Sendable, Value: Sendable>(
        _ elements: [Element], _ body: @escaping @Sendable (Element) async -> Value
    ) async -> [Value] {
        await withTaskGroup(of: (Int, Value).self) { group in
            var results: [Int: Value] = [:]
            for (index, element) in elements.enumerated() {
                if index >= Self.width, let (done, value) = await group.next() { results[done] = value }
                group.addTask { (index, await body(element)) }
            }
            for await (done, value) in group { results[done] = value }
            return elements.indices.compactMap { results[$0] }
        }
    }
}

extension Result where Failure == any Error {
    init(_ body: () async throws -> Success) async {
        do { self = .success(try await body()) } catch { self = .failure(error) }
    }
}
