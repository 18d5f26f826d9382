import CertsCore
import CertsCrypto
import CertsIssuers
import CertsStore
import CertsTesting
import Foundation
import Testing

/// What every issuer promises (`Ports/Issuer.swift`), for each of them.
@Suite struct IssuerConformanceTests {
    static let now = Date(timeIntervalSince1970: 1_800_000_000)

    enum Kind: CaseIterable { case selfSigned, localCA, handOff }

    struct Scene {
        let directory: TemporaryDirectory
        let state: StateDirectory

        init() async throws {
            directory = try TemporaryDirectory()
            state = try await StateDirectory.open(at: directory.path + "/state", create: true)
        }

        func make(_ kind: Kind) throws -> any Issuer {
            switch kind {
            case .selfSigned: SelfSignedIssuer(name: try Name("issuer"), validity: 90 * 86400)
            case .localCA:
                LocalCAIssuer(
                    name: try Name("issuer"), policy: LocalAuthorityPolicy(commonName: "Test CA"), files: state)
            case .handOff: HandOffIssuer(name: try Name("issuer"), anchors: [], files: state)
            }
        }
    }

    static func declaration(_ algorithm: KeyAlgorithm = .ecdsaP256) throws -> CertificateDeclaration {
        CertificateDeclaration(
            name: try Name("messenger"), subject: Subject(commonName: "messenger.example.com"),
            names: [.dns("messenger.example.com")], key: KeyPolicy(algorithm: algorithm), issuer: try Name("issuer"))
    }

    static func request(_ key: PrivateKey, resuming: ResumeHandle? = nil, at now: Date = now) throws -> IssuanceRequest
    {
        let declaration = try declaration()
        let csr = try CertificateRequest.make(subject: declaration.subject, names: declaration.names, key: key)
        return IssuanceRequest(
            declaration: declaration, rotation: "1", csr: csr.der, key: try key.pem(), resuming: resuming, now: now,
            save: { _ in })
    }

    @Test(arguments: Kind.allCases)
    func answersWithOurKeyOurNamesAndAChainToItsAnchorsOrWaits(_ kind: Kind) async throws {
        let scene = try await Scene()
        let issuer = try scene.make(kind)
        let key = try PrivateKey.generate(.ecdsaP256)
        switch try await issuer.issue(Self.request(key)) {
        case .pending(let handle, _):
            #expect(kind == .handOff && !handle.rawValue.isEmpty)
        case .issued(let chain):
            let certificates = try chain.map { try Certificate(der: $0) }
            let leaf = try #require(certificates.first)
            #expect(key.matches(leaf))
            let anchors = try await issuer.trustAnchors().map { try Certificate(der: $0) }
            let findings = BundleChecks.findings(
                chain: certificates, keySPKI: key.publicKeyDER, names: try Self.declaration().names, anchors: anchors,
                keyAlgorithm: .ecdsaP256, now: Self.now)
            #expect(findings.filter(\.isBlocking).isEmpty)
            #expect(abs(leaf.record.lifetime - 90 * 86400) < 2)
        }
    }

    @Test(arguments: Kind.allCases)
    func refusesARequestThatIsNoRequest(_ kind: Kind) async throws {
        let scene = try await Scene()
        let issuer = try scene.make(kind)
        let request = IssuanceRequest(
            declaration: try Self.declaration(), rotation: "1", csr: Data("no request".utf8),
            key: try PrivateKey.generate(.ecdsaP256).pem(), resuming: nil, now: Self.now, save: { _ in })
        await #expect(throws: CertsError(.requestMalformed, "")) { try await issuer.issue(request) }
    }
}

@Suite struct LocalCAIssuerTests {
    let now = IssuerConformanceTests.now

    @Test func twoThatStartTogetherMakeOneAuthority() async throws {
        let scene = try await IssuerConformanceTests.Scene()
        let roots = try await withThrowingTaskGroup(of: [Data].self) { group in
            for _ in 0..<6 {
                group.addTask {
                    let issuer = try scene.make(.localCA)
                    _ = try await issuer.issue(IssuerConformanceTests.request(PrivateKey.generate(.ecdsaP256)))
                    return try await issuer.trustAnchors()
                }
            }
            return try await group.reduce(into: Set<[Data]>()) { $0.insert($1) }
        }
        #expect(roots.count == 1)
    }

    @Test func makesANewIntermediateBeforeALeafWouldOutliveIt() async throws {
        let scene = try await IssuerConformanceTests.Scene()
        let issuer = try scene.make(.localCA)
        let key = try PrivateKey.generate(.ecdsaP256)
        func intermediate(at date: Date) async throws -> Data {
            guard case .issued(let chain) = try await issuer.issue(IssuerConformanceTests.request(key, at: date)) else {
                throw CertsError(.issuerPending, "not expected")
            }
            return try #require(chain.last)
        }
        let first = try await intermediate(at: now)
        #expect(try await intermediate(at: now.addingTimeInterval(86400)) == first)
        let late = now.addingTimeInterval(LocalAuthority.issuingValidity - 10 * 86400)
        let second = try await intermediate(at: late)
        #expect(second != first)
        #expect(try await intermediate(at: late) == second, "the new one is on disk")
    }

