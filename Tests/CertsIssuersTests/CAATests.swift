import CertsCore
import CertsDNS
import CertsTesting
import Foundation
import Testing

@testable import CertsIssuers

@Suite struct CAAPolicyTests {
    struct Case: Sendable, CustomTestStringConvertible {
        var records: [String]
        var isWildcard = false
        /// Part of the reason; `nil`: allowed.
        var refusal: String?
        var testDescription: String { "\(records)\(isWildcard ? " for a wildcard" : "")" }
    }

    private static func record(_ line: String) -> CAARecord {
        let words = line.split(separator: " ", maxSplits: 2, omittingEmptySubsequences: false).map(String.init)
        return CAARecord(flags: UInt8(words[0]) ?? 0, tag: words[1], value: words[2])
    }

    private static let account = "https://ca.test/acct/1"

    @Test(arguments: [
        Case(records: []),
        Case(records: ["0 iodef mailto:a@b.test"]),
        Case(records: ["0 issue ca.test"]),
        Case(records: ["0 ISSUE  CA.Test "]),
        Case(records: ["0 issue ca.test;"]),
        Case(records: ["0 issue other.test"], refusal: "names another CA than ca.test"),
        Case(records: ["0 issue other.test", "0 issue ca.test"]),
        Case(records: ["0 issue ;"], refusal: "names nobody"),
        Case(records: ["0 issue "], refusal: "names nobody"),
        Case(records: ["0 issue %%%"], refusal: "cannot be read"),
        Case(records: ["0 issue ca.test policy=ev"], refusal: "cannot be read"),
        Case(records: ["0 issue ca.test; policy"], refusal: "cannot be read"),
        Case(records: ["0 issue -ca.test"], refusal: "cannot be read"),
        // The wildcard's own property counts alone, and for wildcards only.
        Case(records: ["0 issue ca.test", "0 issuewild ;"], isWildcard: true, refusal: "issuewild"),
        Case(records: ["0 issue ca.test", "0 issuewild ;"]),
        Case(records: ["0 issue ;", "0 issuewild ca.test"], isWildcard: true),
        Case(records: ["0 issue ;", "0 issuewild ca.test"], refusal: "names nobody"),
        Case(records: ["0 issue other.test"], isWildcard: true, refusal: "another CA"),
        Case(records: ["0 issuewild ;"]),
        // Critical properties.
        Case(records: ["0 issue ca.test", "128 tbs x"], refusal: "critical property 'tbs'"),
        Case(records: ["0 issue ca.test", "0 tbs x"]),
        Case(records: ["128 issue ca.test"]),
        // RFC 8657.
        Case(records: ["0 issue ca.test; accounturi=https://ca.test/acct/1"]),
        Case(records: ["0 issue ca.test; AccountURI = https://ca.test/acct/1"]),
        Case(records: ["0 issue ca.test; accounturi=https://ca.test/acct/2"], refusal: "another account"),
        Case(
            records: ["0 issue ca.test; accounturi=https://ca.test/acct/1; accounturi=https://ca.test/acct/1"],
            refusal: "several accounts"),
        Case(records: ["0 issue ca.test; validationmethods=http-01,dns-01"]),
        Case(records: ["0 issue ca.test; validationmethods=tls-alpn-01"], refusal: "none of the challenges"),
        Case(records: ["0 issue ca.test; validationmethods="], refusal: "none of the challenges"),
        Case(
            records: ["0 issue ca.test; validationmethods=dns-01; validationmethods=dns-01"], refusal: "several lists"),
        Case(records: ["0 issue ca.test; accounturi=https://ca.test/acct/1; validationmethods=dns-01"]),
    ])
    func aVerdictIsThatOfTheCA(_ example: Case) {
        let verdict = CAAPolicy.verdict(
            example.records.map(Self.record), domain: "example.test", isWildcard: example.isWildcard,
            issuerDomains: ["ca.test"], accountURL: Self.account, methods: [.dns01])
        switch (verdict, example.refusal) {
        case (.allowed, nil): break
        case (.refused(let reason), let expected?): #expect(reason.contains(expected))
        default: Issue.record("\(example.testDescription): \(verdict)")
        }
    }

    @Test func whatIsNotKnownIsNotCompared() {
        func verdict(_ value: String) -> CAAPolicy.Verdict {
            CAAPolicy.verdict(
                [CAARecord(tag: "issue", value: value)], domain: "a.test", isWildcard: false, issuerDomains: [],
                accountURL: nil, methods: [.http01])
        }
        #expect(verdict("any.test; accounturi=https://any.test/1") == .allowed)
        #expect(verdict(";") != .allowed)
    }

    @Test func aValueFromOutsideCannotMoveTheCursor() {
        let verdict = CAAPolicy.verdict(
            [CAARecord(tag: "issue", value: "\u{1b}[2Jca.test")], domain: "a.test", isWildcard: false,
            issuerDomains: ["ca.test"], accountURL: nil, methods: [])
        guard case .refused(let reason) = verdict else {
            Issue.record("allowed")
            return
        }
        #expect(!reason.contains("\u{1b}"))
    }
}

@Suite("CAA records on a real BIND", .timeLimit(.minutes(2)))
struct CAACheckTests {
    @Test func everyNameThatWouldBeRefusedIsTold() async throws {
        let directory = try TemporaryDirectory()
        let server = try await RealBIND.start(
            in: directory,
            zones: [
                .init(
                    "good.test",
                    records:
                        "ns1 A 127.0.0.1\n@ CAA 0 issue \"ca.test; validationmethods=dns-01\"\n@ CAA 0 issuewild \";\""),
                .init("free.test"), .init("broken.test", .broken),
            ])
        let check = CAACheck(resolver: try Resolver(server: server.address, timeout: .seconds(2)))
        let address = try #require(IPAddress("127.0.0.1"))
        let names: [AlternativeName] = [
            .dns("a.b.good.test"), .dns("*.good.test"), .dns("free.test"), .dns("www.broken.test"), .ip(address),
        ]
        let found = await check.findings(
            for: names, issuerDomains: ["ca.test"], accountURL: "https://ca.test/1", methods: { _ in [.dns01] })
        #expect(found.map(\.name) == ["*.good.test", "www.broken.test"])
        #expect(found.map(\.isPassing) == [false, true])
        #expect(found[0].recordsAt == "good.test" && found[0].remedy.contains("CAA 0 issuewild \"ca.test\""))
        #expect(found.map(\.finding.severity) == [.error, .warning])
        #expect(found[1].message.contains("SERVFAIL"))
        let error = try #require(CAARefusal.error(found, issuer: "le"))
        #expect(error.code == .issuerRefused && error.retry == .never && error.details.count == 2)
        #expect(CAARefusal.error(Array(found.suffix(1)), issuer: "le")?.retry == .later)

        let http = await check.findings(
            for: [.dns("good.test")], issuerDomains: ["ca.test"], accountURL: nil, methods: { _ in [.http01] })
        #expect(http.first?.reason.contains("none of the challenges that are configured (http-01)") == true)
    }
}
