import Testing

@testable import CertsCore

@Suite struct ChallengeScopeTests {
    struct Case: Sendable, CustomStringConvertible {
        var type = ChallengeType.dns01
        var names: [String]
        var identifier: String
        var isWildcard = false
        var expected: Bool

        var description: String { "\(type.rawValue) \(names) \(isWildcard ? "*." : "")\(identifier)" }
    }

    @Test(arguments: [
        Case(names: [], identifier: "www.example.com", expected: true),
        Case(names: [], identifier: "example.com", isWildcard: true, expected: true),
        Case(names: [], identifier: "192.0.2.1", expected: false),
        Case(names: ["example.com"], identifier: "example.com", expected: true),
        Case(names: ["Example.COM"], identifier: "a.b.example.com", expected: true),
        Case(names: ["example.com"], identifier: "EXAMPLE.com", isWildcard: true, expected: true),
        Case(names: ["example.com"], identifier: "badexample.com", expected: false),
        Case(names: ["example.com"], identifier: "com", expected: false),
        Case(names: ["*.example.com"], identifier: "example.com", isWildcard: true, expected: true),
        Case(names: ["*.example.com"], identifier: "sub.example.com", isWildcard: true, expected: true),
        Case(names: ["*.example.com"], identifier: "www.example.com", expected: false),
        Case(names: ["a.test", "example.com"], identifier: "www.example.com", expected: true),
        Case(type: .http01, names: [], identifier: "www.example.com", expected: true),
        Case(type: .http01, names: [], identifier: "example.com", isWildcard: true, expected: false),
        Case(type: .http01, names: [], identifier: "192.0.2.1", expected: true),
        Case(type: .http01, names: ["2001:db8::1"], identifier: "2001:0db8:0::1", expected: true),
        Case(type: .http01, names: ["example.com"], identifier: "192.0.2.1", expected: false),
        Case(type: .tlsALPN01, names: ["*.example.com"], identifier: "example.com", isWildcard: true, expected: false),
        Case(type: .tlsALPN01, names: ["192.0.2.1"], identifier: "192.0.2.1", expected: true),
        Case(type: .dnsPersist01, names: [], identifier: "192.0.2.1", expected: false),
    ])
    func isForWhatItsNamesSay(_ example: Case) {
        let identifier = IPAddress(example.identifier).map(AlternativeName.ip) ?? .dns(example.identifier)
        let scope = ChallengeScope(example.type, names: example.names)
        #expect(scope.includes(identifier, isWildcard: example.isWildcard) == example.expected)
    }

    @Test func aNameOfACertificateSaysItselfWhetherItIsAWildcard() {
        let scope = ChallengeScope(.dns01, names: ["*.example.com"])
        #expect(scope.includes(.dns("*.example.com")))
        #expect(!scope.includes(.dns("www.example.com")))
        #expect(!ChallengeScope(.http01, names: []).includes(.dns("*.example.com")))
    }

    @Test func noMailboxIsProved() {
        #expect(!ChallengeScope(.http01, names: []).includes(.email("a@example.com"), isWildcard: false))
    }
}
