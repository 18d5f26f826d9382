import CertsCore
import Foundation
import Synchronization
import Testing

@testable import CertsHAProxy

/// Answers from a list; the last answer is repeated.
private final class ScriptedProber: Prober {
    enum Answer: Sendable {
        case serves(UInt8, chain: [Data] = [])
        case fails
    }

    private let answers: Mutex<[Answer]>
    let asked = Mutex(0)

    init(_ answers: [Answer]) { self.answers = Mutex(answers) }

    func probe(_ endpoint: Endpoint, as client: ClientProfile, deadline: Duration) async throws -> ServedCertificate {
        asked.withLock { $0 += 1 }
        let answer = answers.withLock { $0.count > 1 ? $0.removeFirst() : $0.first ?? .fails }
        switch answer {
        case .fails: throw CertsError(.probeFailed, "connection refused")
        case .serves(let byte, let chain):
            return ServedCertificate(
                chainDER: chain, fingerprint: try fingerprint(byte), subject: "CN=\(byte)",
                notAfter: Date(timeIntervalSince1970: 0))
        }
    }
}

private func fingerprint(_ byte: UInt8) throws -> Fingerprint {
    try #require(Fingerprint(bytes: Array(repeating: byte, count: 32)))
}

/// A clock on which every sleep is over at once.
private struct InstantClock: Clock {
    typealias Instant = ContinuousClock.Instant
    var now: Instant { ContinuousClock.now }
    var minimumResolution: Duration { .zero }
    func sleep(until deadline: Instant, tolerance: Duration?) async throws { await Task.yield() }
}

@Suite struct EndpointProofTests {
    private static let endpoint = Endpoint(host: "127.0.0.1", port: 443, serverName: "www.example.com")

    private func prove(
        _ answers: [ScriptedProber.Answer], _ patience: EndpointProof.Patience = .swap(.seconds(2)),
        chain: [Data]? = nil
    ) async throws -> (code: CertsError?, asked: Int) {
        let prober = ScriptedProber(answers)
        let expected = try fingerprint(1)
        let failure = await error {
            let question = Sighting.Question(Self.endpoint)
            let before = EndpointObservation(endpoint: Self.endpoint, served: nil, observedAt: Date())
            let seen = try await EndpointProof(prober: prober, clock: InstantClock()).prove(
                Expectation(leaves: [(nil, expected)], chains: chain.map { [expected: $0] } ?? [:], staples: [:]),
                baseline: [Sighting(question, before)], replaced: [], patience: patience)
            #expect(seen.observations.map(\.served) == [expected])
        }
        return (failure, prober.asked.withLock { $0 })
    }

    @Test func wantsThreeHandshakesThatAgree() async throws {
        let result = try await prove([.serves(1)])
        #expect(result == (nil, 3))
    }

    @Test func failsAtOnceAfterThreeWrongAnswersToAHotSwap() async throws {
        let result = try await prove([.serves(2)])
        #expect(result.code?.code == .servedOther)
        #expect(result.code?.message.contains("CN=2") == true)
        #expect(result.asked == 3)
    }

    @Test func wantsEightOnceAnEndpointAnsweredInTwoWays() async throws {
        let result = try await prove([.serves(1), .serves(2), .serves(1)])
        #expect(result == (nil, 10))
    }

    @Test func waitsForAReload() async throws {
        let result = try await prove(
            [.serves(2), .serves(2), .serves(2), .serves(2), .fails, .serves(1)], .reload(.seconds(15)))
        #expect(result.code == nil)
    }

    @Test func givesUpWhenAReloadDoesNotShow() async throws {
        let result = try await prove([.serves(2)], .reload(.seconds(15)))
        #expect(result.code?.code == .servedOther)
        #expect(result.asked == 151)
    }

    @Test func saysThatNothingAnswers() async throws {
        let result = try await prove([.fails])
        #expect(result.code?.code == .probeFailed)
        #expect(result.asked == 21)
    }

