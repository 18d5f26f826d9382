import CertsCore
import Foundation

/// What a deployment must be seen to have done.
struct Expectation: Sendable {
    /// The leaf of each key type; `nil` where there is one type only.
    var leaves: [(slot: KeyType?, fingerprint: Fingerprint)]
    /// DER, leaf first, of what must be sent, by the fingerprint of its leaf.
    var chains: [Fingerprint: [Data]]
    /// The OCSP response that must be stapled to a leaf.
    var staples: [Fingerprint: Data]
    /// The leaves whose certificate says that they must be stapled (RFC 7633).
    var mustStaple: Set<Fingerprint> = []

    /// The leaves that a client of this profile may see.
    func leaves(for client: ClientProfile) -> Set<Fingerprint> {
        guard let type = client.keyType, leaves.contains(where: { $0.slot == type }) else {
            return Set(leaves.map(\.fingerprint))
        }
        return Set(leaves.filter { $0.slot == type }.map(\.fingerprint))
    }

    var all: Set<Fingerprint> { Set(leaves.map(\.fingerprint)) }
}

extension EndpointProof {
    /// Proves the new certificate at every name, and that nothing else has changed.
    ///
    /// - Parameters:
    ///   - baseline: what the same questions showed before.
    ///   - replaced: the leaves of the files that were replaced: they must be served no longer.
    /// - Throws: the first failure in the order of the questions, after all were asked.
    func prove(
        _ expected: Expectation, baseline: [Sighting], replaced: Set<Fingerprint>, patience: Patience
    ) async throws -> VerifiedDeployment {
        let before = baseline.filter { $0.question.subject == .own }
        let own = await each(before) { sighting in
            await Result { try await proveOwn(sighting, expected, baseline: before, patience) }
        }
        var observations: [Endpoint: EndpointObservation] = [:]
        var order: [Endpoint] = []
        var findings: [Finding] = []
        for result in own {
            guard let proved = try result.get() else { continue }
            if observations.updateValue(proved.observation, forKey: proved.observation.endpoint) == nil {
                order.append(proved.observation.endpoint)
            }
            findings += proved.findings
        }
        for endpoint in Set(before.map(\.question.endpoint)) where observations[endpoint] == nil {
            throw Self.nothingServed(endpoint, before)
        }
        let change = Change(
            replaced: replaced.subtracting(expected.all), mayGo: Set(before.compactMap(\.observation.served)),
            ours: expected.all)
        findings += try await proveNeighbours(baseline.filter { $0.question.subject == .neighbour }, change)
        return VerifiedDeployment(
            order.compactMap { observations[$0] }, findings: Set(findings).sorted { $0.id < $1.id })
    }

    private struct Proved: Sendable {
        let observation: EndpointObservation
        let findings: [Finding]
    }

    /// - Returns: `nil` where the endpoint does not speak this TLS version, and did not before.
    private func proveOwn(
        _ before: Sighting, _ expected: Expectation, baseline: [Sighting], _ patience: Patience
    ) async throws -> Proved? {
        let question = before.question
        let mayBeOff = question.client.version != .any && before.observation.served == nil
        do {
            let wanted = expected.leaves(for: question.client)
            let served = try await prove(question, shows: wanted, patience: mayBeOff ? .swap(.zero) : patience)
            let findings = try Self.check(served, expected, question)
            return Proved(
                observation: Self.observation(question.endpoint, served, Date()), findings: findings)
        } catch let error as CertsError where mayBeOff && error.code.family == "probe" {
            return nil
        }
    }

    private static func nothingServed(_ endpoint: Endpoint, _ baseline: [Sighting]) -> CertsError {
        let problem = baseline.first { $0.question.endpoint == endpoint }?.observation.problem
        return CertsError(
            .probeFailed,
            "\(Sighting.Question(endpoint).text): no handshake succeeded, before and after"
                + (problem.map { " (\($0))" } ?? ""),
            subject: endpoint.address, hint: "see what listens there and which TLS versions it speaks", retry: .later)
    }

    private static func check(_ served: ServedCertificate, _ expected: Expectation, _ question: Sighting.Question)
        throws(CertsError) -> [Finding]
    {
        if let chain = expected.chains[served.fingerprint], !served.chainDER.starts(with: chain) {
            throw CertsError(
                .servedOther,
                "\(question.text) serves the right certificate, but its chain is not the one of the bundle: "
                    + "\(served.chainDER.count) of \(chain.count) certificates were sent, or in another order",
                subject: question.endpoint.address,
                hint: "look for a second file or process that holds the same certificate without its chain")
        }
        guard let staple = expected.staples[served.fingerprint], served.staple != staple else { return [] }
        let message = "\(question.text) staples \(served.staple == nil ? "no" : "another") OCSP response"
        let remedy = "look whether HAProxy has the issuer of the leaf in the bundle or in the .issuer file"
        guard !expected.mustStaple.contains(served.fingerprint) else {
            throw CertsError(.servedOther, message, subject: question.endpoint.address, hint: remedy, retry: .later)
        }
        return [Finding(id: "not-stapled", severity: .warning, message: message, remedy: remedy)]
    }

