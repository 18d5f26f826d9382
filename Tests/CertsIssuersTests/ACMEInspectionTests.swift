import CertsCore
import Foundation
import Synchronization
import Testing

@testable import CertsIssuers

/// What `certs check --live` says about an ACME CA, for each thing that can be wrong. The CA and the way to it are told to
/// the inspection; that it looks at real ones is tested where they are.
@Suite("The inspection of an ACME issuer")
struct ACMEInspectionTests {
    private struct Trouble: Error {}

    /// What was asked of a solver, in its order.
    private final class Solver: ChallengeSolver {
        let type: ChallengeType
        let wildcards: Bool
        let failure: CertsError?
        let delay: Duration
        let calls = Mutex<[String]>([])
        let proofs = Mutex<[ChallengeProof]>([])

        init(_ type: ChallengeType, wildcards: Bool = false, failure: CertsError? = nil, delay: Duration = .zero) {
            self.type = type
            self.wildcards = wildcards
            self.failure = failure
            self.delay = delay
        }

        func isMeant(for identifier: AlternativeName, isWildcard: Bool) -> Bool { isWildcard == wildcards }
        func present(_ proof: ChallengeProof) async throws { record("present", proof) }
        func check(_ proof: ChallengeProof) async throws {
            record("check", proof)
            if delay > .zero { try await Task.sleep(for: delay) }
            if let failure, !type.isInDNS { throw failure }
        }
        func remove(_ proof: ChallengeProof) async throws {
            record("remove", proof)
            if let failure, type.isInDNS { throw failure }
        }

        private func record(_ what: String, _ proof: ChallengeProof) {
            calls.withLock { $0.append("\(what) \(proof.identifier.value)") }
            proofs.withLock { $0.append(proof) }
        }
    }

    private static let now = Date(timeIntervalSince1970: 1_800_000_000)
    private static let directory = ACMEDirectoryView(
        url: "https://ca.example.com/directory", termsOfService: "https://ca.example.com/terms",
        caaIdentities: ["ca.example.com"], profiles: ["classic": "as ever"])
    private static let account = ACMEAccountView(
        url: "https://ca.example.com/account/1", status: "valid", contact: [],
        termsOfService: .init(url: "https://ca.example.com/terms", acceptedAt: now), keyThumbprint: "abc",
        directory: "https://ca.example.com/directory")
    private static let http = ChallengeDeclaration(method: .http01(.directory("/srv/acme")))
    private static let dns = ChallengeDeclaration(method: .dns01(.command(["hook"], timeout: 1), Propagation()))

    /// Everything is well; a test changes one thing.
    private static var healthy: ACMEInspection.Sources {
        .init(
            directory: { directory }, clocks: { (now, now) }, account: { account }, caa: { _ in [] },
            authoritativeServers: { _ in }, limits: { [] })
    }

    private static func inspection(
        _ sources: ACMEInspection.Sources = healthy,
        _ solvers: [(Solver, ChallengeDeclaration)] = [(Solver(.http01), http)],
        change: (inout ACMEDeclaration) -> Void = { _ in }
    ) throws -> ACMEInspection {
        var declaration = ACMEDeclaration(
            directory: directory.url, acceptTerms: true, challenges: solvers.map(\.1))
        change(&declaration)
        return ACMEInspection(
            issuer: try Name("ca"), declaration: declaration, solvers: solvers.map(\.0), sources: sources)
    }

    private static func certificates(_ names: [String] = ["www.example.com"]) throws -> [CertificateDeclaration] {
        [CertificateDeclaration(name: try Name("www"), names: names.map { .dns($0) }, issuer: try Name("ca"))]
    }

    private static func findings(_ sources: ACMEInspection.Sources) async throws -> [String] {
        try await inspection(sources).findings(for: certificates()).map { "\($0.severity) \($0.id)" }
    }