    @Test func anIncompleteAuthorityIsNeverReplacedByANewOne() async throws {
        let scene = try await IssuerConformanceTests.Scene()
        let issuer = try scene.make(.localCA)
        _ = try await issuer.issue(IssuerConformanceTests.request(PrivateKey.generate(.ecdsaP256)))
        try FileManager.default.removeItem(atPath: scene.state.path + "/authorities/issuer/root-key.pem")
        await #expect(throws: CertsError(.stateCorrupt, "")) {
            try await issuer.issue(IssuerConformanceTests.request(PrivateKey.generate(.ecdsaP256)))
        }
    }

    @Test func revokesOnceAndWritesACRL() async throws {
        let scene = try await IssuerConformanceTests.Scene()
        let issuer = try #require(try scene.make(.localCA) as? any RevokingIssuer)
        guard
            case .issued(let chain) = try await issuer.issue(
                IssuerConformanceTests.request(PrivateKey.generate(.ecdsaP256)))
        else { return }
        let certificates = try chain.map { try Certificate(der: $0) }
        let leaf = try #require(certificates.first)
        let target = RevocationTarget(record: leaf.record, der: leaf.der)
        try await issuer.revoke(target, reason: .keyCompromise, now: now)
        try await issuer.revoke(target, reason: .superseded, now: now)
        let crl = try Data(contentsOf: URL(fileURLWithPath: scene.state.path + "/authorities/issuer/crl.pem"))
        let root = try await issuer.trustAnchors().map { try Certificate(der: $0) }
        func verdict(_ lists: [Data]) -> ChainVerdict {
            ChainVerifier(
                roots: root, untrusted: Array(certificates.dropFirst()), host: "messenger.example.com",
                purpose: .server,
                time: now.addingTimeInterval(60), crls: lists, maxDepth: nil
            ).verify(leaf)
        }
        #expect(verdict([]).valid)
        #expect(!verdict([crl]).valid)
        #expect(verdict([crl]).findings.contains { $0.id == "revoked" })
        let stranger = try #require(FakeStranger.record)
        await #expect(throws: CertsError(.issuerRefused, "")) {
            try await issuer.revoke(
                RevocationTarget(record: stranger, der: Data()), reason: .unspecified, now: now)
        }
    }

    private enum FakeStranger {
        static let record: CertificateRecord? = {
            guard let key = try? PrivateKey.generate(.ecdsaP256),
                let request = try? CertificateRequest.make(
                    subject: .init(commonName: "x.example"), names: [.dns("x.example")], key: key)
            else { return nil }
            return try? SelfSigned.issue(
                request: request, key: key, subject: .init(commonName: "x.example"), names: [.dns("x.example")],
                validity: 86400,
                now: IssuerConformanceTests.now
            ).record
        }()
    }
}

@Suite struct HandOffIssuerTests {
    let now = IssuerConformanceTests.now

    struct Exchange {
        let scene: IssuerConformanceTests.Scene
        let issuer: HandOffIssuer
        let authority: LocalAuthority
        let key: PrivateKey

        init() async throws {
            scene = try await IssuerConformanceTests.Scene()
            authority = try LocalAuthority.make(
                policy: LocalAuthorityPolicy(commonName: "Corporate"), now: IssuerConformanceTests.now)
            issuer = HandOffIssuer(name: try Name("issuer"), anchors: [authority.root.der], files: scene.state)
            key = try PrivateKey.generate(.ecdsaP256)
        }

        func ask(_ handle: ResumeHandle? = nil) async throws -> IssuanceOutcome {
            try await issuer.issue(IssuerConformanceTests.request(key, resuming: handle))
        }

        func answer(
            names: [AlternativeName] = [.dns("messenger.example.com")], at date: Date = IssuerConformanceTests.now
        ) async throws -> Certificate {
            let name = try IssuerConformanceTests.declaration().name
            let request = try #require(try await issuer.pendingRequest(of: name))
            return try authority.issue(
                request: request, subject: .init(), names: names, validity: 30 * 86400, now: date)
        }
    }

    @Test func theAnswerIsTakenInAnyOrderAndTheRootIsLeftOut() async throws {
        let exchange = try await Exchange()
        guard case .pending(let handle, _) = try await exchange.ask() else {
            throw CertsError(.internal, "did not wait")
        }
        let leaf = try await exchange.answer()
        let declaration = try IssuerConformanceTests.declaration()
        try await exchange.issuer.accept(
            [exchange.authority.root, exchange.authority.issuing, leaf], for: declaration, now: now)
        guard case .issued(let chain) = try await exchange.ask(handle) else {
            throw CertsError(.internal, "did not go on")
        }
        #expect(chain == [leaf.der, exchange.authority.issuing.der])
        try await exchange.issuer.forget(declaration.name)
        #expect(try await exchange.issuer.pendingRequest(of: declaration.name) == nil)
    }

    @Test func anAnswerForAnotherKeyOrOtherNamesIsRefusedAndTheWaitGoesOn() async throws {
        let exchange = try await Exchange()
        guard case .pending(let handle, _) = try await exchange.ask() else {
            throw CertsError(.internal, "did not wait")
        }
        let declaration = try IssuerConformanceTests.declaration()
        let stranger = try TestPKI().leaf(["messenger.example.com"]).certificate
        await #expect(throws: CertsError(.keyMismatch, "")) {
            try await exchange.issuer.accept([stranger], for: declaration, now: now)
        }
        let otherNames = try await exchange.answer(names: [.dns("other.example.com")])
        await #expect(throws: CertsError(.certificateRejected, "")) {
            try await exchange.issuer.accept([otherNames, exchange.authority.issuing], for: declaration, now: now)
        }
        guard case .pending = try await exchange.ask(handle) else {
            throw CertsError(.internal, "took a refused answer")
        }
    }

    @Test func nothingIsTakenWhenNothingWaits() async throws {
        let exchange = try await Exchange()
        await #expect(throws: CertsError(.issuerPending, "")) {
            try await exchange.issuer.accept(
                [exchange.authority.issuing], for: IssuerConformanceTests.declaration(), now: now)
        }
    }
}
