import CertsCore
import Testing

@testable import CertsIssuers

@Suite struct ChallengeTokenTests {
    @Test(arguments: ["a", "AZaz09-_", String(repeating: "x", count: 200)]) func aTokenIsBase64URL(_ token: String) {
        #expect(ChallengeToken.isValid(token))
        #expect(ChallengeToken.requested(by: "/.well-known/acme-challenge/\(token)") == token)
    }

    @Test(arguments: [
        "", "../x", "a/b", "a.b", "a=", "a b", "a\nb", "$(id)", "`id`", ";id", "%2e%2e", "ä", "a\0",
        String(repeating: "x", count: 201),
    ])
    func anythingElseIsNone(_ token: String) {
        #expect(throws: CertsError(.issuerRefused, "")) { try ChallengeToken.validated(token) }
        #expect(ChallengeToken.requested(by: "/.well-known/acme-challenge/\(token)") == nil)
    }
}