    // MARK: What must not change

    private struct Change: Sendable {
        /// Must be served no longer.
        var replaced: Set<Fingerprint> = []
        /// Was served for our own names, from wherever: it may be gone elsewhere, too.
        var mayGo: Set<Fingerprint> = []
        /// Must be served instead.
        var ours: Set<Fingerprint> = []
        /// What each address showed for a name that nobody has, or for none.
        var fallbacks: [Endpoint: Set<Fingerprint>] = [:]

        /// Whether the name was nobody's: the address fell back to its default certificate, which is not for that name.
        func hadNobody(_ before: Sighting) -> Bool {
            guard before.isForName == false else { return false }
            let endpoint = before.question.endpoint
            guard let name = endpoint.serverName, name != ProofMatrix.unknownName, let old = before.observation.served
            else { return false }
            return fallbacks[Endpoint(host: endpoint.host, port: endpoint.port)]?.contains(old) == true
        }
    }

    private static func fallbacks(_ baseline: [Sighting]) -> [Endpoint: Set<Fingerprint>] {
        var result: [Endpoint: Set<Fingerprint>] = [:]
        for before in baseline {
            let endpoint = before.question.endpoint
            guard endpoint.serverName ?? ProofMatrix.unknownName == ProofMatrix.unknownName,
                let served = before.observation.served
            else { continue }
            result[Endpoint(host: endpoint.host, port: endpoint.port), default: []].insert(served)
        }
        return result
    }

    /// A name of somebody else may only have changed to ours where it was ours or nobody's, and otherwise not at all: but
    /// a later certificate than before, or one that another rotation of this process has put there or brought back, is no
    /// fault of this one.
    private func proveNeighbours(_ baseline: [Sighting], _ change: Change) async throws -> [Finding] {
        var change = change
        change.fallbacks = Self.fallbacks(baseline)
        let results = await each(baseline) { [change] before in
            await Result { try await proveNeighbour(before, change) }
        }
        return try results.compactMap { try $0.get() }
    }

    private func proveNeighbour(_ before: Sighting, _ change: Change) async throws -> Finding? {
        guard let old = before.observation.served else { return nil }
        var last: CertsError?
        // A reload may still be under way, a connection may fail once.
        for _ in 0..<Self.strictAgreement {
            do {
                let served = try await probe(before.question)
                if served.fingerprint == old, !change.replaced.contains(old) { return nil }
                let wasOurs = change.replaced.contains(old) || change.mayGo.contains(old)
                if wasOurs || change.hadNobody(before), change.ours.contains(served.fingerprint) { return nil }
                let isLater = before.observation.servedNotAfter.map { served.notAfter > $0 } ?? false
                let isAnothers =
                    isLater || known.contains(served.fingerprint) || !wasOurs && known.contains(old)
                if !change.ours.contains(served.fingerprint), isAnothers {
                    return Finding(
                        id: "neighbour-renewed", severity: .info,
                        message: "\(before.question.text) serves another certificate than before, and not this one",
                        remedy: "nothing, if another rotation ran at the same time")
                }
                last = Self.changed(before, served)
            } catch {
                last = CertsError.wrapping(error, subject: before.question.endpoint.address)
            }
            try await clock.sleep(for: pause)
        }
        throw last ?? CertsError(.internal, "no handshake was made", subject: before.question.endpoint.address)
    }

    private static func changed(_ before: Sighting, _ served: ServedCertificate) -> CertsError {
        CertsError(
            .servedOther,
            "\(before.question.text) has changed: it served \(before.observation.served?.short ?? "nothing"), "
                + "and now \(served.fingerprint.short), valid until \(served.notAfter.formatted(.iso8601))",
            subject: before.question.endpoint.address,
            hint: "see which file has that name: a reload reads every file again, and a new name may hide another's",
            retry: .later)
    }

    // MARK: The way back

    /// Proves that each question has the answer that it had before; one that had none is asked, but nothing is required
    /// of it.
    /// - Returns: one observation for each endpoint and name of the certificate.
    func proveRestored(_ baseline: [Sighting], patience: Patience) async throws -> [EndpointObservation] {
        let own = baseline.filter { $0.question.subject == .own }
        let results = await each(own) { before in
            await Result {
                guard let expected = before.observation.served else { return await observation(of: before.question) }
                let served = try await prove(before.question, shows: [expected], patience: patience)
                return Self.observation(before.question.endpoint, served, Date())
            }
        }
        var seen = Set<Endpoint>()
        let observations = try results.map { try $0.get() }
        _ = try await proveNeighbours(
            baseline.filter { $0.question.subject == .neighbour }, Change())
        return observations.sorted { $0.served != nil && $1.served == nil }.filter { seen.insert($0.endpoint).inserted }
    }

    private func observation(of question: Sighting.Question) async -> EndpointObservation {
        await look([question], now: Date()).first?.observation
            ?? EndpointObservation(endpoint: question.endpoint, served: nil, observedAt: Date())
    }
}
