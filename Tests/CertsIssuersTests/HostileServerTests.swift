import CertsCore
import CertsCrypto
import CertsTesting
import Foundation
import Testing

@testable import CertsIssuers

/// A CA that errs, lies, breaks off or attacks: a clear error with a next step, or the right certificate; never a trap, and
/// nothing of the CA's text reaches a path or a terminal as it came.
@Suite struct HostileServerTests {
    struct Scene {
        let scene: ACMEScene
        let ca: ScriptedCA

        init(alternateRoots: Int = 0, _ change: (inout ScriptedCA.Behaviour) -> Void = { _ in }) async throws {
            scene = try await ACMEScene()
            var behaviour = ScriptedCA.Behaviour()
            change(&behaviour)
            ca = try ScriptedCA(in: scene.directory, alternateRoots: alternateRoots, behaviour)
        }

        /// One certificate, as a new process would ask for it.
        func issue(
            _ key: PrivateKey? = nil, names: [AlternativeName] = [.dns("messenger.example.com")],
            rotation: String = "1", replacing: Data? = nil, _ change: (inout ACMEDeclaration) -> Void = { _ in }
        ) async throws -> [Certificate] {
            try await scene.issuer(ca, change).chain(
                ACMEScene.request(
                    key ?? PrivateKey.generate(.ecdsaP256), names, rotation: rotation, replacing: replacing))
        }

