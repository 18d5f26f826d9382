import CertsCore
import CertsCrypto
import CertsTesting
import Foundation
import Logging
import Synchronization
import Testing

@testable import CertsIssuers

/// What an attempt leaves behind that did not come to its end, and what the next one makes of it.
@Suite struct LostAnswerTests {
    let scene: ACMEScene
    let ca: ScriptedCA

    init() async throws {
        scene = try await ACMEScene()
        ca = try ScriptedCA(in: scene.directory)
    }

    func issue(
        rotation: String = "1", solvers: [any ChallengeSolver] = [IdleSolver()], key: PrivateKey? = nil,
        _ names: [AlternativeName] = [.dns("messenger.example.com")],
        _ change: (inout ACMEDeclaration) -> Void = { _ in }
    ) async throws -> [Certificate] {
        try await scene.issuer(ca, solvers: solvers, change).chain(
            ACMEScene.request(key ?? PrivateKey.generate(.ecdsaP256), names, rotation: rotation))
    }

    // MARK: Orders

    @Test func anOrderOutlivesAServerThatFailsWhileItValidates() async throws {
        ca.behaviour.pollsBeforeValid = 1
        // The second look at the authorization, and all that follow.
        ca.on(.authorization, calls: 2...Int.max, .reply(.page(502)))
        await #expect(throws: CertsError.self) { try await issue() }
        #expect(ca.authorizations == ["pending"])
        ca.clearScript()
        #expect(try await !issue(rotation: "2").isEmpty)
        #expect(ca.requests(.newOrder).count == 1)
        #expect(ca.requests.allSatisfy { $0.payload["status"] as? String != "deactivated" })
    }

    @Test func anOrderOutlivesAPathThatIsNotOpenYet() async throws {
        let solver = TracedSolver(checkFails: true)
        let error = await #expect(throws: CertsError.self) { try await issue(solvers: [solver]) }
        #expect(error?.code == .challengeFailed)
        #expect(ca.requests(.challenge).isEmpty)
        #expect(solver.shown.isEmpty)
        #expect(try await !issue(rotation: "2", solvers: [TracedSolver()]).isEmpty)
        #expect(ca.requests(.newOrder).count == 1)
    }

    @Test func aFailedValidationEndsTheOrder() async throws {
        ca.behaviour.challengeProblem = ("unauthorized", "nothing there")
        await #expect(throws: CertsError.self) { try await issue() }
        ca.behaviour.challengeProblem = nil
        #expect(try await !issue(rotation: "2").isEmpty)
        #expect(ca.requests(.newOrder).count == 2)
    }

    /// The first attempt is lost after the CA was told, while it looks.
    @Test func aChallengeThatTheCALooksAtAlreadyIsNoRefusal() async throws {
        ca.behaviour.pollsBeforeValid = 3
        ca.on(.authorization, calls: 2...Int.max, .reply(.page(502)))
        let solver = TracedSolver()
        await #expect(throws: CertsError.self) { try await issue(solvers: [solver]) }
        #expect(solver.shown.count == 1, "the CA may look yet")
        ca.clearScript()
        // As servers do that take an answer only once.
        ca.on(.challenge, .reply(.problem("malformed", "it is processing", status: 400)))
        #expect(try await !issue(rotation: "2", solvers: [solver]).isEmpty)
        #expect(ca.requests(.challenge).count == 1)
        #expect(solver.shown.isEmpty && solver.removals == 1)
    }

    /// The CA decides while nobody listens: the answer is taken away all the same.
    @Test func whatWasShownIsTakenAwayWhenTheCAHasDecidedMeanwhile() async throws {
        ca.on(.authorization, calls: 2...Int.max, .reply(.page(502)))
        let solver = TracedSolver()
        await #expect(throws: CertsError.self) { try await issue(solvers: [solver]) }
        #expect(solver.shown.count == 1)
        ca.clearScript()
        #expect(try await !issue(rotation: "2", solvers: [solver]).isEmpty)
        #expect(ca.requests(.newOrder).count == 1)
        #expect(solver.shown.isEmpty)
    }

    /// The answer arrives, what the CA says to it does not, and the repetition is refused.
    @Test func anAnswerThatWasTakenAndIsRefusedTheSecondTimeIsTaken() async throws {
        ca.behaviour.pollsBeforeValid = 3
        ca.next(.challenge, .loseReply)
        ca.on(.challenge, calls: 2...2, .reply(.problem("malformed", "it is processing", status: 400)))
        #expect(try await !issue().isEmpty)
        #expect(ca.requests(.challenge).count == 2)
    }

