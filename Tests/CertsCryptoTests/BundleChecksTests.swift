import CertsCore
import CertsCrypto
import Foundation
import Testing

@Suite struct BundleChecksTests {
    let fixture: OpenSSLFixture
    let pki: OpenSSLFixture.Chain
    private let names: [AlternativeName] = [.dns("www.example.com")]

    init() throws {
        fixture = try OpenSSLFixture()
        pki = try fixture.chain()
    }

    private func check(
        _ chain: [OpenSSLFixture.Made], spki: Data? = nil, names: [AlternativeName]? = nil,
        anchors: [OpenSSLFixture.Made]? = nil,
        algorithm: KeyAlgorithm? = .ecdsaP256, now: Date = Date()
    ) -> [Finding] {
        defer { fixture.remove() }
        return BundleChecks.findings(
            chain: chain.map(\.certificate), keySPKI: spki ?? chain.first?.certificate.publicKeyDER,
            names: names ?? self.names,
            anchors: (anchors ?? [pki.root]).map(\.certificate), keyAlgorithm: algorithm, now: now)
    }

    private func ids(_ findings: [Finding]) -> Set<String> { Set(findings.map(\.id)) }

    private func isBlocked(_ findings: [Finding]) -> Bool { findings.contains { $0.isBlocking } }

    @Test func findsNothingInASoundBundle() {
        #expect(check([pki.leaf, pki.intermediate]).isEmpty)
    }

    @Test func refusesAnotherKeyOrAnotherTypeOfKey() {
        let other = check([pki.leaf, pki.intermediate], spki: pki.root.certificate.publicKeyDER)
        #expect(ids(other) == ["key-mismatch"] && isBlocked(other))
        #expect(ids(check([pki.leaf, pki.intermediate], algorithm: .rsa2048)) == ["key-algorithm-mismatch"])
    }

    @Test func comparesTheNamesWithTheDeclaredOnes() {
        let missing = check([pki.leaf, pki.intermediate], names: [.dns("www.example.com"), .dns("api.example.com")])
        #expect(ids(missing) == ["names-missing"])
        #expect(missing.first?.message.contains("api.example.com") == true)
        let extra = check([pki.leaf, pki.intermediate], names: [.dns("other.example.com")])
        #expect(ids(extra) == ["names-missing", "names-extra"])
        #expect(extra.first { $0.id == "names-extra" }?.severity == .warning)
    }

    @Test func countsAWildcardAsCoverForAHostButNotForAWildcard() throws {
        let wild = try fixture.make(
            "wild", issuer: pki.intermediate, extensions: OpenSSLFixture.server("DNS:*.example.com"))
        #expect(!isBlocked(check([wild, pki.intermediate])))
        #expect(ids(check([wild, pki.intermediate], names: [.dns("*.www.example.com")])).contains("names-missing"))
    }

    @Test func judgesTheTimes() {
        let leaf = pki.leaf.certificate.record
        #expect(ids(check([pki.leaf, pki.intermediate], now: leaf.notAfter + 1)).contains("expired"))
        #expect(ids(check([pki.leaf, pki.intermediate], now: leaf.notBefore - 10)).contains("not-yet-valid"))
        let late = check([pki.leaf, pki.intermediate], now: leaf.notAfter - 3_600)
        #expect(ids(late) == ["validity-too-short"] && !isBlocked(late))
        #expect(
            ids(check([pki.leaf, pki.intermediate], now: pki.intermediate.certificate.record.notAfter + 1)).contains(
                "expired-chain"))
    }

    @Test func refusesALeafThatOutlivesItsIssuer() throws {
        let long = try fixture.make(
            "www.example.com-long", subject: "/CN=www.example.com", issuer: pki.intermediate, days: 250,
            extensions: OpenSSLFixture.server("DNS:www.example.com"))
        #expect(ids(check([long, pki.intermediate])) == ["issuer-outlived"])
    }

    @Test func judgesOrderAndCompletenessOfTheChain() throws {
        let lower = try fixture.make("Lower", issuer: pki.intermediate, days: 100, extensions: OpenSSLFixture.authority)
        let leaf = try fixture.make(
            "low", subject: "/CN=www.example.com", issuer: lower,
            extensions: OpenSSLFixture.server("DNS:www.example.com"))
        let stray = try fixture.make("Stray", days: 100, extensions: OpenSSLFixture.authority)
        #expect(check([leaf, lower, pki.intermediate]).isEmpty)
        #expect(ids(check([leaf, pki.intermediate, lower])) == ["chain-order"])
        #expect(ids(check([leaf, lower])) == ["chain-incomplete"])
        #expect(ids(check([leaf, lower, pki.intermediate, stray])).isSuperset(of: ["chain-unrelated"]))
        let twice = check([leaf, lower, lower, pki.intermediate])
        #expect(ids(twice) == ["duplicate-in-chain"] && !isBlocked(twice))
        let withRoot = check([leaf, lower, pki.intermediate, pki.root])
        #expect(ids(withRoot) == ["root-in-bundle"] && !isBlocked(withRoot))
        #expect(
            ids(check([leaf, lower, pki.intermediate, pki.root], anchors: [stray])) == ["root-in-bundle", "untrusted"])
        #expect(ids(check([])) == ["bundle-empty"])
        #expect(ids(check(Array(repeating: leaf, count: 17))) == ["chain-too-long"])
    }

    @Test func refusesAnAuthorityOrAClientCertificateAsLeaf() throws {
        #expect(
            ids(check([pki.intermediate], names: [])).isSuperset(of: [
                "leaf-is-ca", "missing-server-auth", "san-missing",
            ]))
    }

    @Test func refusesWeakKeysAndSignatures() throws {
        let weak = try fixture.make(
            "weak", subject: "/CN=www.example.com", issuer: pki.intermediate, key: ["RSA", "rsa_keygen_bits:1024"],
            digest: "-sha1",
            extensions: OpenSSLFixture.server("DNS:www.example.com"))
        #expect(ids(check([weak, pki.intermediate], algorithm: nil)) == ["weak-key", "weak-signature"])
    }

    @Test func acceptsASelfSignedLeafThatIsItsOwnAnchor() throws {
        let own = try fixture.make(
            "self", subject: "/CN=www.example.com", key: ["ED25519"],
            extensions: OpenSSLFixture.server("DNS:www.example.com"))
        #expect(check([own], anchors: [own], algorithm: .ed25519).isEmpty)
        #expect(ids(check([own], algorithm: .ed25519)) == ["untrusted"])
    }

    @Test func warnsOfFormalFaultsOfAPrivateAuthorityWithoutBlocking() throws {
        let plain = OpenSSLFixture.server("DNS:www.example.com").map {
            $0.hasPrefix("authority") ? "authorityKeyIdentifier=none" : $0
        }
        let leaf = try fixture.make("plain", subject: "/CN=www.example.com", issuer: pki.root, extensions: plain)
        let findings = check([leaf])
        #expect(ids(findings) == ["authority-key-id"])
        #expect(!isBlocked(findings))
    }
}