    @Test("where all is well nothing is found, and what was shown is taken away")
    func findsNothing() async throws {
        let solver = Solver(.http01)
        let found = try await Self.inspection(Self.healthy, [(solver, Self.http)]).findings(
            for: Self.certificates(["a.example.com", "a.example.com"]))
        #expect(found == [])
        #expect(
            solver.calls.withLock { $0 } == ["present a.example.com", "check a.example.com", "remove a.example.com"],
            "each name is looked at once")
        let proof = try #require(solver.proofs.withLock { $0 }.first)
        #expect(proof.keyAuthorization.hasPrefix("\(proof.token)."))
        #expect(proof.token.count == 32)
    }

    @Test("a directory that is not there ends the questions to the CA, and not those about the path")
    func tellsDirectory() async throws {
        var sources = Self.healthy
        sources.directory = { throw CertsError(.http, "no route", hint: "look at the cable") }
        sources.account = { throw Trouble() }
        let solver = Solver(.http01, failure: CertsError(.challengeFailed, "connection refused", hint: "open port 80"))
        let found = try await Self.inspection(sources, [(solver, Self.http)]).findings(for: Self.certificates())
        #expect(found.map(\.id) == ["directory-unusable", "challenge-path-broken"])
        #expect(found[0].remedy == "look at the cable")
        #expect(found[1].message == "http-01: www.example.com: connection refused")
        #expect(found[1].remedy == "open port 80")
    }

    @Test(
        "clocks that differ are a warning from a minute on, and an error from an hour on",
        arguments: [
            (0.0, ""), (59, ""), (-59, ""), (61, "warning"), (-61, "warning"), (3601, "error"), (-90000, "error"),
        ])
    func tellsClock(ahead: Double, severity: String) async throws {
        var sources = Self.healthy
        sources.clocks = { (Self.now, Self.now.addingTimeInterval(ahead)) }
        #expect(try await Self.findings(sources) == (severity.isEmpty ? [] : ["\(severity) clock-skewed"]))
        sources.clocks = { nil }
        #expect(try await Self.findings(sources) == [], "a CA need not tell its time")
    }

    @Test("no account is no trouble, unless the CA wants to know its own first, or the terms are not agreed to")
    func tellsMissingAccount() async throws {
        var sources = Self.healthy
        sources.account = { nil }
        #expect(try await Self.findings(sources) == ["info account-missing"])
        sources.directory = {
            var directory = Self.directory
            directory.externalAccountRequired = true
            return directory
        }
        let found = try await Self.inspection(sources) { $0.acceptTerms = false }.findings(for: Self.certificates())
        #expect(found.map(\.id) == ["account-missing", "external-account-missing", "terms-not-accepted"])
        let known = try Self.inspection(sources) { $0.externalAccount = .init(keyID: "a", keyFile: "/b") }
        #expect(await known.findings(for: try Self.certificates()).map(\.id) == ["account-missing"])
    }

    @Test("an account that is not valid, that cannot be asked for, or whose terms have changed")
    func tellsAccount() async throws {
        var sources = Self.healthy
        sources.account = {
            var account = Self.account
            account.status = "deactivated"
            return account
        }
        #expect(try await Self.findings(sources) == ["error account-invalid"])
        sources.account = { throw CertsError(.issuerRefused, "unauthorized") }
        #expect(try await Self.findings(sources) == ["error account-unusable"])
        sources.account = {
            var account = Self.account
            account.termsOfService?.url = "https://ca.example.com/terms-of-2019"
            return account
        }
        #expect(try await Self.findings(sources) == ["warning terms-changed"])
        sources.account = {
            var account = Self.account
            account.termsOfService = nil
            return account
        }
        #expect(try await Self.findings(sources) == [], "what was agreed to elsewhere is not known")
    }

    @Test("a profile that is not offered is an error only where it is required")
    func tellsProfile() async throws {
        for (profile, expected) in [
            (ACMEDeclaration.Profile(name: "classic", isRequired: true), [String]()),
            (.init(name: "shortlived"), ["warning profile-not-offered"]),
            (.init(name: "shortlived", isRequired: true), ["error profile-not-offered"]),
        ] {
            let found = try await Self.inspection { $0.profile = profile }.findings(for: Self.certificates())
            #expect(found.map { "\($0.severity) \($0.id)" } == expected)
            #expect(found.allSatisfy { $0.remedy.contains("classic") })
        }
    }

    @Test("CAA is asked with all that it depends on; a refusal is an error, and not to know a warning")
    func tellsCAA() async throws {
        let asked = Mutex<ACMEInspection.CAAQuestion?>(nil)
        var sources = Self.healthy
        sources.caa = { question in
            asked.withLock { $0 = question }
            return [
                .init(
                    name: "a.example.com", recordsAt: "example.com", reason: "only other.example may issue",
                    remedy: "add a record: 0 issue \"ca.example.com\""),
                .init(name: "b.example.com", CertsError(.dnsFailed, "SERVFAIL\u{1b}[2J")),
            ]
        }
        let found = try await Self.inspection(sources).findings(
            for: Self.certificates(["a.example.com", "b.example.com"]))
        #expect(found.map { "\($0.severity) \($0.id)" } == ["error caa-refuses", "warning caa-unknown"])
        #expect(found[0].remedy.contains("0 issue \"ca.example.com\""))
        #expect(!found[1].message.contains("\u{1b}"), "text from outside must not reach the terminal")
        let question = try #require(asked.withLock { $0 })
        #expect(question.names == [.dns("a.example.com"), .dns("b.example.com")])
        #expect(question.issuerDomains == ["ca.example.com"])
        #expect(question.accountURL == Self.account.url)
        #expect(question.methods(.dns("www.example.com")) == [.http01])
        #expect(question.methods(.dns("*.example.com")).isEmpty)
        sources.directory = { ACMEDirectoryView(url: "https://ca.example.com/directory") }
        #expect(try await Self.findings(sources) == [], "a CA without a name cannot be looked for")
    }

    @Test("the first challenge that is meant for a name is looked at, and a broken path hides no other")
    func choosesSolvers() async throws {
        let refused = CertsError(.dnsUpdateRefused, "REFUSED", hint: "correct the key")
        let dns = Solver(.dns01, wildcards: true, failure: refused)
        let http = Solver(.http01)
        let asked = Mutex<[String]>([])
        var sources = Self.healthy
        sources.authoritativeServers = { name in asked.withLock { $0.append(name) } }
        let found = try await Self.inspection(sources, [(dns, Self.dns), (http, Self.http)]).findings(
            for: Self.certificates(["*.example.com", "www.example.com"]))
        #expect(found.map(\.id) == ["challenge-path-broken"])
        #expect(found.first?.message == "dns-01: *.example.com: REFUSED")
        #expect(dns.calls.withLock { $0 } == ["remove example.com"], "the DNS is not written to")
        #expect(dns.proofs.withLock { $0 }.first?.isWildcard == true)
        #expect(http.calls.withLock { $0.count } == 3)
        #expect(asked.withLock { $0 } == ["example.com"])
        let none = try await Self.inspection().findings(for: Self.certificates(["*.example.com"]))
        #expect(none.map(\.id) == ["challenge-missing"])
    }

    @Test("servers that the configuration names are not looked for")
    func trustsDeclaredServers() async throws {
        var sources = Self.healthy
        sources.authoritativeServers = { _ in throw CertsError(.dnsFailed, "no servers") }
        let server = try #require(SocketAddress("192.0.2.53:53"))
        var found: [[String]] = []
        for propagation in [Propagation(), Propagation(servers: [server])] {
            let declared = ChallengeDeclaration(method: .dns01(.command(["hook"], timeout: 1), propagation))
            found.append(
                try await Self.inspection(sources, [(Solver(.dns01), declared)]).findings(for: Self.certificates()).map(
                    \.id))
        }
        #expect(found == [["challenge-path-broken"], []])
    }

    @Test("a failed look takes away what it has shown, and a look that is switched off is told")
    func cleansUp() async throws {
        let solver = Solver(.http01, failure: CertsError(.challengeFailed, "404"))
        _ = try await Self.inspection(Self.healthy, [(solver, Self.http)]).findings(for: Self.certificates())
        #expect(solver.calls.withLock { $0.last } == "remove www.example.com")
        let silent = Solver(.http01)
        var declared = Self.http
        declared.selfCheck.isEnabled = false
        let found = try await Self.inspection(Self.healthy, [(silent, declared)]).findings(for: Self.certificates())
        #expect(found.map { "\($0.severity) \($0.id)" } == ["info path-not-checked"])
        #expect(silent.calls.withLock { $0 } == [])
    }

    @Test("many slow paths end with the budget, and what was left out is told", .timeLimit(.minutes(1)))
    func endsInTime() async throws {
        let solver = Solver(.http01, delay: .milliseconds(150))
        var inspection = try Self.inspection(Self.healthy, [(solver, Self.http)])
        inspection.pathBudget = .milliseconds(100)
        let names = (0..<100).map { "n\($0).example.com" }
        let found = await inspection.findings(for: try Self.certificates(names))
        #expect(found.map(\.id) == ["paths-not-all-checked"])
        #expect(solver.calls.withLock { $0.count { $0.hasPrefix("check") } } < 100)
    }

    @Test("limits are told once they have been used, and a warning when nothing is left")
    func tellsLimits() async throws {
        var sources = Self.healthy
        sources.limits = {
            [
                .init(limit: "newOrders", left: 300, total: 300),
                .init(limit: "perDomain example.com", left: 12, total: 50),
                .init(limit: "perNameSet", left: 0, total: 5),
            ]
        }
        let found = try await Self.inspection(sources).findings(for: Self.certificates())
        #expect(found.map { "\($0.severity) \($0.id)" } == ["info limit-used", "warning limit-reached"])
        #expect(found[0].message == "perDomain example.com: 12 of 50 left, as far as we know")
        sources.limits = { throw CertsError(.stateCorrupt, "limits.json is damaged") }
        #expect(try await Self.findings(sources) == ["error limits-unreadable"])
    }
}