    @Test func anAnswerThatIsRefusedIsARefusal() async throws {
        ca.on(.challenge, .reply(.problem("malformed", "no", status: 400)))
        let error = await #expect(throws: CertsError.self) { try await issue() }
        #expect(error?.code == .issuerRefused)
        ca.clearScript()
        #expect(try await !issue(rotation: "2").isEmpty)
        #expect(ca.requests(.newOrder).count == 2, "such an order can give nothing")
    }

    @Test func anOrderForOtherNamesIsNeverFollowed() async throws {
        ca.behaviour.otherIdentifiers = ["evil.example.org"]
        for rotation in 1...3 {
            await #expect(throws: CertsError.self) { try await issue(rotation: "\(rotation)") }
        }
        #expect(ca.requests(.challenge).isEmpty)
        #expect(ca.requests(.authorization).isEmpty)
    }

    // MARK: Chains

    @Test func anAlternateChainThatCannotBeHadIsNone() async throws {
        let other = try ScriptedCA(in: scene.directory, alternateRoots: 3)
        defer { other.stop() }
        other.on(.certificate, calls: 2...2, .reply(.problem("malformed", "gone", status: 404)))
        other.on(.certificate, calls: 3...3, .change { $0.body = Data("no certificate".utf8) })
        let chain = try await scene.issuer(other) { $0.preferredChain = .rootName("Alternate Root 3") }.chain(
            ACMEScene.request(.generate(.ecdsaP256)))
        #expect(chain.last?.record.issuerCommonName == "Alternate Root 3")
    }

    @Test func thePreferredRootIsTheTopOfTheChainAndNoLinkOfIt() throws {
        let pki = try TestPKI()
        let leaf = try pki.leaf(["messenger.example.com"])
        let chain = [leaf.certificate, pki.intermediate.certificate]
        let root = try #require(pki.intermediate.certificate.record.issuerCommonName)
        let intermediate = try #require(leaf.certificate.record.issuerCommonName)
        #expect(ACMEDeclaration.PreferredChain.rootName(root).isFulfilled(by: chain))
        #expect(!ACMEDeclaration.PreferredChain.rootName(intermediate).isFulfilled(by: chain))
        #expect(ACMEDeclaration.PreferredChain.rootName(root).isFulfilled(by: chain + [pki.root.certificate]))
        #expect(!ACMEDeclaration.PreferredChain.rootName(root).isFulfilled(by: []))
    }

    // MARK: Proofs

    @Test func aProofThatCouldNotBeTakenAwayIsTakenAwayByTheNextOrder() async throws {
        let broken = TracedSolver(removals: 2)
        #expect(try await !issue(solvers: [broken]).isEmpty)
        #expect(broken.shown.count == 1)
        #expect(broken.shown.first?.recordName == "place of messenger.example.com")
        let records = OrderRecords(files: scene.state, certificate: try Name("messenger"), keyType: "ecdsa")
        #expect(try await records.shownProofs().map(\.proof) == Array(broken.shown))
        #expect(try await !issue(rotation: "2", solvers: [broken]).isEmpty)
        #expect(broken.shown.isEmpty)
        #expect(try await records.shownProofs().isEmpty)
    }

    /// As with two zones at two providers: what the other one says of the record does not count.
    @Test func oneOfTwoSolversTakesItAway() async throws {
        let other = TracedSolver(removals: 100, isMeant: false)
        let own = TracedSolver()
        #expect(try await !issue(solvers: [other, own]).isEmpty)
        let records = OrderRecords(files: scene.state, certificate: try Name("messenger"), keyType: "ecdsa")
        #expect(try await records.shownProofs().isEmpty)
        #expect(own.removals == 1)
    }

    @Test func aProofOfAnotherIssuerWaitsForThatOne() async throws {
        let broken = TracedSolver(removals: 2)
        #expect(try await !issue(solvers: [broken]).isEmpty)
        let left = broken.shown
        let second = ACMEIssuer(
            name: try Name("second"),
            declaration: ACMEDeclaration(directory: ca.directoryURL, caFile: ca.caFile, acceptTerms: true), anchors: [],
            files: scene.state, logger: Logger(label: "tests", factory: { _ in SwiftLogNoOpLogHandler() }),
            solvers: [broken])
        #expect(try await !second.chain(ACMEScene.request(.generate(.ecdsaP256), rotation: "2")).isEmpty)
        #expect(broken.shown == left)
        #expect(try await !issue(rotation: "3", solvers: [broken]).isEmpty)
        #expect(broken.shown.isEmpty)
    }