        /// What it says instead, which must be fit for a terminal.
        func refusal(
            names: [AlternativeName] = [.dns("messenger.example.com")],
            sourceLocation: SourceLocation = #_sourceLocation,
            _ change: (inout ACMEDeclaration) -> Void = { _ in }
        ) async throws -> CertsError {
            let error = try #require(
                await #expect(throws: CertsError.self, sourceLocation: sourceLocation) {
                    try await issue(names: names, change)
                }, sourceLocation: sourceLocation)
            #expect(error.hint?.isEmpty == false, "\(error)", sourceLocation: sourceLocation)
            #expect(
                error.report.unicodeScalars.allSatisfy { $0 == "\n" || ($0.value >= 0x20 && $0.value != 0x7f) },
                sourceLocation: sourceLocation)
            #expect(error.description.utf8.count < 3000, sourceLocation: sourceLocation)
            return error
        }
    }

    // MARK: What has to work all the same

    @Test func aPlainCertificate() async throws {
        let scene = try await Scene()
        let key = try PrivateKey.generate(.ecdsaP256)
        let chain = try await scene.issue(key, names: [.dns("b.example.com"), .dns("a.example.com")])
        #expect(chain.first.map { key.matches($0) } == true)
        #expect(scene.ca.violations.isEmpty, "\(scene.ca.violations)")
        #expect(scene.ca.requests(.newOrder).count == 1)
        #expect(scene.ca.requests.allSatisfy { $0.headers["user-agent"]?.hasPrefix("certs") == true })
    }

    static let bearable: [(String, @Sendable (inout ScriptedCA.Behaviour) -> Void)] = [
        ("null in the directory", { $0.hasNullMeta = true }),
        ("authorizations that are valid", { $0.isAuthorized = true }),
        ("identifiers in another order", { $0.reversesIdentifiers = true }),
        ("an order for the same names again", { $0.reusesOrders = true }),
        ("authorizations that take time", { $0.pollsBeforeValid = 5 }),
        ("a signature that takes time", { $0.pollsBeforeIssued = 5 }),
        ("nonces that are refused in a row", { $0.badNonces = 20 }),
        ("the chain in a wrong order", { $0.certificate = .wrongOrder }),
        ("the root in the chain", { $0.certificate = .withRoot }),
        (
            "Retry-After 0",
            {
                $0.retryAfter = "0"; $0.pollsBeforeIssued = 2; $0.pollsBeforeValid = 2
            }
        ),
        (
            "a Retry-After that is none",
            {
                $0.retryAfter = "soon"; $0.pollsBeforeIssued = 2
            }
        ),
        (
            "a Retry-After of one second",
            {
                $0.retryAfter = "1"; $0.pollsBeforeIssued = 1
            }
        ),
    ]

    @Test(arguments: bearable.indices)
    func whatIsNoReasonToFail(_ index: Int) async throws {
        let scene = try await Scene { Self.bearable[index].1(&$0) }
        let key = try PrivateKey.generate(.ecdsaP256)
        let chain = try await scene.issue(key, names: [.dns("a.example.com"), .dns("b.example.com")])
        #expect(chain.first.map { key.matches($0) } == true, "\(Self.bearable[index].0)")
        #expect(chain.count == 2 && chain.allSatisfy { !$0.record.selfSigned }, "\(Self.bearable[index].0)")
        #expect(scene.ca.violations.isEmpty, "\(scene.ca.violations)")
    }

    @Test(arguments: [ScriptedCA.Resource.newNonce, .order, .authorization, .certificate, .directory])
    func aReadThatBreaksOffIsRepeatedWithAnotherNonce(_ resource: ScriptedCA.Resource) async throws {
        let scene = try await Scene { $0.pollsBeforeIssued = 1 }
        scene.ca.next(resource, times: 1, .loseReply)
        #expect(try await !scene.issue().isEmpty)
        #expect(scene.ca.violations.isEmpty, "\(scene.ca.violations)")
    }

    @Test(arguments: [ScriptedCA.Resource.finalize])
    func aLostAnswerToFinalizeIsReadFromTheOrder(_ resource: ScriptedCA.Resource) async throws {
        let scene = try await Scene { $0.pollsBeforeIssued = 1 }
        scene.ca.next(resource, times: 1, .loseReply)
        let key = try PrivateKey.generate(.ecdsaP256)
        #expect(try await scene.issue(key).first.map { key.matches($0) } == true)
        #expect(scene.ca.requests(.finalize).count == 1)
        #expect(scene.ca.issued.count == 1)
    }

    @Test func finalizeThatComesTooEarlyReadsTheOrderAgain() async throws {
        let scene = try await Scene()
        scene.ca.next(.finalize, times: 1, .reply(.problem("orderNotReady", status: 403)))
        #expect(try await !scene.issue().isEmpty)
        #expect(scene.ca.requests(.finalize).count == 2)
    }

    @Test func anOrderThatIsValidForOurKeyAtOnceIsTaken() async throws {
        let scene = try await Scene()
        let key = try PrivateKey.generate(.ecdsaP256)
        _ = try await scene.issue(key)
        scene.ca.behaviour.ordersAreValid = true
        #expect(try await scene.issue(key, rotation: "2").first.map { key.matches($0) } == true)
        #expect(scene.ca.issued.count == 1)
    }

    @Test func aKeyThatIsUsedAgainGetsAnotherCertificateWithEachRotation() async throws {
        let scene = try await Scene()
        let key = try PrivateKey.generate(.ecdsaP256)
        let first = try await scene.issue(key).first
        #expect(try await scene.issue(key, rotation: "2").first != first)
        #expect(try await scene.issue(key, rotation: "2").first == scene.ca.issued.last)
        #expect(scene.ca.issued.count == 2)
    }

    @Test func anAccountThatTheServerForgotIsMadeAgain() async throws {
        let scene = try await Scene()
        _ = try await scene.issue()
        scene.ca.wipe()
        #expect(try await !scene.issue().isEmpty)
        #expect(scene.ca.accounts.count == 1)
    }

    @Test func aDirectoryThatMovedIsFollowed() async throws {
        let scene = try await Scene()
        scene.ca.next(.directory, times: 1, .reply(.redirect(to: scene.ca.directoryURL)))
        #expect(try await !scene.issue().isEmpty)
    }

    // MARK: Replacement and renewal information (RFC 9773)

    @Test func theOldCertificateIsNamedAndTheWindowIsAskedForByItsIdentifier() async throws {
        let scene = try await Scene { $0.explanationURL = "https://ca.example/why" }
        let old = try #require(try await scene.issue().first)
        let issuer = try scene.scene.issuer(scene.ca)
        let window = try #require(try await issuer.suggestedWindow(for: old.der, now: Date()))
        #expect(window.end > window.start)
        #expect(window.explanationURL == "https://ca.example/why")
        #expect(abs(window.checkAt.timeIntervalSinceNow - 21600) < 60)
        _ = try await scene.issue(replacing: old.der)
        let replaces = scene.ca.requests(.newOrder).last?.payload["replaces"] as? String
        #expect(replaces != nil)
        #expect(replaces == ScriptedCA.certificateID(of: old))
    }

    @Test(arguments: [("alreadyReplaced", 409), ("malformed", 400), ("unauthorized", 403)])
    func aReplacementThatIsRefusedIsOrderedOnceMoreWithout(_ type: String, _ status: Int) async throws {
        let scene = try await Scene()
        let old = try #require(try await scene.issue().first)
        scene.ca.next(.newOrder, times: 1, .reply(.problem(type, status: status)))
        #expect(try await !scene.issue(replacing: old.der).isEmpty)
        #expect(scene.ca.requests(.newOrder).last?.payload["replaces"] == nil)
        #expect(scene.ca.requests(.newOrder).count == 3)
    }

    @Test func aSecondReplacementOfTheSameCertificateWorks() async throws {
        let scene = try await Scene()
        let old = try #require(try await scene.issue().first)
        _ = try await scene.issue(replacing: old.der)
        #expect(try await !scene.issue(replacing: old.der).isEmpty)
    }

    @Test func aWindowThatEndsBeforeItStartsIsNoAnswer() async throws {
        let scene = try await Scene()
        let old = try #require(try await scene.issue().first)
        scene.ca.on(
            .renewalInformation,
            .reply(
                .json([
                    "suggestedWindow": ["start": "2026-02-01T00:00:00Z", "end": "2026-01-01T00:00:00Z"]
                ])))
        #expect(try await scene.scene.issuer(scene.ca).suggestedWindow(for: old.der, now: Date()) == nil)
    }

    @Test(arguments: [("5", 60), ("900", 900), ("604800", 86400)])
    func theTimeOfTheNextQuestionIsKeptWithinBounds(_ wish: String, _ expected: Int) async throws {
        let scene = try await Scene { $0.renewalRetryAfter = wish }
        let old = try #require(try await scene.issue().first)
        let window = try await scene.scene.issuer(scene.ca).suggestedWindow(for: old.der, now: Date())
        #expect(abs((window?.checkAt.timeIntervalSinceNow ?? 0) - Double(expected)) < 30)
    }

    // MARK: Profiles

    @Test func onlyAnAdvertisedProfileIsSent() async throws {
        let scene = try await Scene { $0.profiles = ["short": "six days"] }
        _ = try await scene.issue { $0.profile = .init(name: "short", isRequired: true) }
        #expect(scene.ca.requests(.newOrder).last?.payload["profile"] as? String == "short")
        _ = try await scene.issue { $0.profile = .init(name: "long") }
        #expect(scene.ca.requests(.newOrder).last?.payload["profile"] == nil)
        let error = try await scene.refusal { $0.profile = .init(name: "long", isRequired: true) }
        #expect(error.code == .issuerRefused)
        #expect(error.hint?.contains("short") == true)
    }

    @Test func aPreferredChainByNameAndByFingerprint() async throws {
        let scene = try await Scene(alternateRoots: 2)
        let chain = try await scene.issue { $0.preferredChain = .rootName("Alternate Root 2") }
        #expect(chain.last?.record.issuerCommonName == "Alternate Root 2")
        let wanted = try #require(chain.last?.fingerprint)
        let again = try await scene.issue { $0.preferredChain = .fingerprint(wanted) }
        #expect(again.last?.fingerprint == wanted)
        // One that is not offered is no reason to stay without a certificate.
        #expect(try await !scene.issue { $0.preferredChain = .rootName("Nobody") }.isEmpty)
    }

    // MARK: What has to fail, and how

    static let problems: [(String, Int, CertsError.Code)] = [
        ("badCSR", 400, .issuerRefused), ("rejectedIdentifier", 400, .issuerRefused), ("caa", 403, .issuerRefused),
        ("unsupportedIdentifier", 400, .issuerRefused), ("invalidProfile", 400, .issuerRefused),
        ("externalAccountRequired", 403, .issuerRefused), ("agreementRequired", 403, .termsNotAccepted),
        ("dns", 400, .challengeFailed), ("connection", 400, .challengeFailed), ("tls", 400, .challengeFailed),
        ("incorrectResponse", 400, .challengeFailed), ("rateLimited", 429, .issuerLimited),
        ("serverInternal", 500, .issuerUnavailable), ("somethingNew", 400, .issuerUnavailable),
    ]

    @Test(arguments: problems.indices)
    func eachKindOfProblemHasItsCode(_ index: Int) async throws {
        let (type, status, code) = Self.problems[index]
        let scene = try await Scene()
        scene.ca.on(.newOrder, .reply(.problem(type, "because \u{1b}[31mof this\u{0}", status: status)))
        let error = try await scene.refusal()
        #expect(error.code == code)
        #expect(error.message.contains("because"))
        #expect((error.retry == .never) == (code == .issuerRefused || code == .termsNotAccepted))
    }

    @Test func theNamesOfSubproblemsAreTold() async throws {
        let scene = try await Scene()
        let subproblems: [[String: any Sendable]] = [
            [
                "type": "urn:ietf:params:acme:error:rejectedIdentifier", "detail": "not this one",
                "identifier": ["type": "dns", "value": "b.example.com"],
            ]
        ]
        scene.ca.on(
            .newOrder, .reply(.problem("rejectedIdentifier", more: ["subproblems": subproblems])))
        let error = try await scene.refusal()
        #expect(error.message.contains("b.example.com: not this one"))
    }

    @Test(arguments: [true, false])
    func aLimitNamesTheTimeInBothForms(_ asDate: Bool) async throws {
        let scene = try await Scene()
        let until = Date(timeIntervalSinceNow: 3600)
        let reply = ScriptedCA.Reply.problem("rateLimited", status: 429)
        scene.ca.on(.newOrder, .reply(asDate ? reply.retryAfter(until) : reply.retryAfter(seconds: 3600)))
        let error = try await scene.refusal()
        guard case .after(let date) = error.retry else {
            Issue.record("no time: \(error.retry)")
            return
        }
        #expect(abs(date.timeIntervalSince(until)) < 30)
        #expect(scene.ca.requests(.newOrder).count == 1)
    }

    @Test func aLimitOfAYearIsTakenAsADay() async throws {
        let scene = try await Scene()
        scene.ca.on(.newOrder, .reply(.problem("rateLimited", status: 429).retryAfter(seconds: 31_536_000)))
        guard case .after(let date) = try await scene.refusal().retry else {
            Issue.record("no time")
            return
        }
        #expect(date.timeIntervalSinceNow < 86401)
    }

    @Test func aShortPauseIsWaitedFor() async throws {
        let scene = try await Scene()
        scene.ca.next(.newOrder, times: 2, .reply(.problem("serverInternal", status: 503).retryAfter(seconds: 1)))
        #expect(try await !scene.issue().isEmpty)
        #expect(scene.ca.requests(.newOrder).count == 3)
    }

    @Test(arguments: [
        ScriptedCA.Resource.directory, .newAccount, .newOrder, .authorization, .challenge, .finalize, .certificate,
    ])
    func aPageOfAProxyIsNoAnswer(_ resource: ScriptedCA.Resource) async throws {
        let scene = try await Scene()
        scene.ca.on(resource, .reply(.page(502)))
        let error = try await scene.refusal()
        #expect(error.retry != .never)
    }

    @Test(arguments: [ScriptedCA.Resource.directory, .newAccount, .newOrder, .authorization, .order, .certificate])
    func aPageWithStatus200IsNoAnswerEither(_ resource: ScriptedCA.Resource) async throws {
        let scene = try await Scene { $0.pollsBeforeIssued = 3 }
        scene.ca.on(resource, .reply(.page(200)))
        _ = try await scene.refusal()
    }

    @Test(arguments: [ScriptedCA.Resource.directory, .newOrder, .certificate])
    func aBodyThatIsTooLongIsDropped(_ resource: ScriptedCA.Resource) async throws {
        let scene = try await Scene()
        scene.ca.on(resource, .reply(.flood(10 << 20)))
        #expect(try await scene.refusal().message.contains("more than"))
    }

    @Test func aChainOfTenMegabytesIsDropped() async throws {
        let scene = try await Scene { $0.certificate = .huge(10 << 20) }
        #expect(try await scene.refusal().message.contains("more than"))
    }

    @Test(arguments: [ScriptedCA.Resource.directory, .newOrder, .certificate])
    func aBodyThatIsCutOffIsAnErrorOfTheConnection(_ resource: ScriptedCA.Resource) async throws {
        let scene = try await Scene()
        scene.ca.on(resource, .change { $0.transport = .truncated(after: 20) })
        #expect(try await scene.refusal().retry == .later)
    }

    @Test(arguments: [ScriptedCA.Resource.newOrder, .newAccount])
    func aPostIsNotSentToWhereARedirectPoints(_ resource: ScriptedCA.Resource) async throws {
        let scene = try await Scene()
        scene.ca.on(resource, .reply(.redirect(to: scene.ca.url("/stolen"), status: 307)))
        _ = try await scene.refusal()
        #expect(!scene.ca.requests.contains { $0.path.hasPrefix("/stolen") })
    }

    @Test(arguments: ["http://127.0.0.1:1/x", "https://ca.example/$(id)\n", "file:///etc/passwd", "https://a b/", ""])
    func aURLThatIsNoneOfHTTPSIsNotFollowed(_ url: String) async throws {
        let scene = try await Scene()
        scene.ca.on(.newOrder, .change { $0.edit { $0["authorizations"] = [url] } })
        #expect(try await scene.refusal().code == .issuerRefused)
    }

    @Test(arguments: ["../../etc/passwd", "$(touch /tmp/x)", "a b", "", "a/b", "tok\u{0}en", "\u{1b}[2J"])
    func aTokenThatIsNotBase64URLIsNotShown(_ token: String) async throws {
        let scene = try await Scene { $0.token = token }
        let error = try await scene.refusal()
        #expect(error.message.contains("token"))
        #expect(scene.ca.requests(.challenge).isEmpty)
    }

    @Test func anOrderForOtherNamesIsNotFollowed() async throws {
        let scene = try await Scene { $0.otherIdentifiers = ["evil.example.org"] }
        #expect(try await scene.refusal().message.contains("other names"))
        #expect(scene.ca.requests(.challenge).isEmpty)
    }

    @Test func aCertificateForAnotherKeyIsNotTakenAndTheNextAttemptMakesANewOrder() async throws {
        let scene = try await Scene { $0.certificate = .otherKey }
        #expect(try await scene.refusal().code == .keyMismatch)
        scene.ca.behaviour.certificate = .honest
        let key = try PrivateKey.generate(.ecdsaP256)
        #expect(try await scene.issue(key).first.map { key.matches($0) } == true)
    }

    @Test(arguments: [
        ScriptedCA.Behaviour.Issued.bytes(Data("-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n".utf8)),
        .bytes(Data()),
    ])
    func whatIsNoCertificateIsNotTaken(_ issued: ScriptedCA.Behaviour.Issued) async throws {
        let scene = try await Scene { $0.certificate = issued }
        #expect(try await scene.refusal().code == .issuerUnavailable)
    }

    @Test func aFailedChallengeIsToldByNameAndTheOthersAreLetGo() async throws {
        let scene = try await Scene { $0.challengeProblem = ("unauthorized", "found \u{1b}[31mnothing") }
        let error = try await scene.refusal(names: [.dns("a.example.com"), .dns("b.example.com")])
        #expect(error.code == .challengeFailed)
        #expect((error.message + error.details.joined()).contains("a.example.com"))
        #expect((error.message + error.details.joined()).contains("found"))
        #expect(!scene.ca.authorizations.contains("pending"))
    }

    @Test func aChallengeThatNobodyConfiguredIsNamed() async throws {
        let scene = try await Scene { $0.challengeTypes = ["new-01"] }
        let error = try await scene.refusal()
        #expect(error.message.contains("new-01") && error.message.contains("http-01"))
    }

    @Test func changedTermsAreForAPersonToRead() async throws {
        let scene = try await Scene()
        _ = try await scene.issue()
        scene.ca.on(
            .newOrder,
            .reply(.userActionRequired(terms: "https://ca.example/terms/2", instance: "https://ca.example/agree")))
        let error = try await scene.refusal()
        #expect(error.code == .termsNotAccepted)
        #expect(error.hint?.contains("https://ca.example/terms/2") == true)
        #expect(error.retry == .never)
        scene.ca.clearScript()
        scene.ca.behaviour.termsOfService = "https://ca.example/terms/2"
        let account = try await scene.scene.issuer(scene.ca).updateAccount(acceptingTerms: true)
        #expect(account.termsOfService?.url == "https://ca.example/terms/2")
    }

    @Test func aSignatureThatDoesNotComeIsWaitedForAcrossRestarts() async throws {
        let scene = try await Scene {
            $0.pollsBeforeIssued = 4
            $0.retryAfter = "3600"
        }
        let key = try PrivateKey.generate(.ecdsaP256)
        let request = try ACMEScene.request(key)
        guard case .pending(_, let retryAt) = try await scene.scene.issuer(scene.ca).issue(request) else {
            Issue.record("it was not pending")
            return
        }
        #expect(abs((retryAt?.timeIntervalSinceNow ?? 0) - 3600) < 60)
        scene.ca.behaviour.retryAfter = nil
        #expect(try await scene.scene.issuer(scene.ca).chain(request).first.map { key.matches($0) } == true)
        #expect(scene.ca.requests(.newOrder).count == 1)
        #expect(scene.ca.requests(.finalize).count == 1)
    }

    @Test func aServerThatIsNotThereIsNamed() async throws {
        let scene = try await Scene()
        scene.ca.stop()
        let error = try await scene.refusal()
        #expect(error.code == .http)
        #expect(error.retry == .later)
    }

    @Test func aServerWithAnotherCertificateIsNotTrusted() async throws {
        let scene = try await Scene()
        let other = try await Scene()
        #expect(try await scene.refusal { $0.caFile = other.ca.caFile }.code == .http)
        #expect(scene.ca.requests.isEmpty)
    }
}