    @Test func wantsTheWholeChain() async throws {
        let (leaf, intermediate) = (Data([1]), Data([2]))
        #expect(try await prove([.serves(1, chain: [leaf])], chain: [leaf, intermediate]).code?.code == .servedOther)
        #expect(
            try await prove([.serves(1, chain: [intermediate, leaf])], chain: [leaf, intermediate]).code?.code
                == .servedOther)
        #expect(try await prove([.serves(1, chain: [leaf, intermediate])], chain: [leaf, intermediate]).code == nil)
    }

    @Test func requiresNothingOfWhatCouldNotBeReachedBefore() async throws {
        let proof = EndpointProof(prober: ScriptedProber([.fails]), clock: InstantClock())
        let before = EndpointObservation(endpoint: Self.endpoint, served: nil, problem: "refused", observedAt: Date())
        #expect(
            try await proof.proveRestored([Sighting(.init(Self.endpoint), before)], patience: .swap(.seconds(1))).first?
                .problem != nil)
    }

    /// A new certificate of another rotation ends earlier than the default that its name fell to before.
    @Test(arguments: [true, false])
    func excusesWhatAnotherRotationOfThisProcessHasPutThere(isKnown: Bool) async throws {
        let proof = EndpointProof(prober: ScriptedProber([.serves(5)]), clock: InstantClock())
        let file = FileReceipt(path: "/x.pem", role: .bundle(slot: nil), previous: nil)
        let receipt = DeploymentReceipt(
            method: "runtime", reloads: false, files: [file], baseline: [], takenAt: Date())
        let other = StagedBundle(
            certificate: try Name("other"), revision: 1, pem: Secret(copying: []), leaf: CertificateRecord(),
            fingerprint: try fingerprint(isKnown ? 5 : 6), names: [])
        proof.known.record([BundleDeployment(bundle: other, receipt: receipt, resuming: false)])
        let before = EndpointObservation(
            endpoint: Self.endpoint, served: try fingerprint(9), servedNotAfter: .distantFuture, observedAt: Date())
        let neighbour = Sighting(.init(Self.endpoint, about: .neighbour), before)
        let failure = await error {
            _ = try await proof.proveRestored([neighbour], patience: .swap(.seconds(1)))
            let expected = Expectation(leaves: [(nil, try fingerprint(1))], chains: [:], staples: [:])
            let proved = try await proof.prove(
                expected, baseline: [neighbour], replaced: [], patience: .swap(.seconds(1)))
            #expect(proved.findings.map(\.id) == ["neighbour-renewed"])
        }
        #expect(failure?.code == (isKnown ? nil : .servedOther))
    }

    @Test func keepsTheOrderOfManyEndpoints() async throws {
        let endpoints = (1...50).map { Endpoint(host: "127.0.0.1", port: $0) }
        let seen = await EndpointProof(prober: ScriptedProber([.serves(1)])).observe(endpoints, now: Date())
        #expect(seen.map(\.endpoint) == endpoints)
    }

    static let names: [AlternativeName] = [.dns("www.example.com"), .dns("*.example.org"), .email("a@example.com")]

    @Test(arguments: [
        (nil, ["www.example.com", "certs-probe.example.org"]), ("www.example.com", ["www.example.com"]),
        ("WWW.example.com", ["WWW.example.com"]), ("a.example.org", ["a.example.org"]), ("a.b.example.org", []),
        ("other.example.com", []), ("192.0.2.1", []),
    ])
    func asksAnEndpointThatConcernsTheCertificate(serverName: String?, expected: [String]) throws {
        let declaration = try NodeDeclaration(
            name: "t", bundle: "/x.pem", reload: .runtime(socket: "/s"),
            endpoints: [Endpoint(host: "::1", port: 443, serverName: serverName)])
        #expect(declaration.probes(for: Self.names).map(\.serverName) == expected)
    }

    @Test func asksForAnAddressWithoutAServerName() throws {
        let address = try #require(IPAddress("192.0.2.1"))
        let declaration = try NodeDeclaration(
            name: "t", bundle: "/x.pem", reload: .runtime(socket: "/s"),
            endpoints: [Endpoint(host: "::1", port: 443)])
        #expect(declaration.probes(for: [.ip(address), .ip(address)]) == [Endpoint(host: "::1", port: 443)])
    }

    @Test func refusesToProveNothing() async throws {
        let declaration = try NodeDeclaration(
            name: "t", bundle: "/x.pem", reload: .runtime(socket: "/s"),
            endpoints: [Endpoint(host: "::1", port: 443, serverName: "other.test")])
        let failure = await error { _ = try declaration.requiredProbes(for: Self.names, certificate: try Name("c")) }
        #expect(failure?.code == .probeFailed)
        #expect(failure?.hint?.contains("serverName") == true)
    }
}