    @Test func aProofThatTwoOrdersShowStaysForTheSecond() throws {
        let users = ProofUsers()
        let proof = ChallengeProof(
            type: .http01, identifier: .dns("www.example.com"), isWildcard: false, token: "t", keyAuthorization: "t.k",
            accountURL: "https://ca.example/1")
        users.begin(proof)
        users.begin(proof)
        #expect(users.isUsed(proof))
        #expect(!users.end(proof))
        #expect(users.end(proof))
        #expect(!users.isUsed(proof))
        #expect(users.end(proof), "what nobody of this process shows may go")
    }

    // MARK: Limits

    static let limits: [(kind: String, detail: String, isAboutNames: Bool)] = [
        ("rateLimited", "too many certificates (5) already issued for this exact set of domains in 168h", true),
        ("rateLimited", "too many certificates already issued for \"example.com\". Retry after…", true),
        (
            "rateLimited", "too many failed authorizations (5) for www.example.com: see https://letsencrypt.org/docs",
            true
        ),
        ("rateLimited", "too many new orders (300) from this account in the last 3h", false),
        ("rateLimited", "too many currently pending authorizations", false),
        ("unknown", "Too Many Requests", false),
    ]

    @Test(arguments: limits.indices)
    func aLimitHoldsForWhatItIsAbout(_ index: Int) async throws {
        let limit = Self.limits[index]
        ca.next(
            .newOrder, .reply(.problem(limit.kind, limit.detail, status: 429).retryAfter(seconds: 3600)))
        await #expect(throws: CertsError.self) { try await issue([.dns("www.example.com")]) }
        #expect(ca.requests(.newOrder).count == 1)
        // The same names have to wait in any case, others only where the limit is not about names.
        #expect(try await waits([.dns("www.example.com")]))
        #expect(try await waits([.dns("www.example.org")]) == !limit.isAboutNames)
    }

    private func waits(_ names: [AlternativeName]) async throws -> Bool {
        let request = try ACMEScene.request(.generate(.ecdsaP256), names, certificate: "other", rotation: "2")
        if case .pending = try await scene.issuer(ca).issue(request) { return true }
        return false
    }

    // MARK: Renewal information

    @Test func renewalInformationIsNotAskedForWithoutTLS() async throws {
        let leaf = try #require(try await issue().first)
        ca.on(.directory, .change { $0.edit { $0["renewalInfo"] = "http://127.0.0.1:1/renewal-info" } })
        let error = await #expect(throws: CertsError.self) {
            try await scene.issuer(ca).suggestedWindow(for: leaf.der, now: Date())
        }
        #expect(error?.code == .issuerRefused)
    }
}

/// Keeps what is shown; fails where it is told to.
final class TracedSolver: ChallengeSolver {
    let type = ChallengeType.http01
    private let checkFails: Bool
    private let meant: Bool
    private let state: Mutex<(shown: Set<ChallengeProof>, failingRemovals: Int, removals: Int)>

    /// - Parameter removals: how many of the first removals fail.
    init(checkFails: Bool = false, removals: Int = 0, isMeant: Bool = true) {
        self.checkFails = checkFails
        meant = isMeant
        state = Mutex(([], removals, 0))
    }

    var shown: Set<ChallengeProof> { state.withLock { $0.shown } }
    /// That succeeded.
    var removals: Int { state.withLock { $0.removals } }

    func isMeant(for identifier: AlternativeName, isWildcard: Bool) -> Bool { meant }

    func located(_ proof: ChallengeProof) async throws -> ChallengeProof {
        var located = proof
        located.recordName = "place of \(proof.identifier.value)"
        return located
    }

    func present(_ proof: ChallengeProof) async throws {
        state.withLock { _ = $0.shown.insert(proof) }
    }

    func check(_ proof: ChallengeProof) async throws {
        if checkFails { throw CertsError(.challengeFailed, "not seen from outside", hint: "open port 80") }
    }

    func remove(_ proof: ChallengeProof) async throws {
        try state.withLock { state in
            if state.failingRemovals > 0 {
                state.failingRemovals -= 1
                throw CertsError(.dnsUpdateRefused, "REFUSED", hint: "correct the key")
            }
            state.shown.remove(proof)
            state.removals += 1
        }
    }
}
