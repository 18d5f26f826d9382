import CertsCore
import CertsCrypto
import CertsStore
import CertsTesting
import Foundation
import Testing

@testable import CertsIssuers

/// The protocol against Pebble, which takes every answer here: challenges have suites of their own.
@Suite struct PebbleTests {
    @Test func aCertificateForOurKeyAndOurNames() async throws {
        let scene = try await ACMEScene()
        try await scene.withPebble { pebble in
            let key = try PrivateKey.generate(.ecdsaP256)
            let names: [AlternativeName] = [
                .dns("messenger.example.com"), .dns("*.example.com"), .dns("b.example.com"),
            ]
            let chain = try await scene.issuer(pebble, solvers: [IdleSolver(type: .dns01)]).chain(
                ACMEScene.request(key, names))
            let anchors = try CertificateReader.certificates(in: try await pebble.root())
            let findings = BundleChecks.findings(
                chain: chain, keySPKI: key.publicKeyDER, names: names, anchors: anchors, keyAlgorithm: .ecdsaP256,
                now: Date())
            #expect(findings.filter(\.isBlocking).isEmpty, "\(findings)")
            #expect(chain.count == 2)
        }
    }

    @Test(arguments: [50, 90])
    func noncesThatAreRefusedAreNoFailures(_ percent: Int) async throws {
        let scene = try await ACMEScene()
        try await scene.withPebble(.init(nonceRejections: percent, isAlwaysValid: true)) { pebble in
            let chain = try await scene.issuer(pebble).chain(ACMEScene.request(.generate(.ecdsaP256)))
            #expect(!chain.isEmpty)
        }
    }

    @Test func theAccountIsFoundAgainByItsKey() async throws {
        let scene = try await ACMEScene()
        try await scene.withPebble { pebble in
            let first = try await scene.issuer(pebble).accounts.account()
            let stem = AccountKeeper.stem(directory: pebble.directoryURL)
            try await scene.state.remove("\(stem).json", of: Name("ca"), in: .accounts)
            let again = try await scene.issuer(pebble).accounts.account()
            #expect(again.url == first.url)
            #expect(again.key.thumbprint == first.key.thumbprint)
        }
    }

    @Test func theAccountKeyIsForItsOwnerAlone() async throws {
        let scene = try await ACMEScene()
        try await scene.withPebble { pebble in
            _ = try await scene.issuer(pebble).accounts.account()
            let stem = AccountKeeper.stem(directory: pebble.directoryURL)
            let path = "\(scene.directory.path)/state/accounts/ca/\(stem).key.pem"
            var status = stat()
            #expect(stat(path, &status) == 0)
            #expect(status.st_mode & 0o777 == 0o600)
        }
    }

    @Test func withoutTheTermsThereIsNoAccount() async throws {
        let scene = try await ACMEScene()
        try await scene.withPebble { pebble in
            let issuer = try scene.issuer(pebble) { $0.acceptTerms = false }
            let error = await #expect(throws: CertsError.self) {
                try await issuer.issue(ACMEScene.request(.generate(.ecdsaP256)))
            }
            #expect(error?.code == .termsNotAccepted)
            #expect(try await scene.issuer(pebble).accounts.existing() == nil)
        }
    }

    @Test(arguments: [KeyAlgorithm.ecdsaP256, .rsa2048])
    func accountKeysOfBothKinds(_ algorithm: KeyAlgorithm) async throws {
        let scene = try await ACMEScene()
        try await scene.withPebble { pebble in
            let issuer = try scene.issuer(pebble) { $0.accountKey = algorithm }
            #expect(try await !issuer.chain(ACMEScene.request(.generate(.ecdsaP256))).isEmpty)
        }
    }

    @Test func anExternalAccountIsBound() async throws {
        let scene = try await ACMEScene()
        let mac = Base64URL.encode(Data((0..<32).map { UInt8($0) }))
        let file = try scene.directory.write(Data("\(mac)\n".utf8), to: "eab.key")
        chmod(file, 0o600)
        let options = Pebble.Options(
            externalAccounts: ["kid-1": mac], requiresExternalAccount: true, isAlwaysValid: true)
        try await scene.withPebble(options) { pebble in
            let error = await #expect(throws: CertsError.self) { try await scene.issuer(pebble).accounts.account() }
            #expect(error?.hint?.contains("externalAccount") == true)
            let bound = try scene.issuer(pebble) { $0.externalAccount = .init(keyID: "kid-1", keyFile: file) }
            #expect(try await !bound.chain(ACMEScene.request(.generate(.ecdsaP256))).isEmpty)
        }
    }

    @Test func aNewAccountKeyTakesThePlaceOfTheOld() async throws {
        let scene = try await ACMEScene()
        try await scene.withPebble { pebble in
            let issuer = try scene.issuer(pebble)
            let before = try await issuer.accounts.account()
            let after = try await issuer.accounts.rollOver()
            #expect(after.url == before.url)
            #expect(after.key.thumbprint != before.key.thumbprint)
            #expect(try await !scene.issuer(pebble).chain(ACMEScene.request(.generate(.ecdsaP256))).isEmpty)
            // The CA knows the old key no longer.
            #expect(try await issuer.session.findAccount(key: before.key) == nil)
        }
    }

    @Test(arguments: [true, false])
    func aRolloverWhoseAnswerWasLostIsFinished(_ wasCarriedOut: Bool) async throws {
        let scene = try await ACMEScene()
        try await scene.withPebble { pebble in
            let issuer = try scene.issuer(pebble)
            let before = try await issuer.accounts.account()
            let next = try WebKey(PrivateKey.generate(.ecdsaP256))
            let stem = AccountKeeper.stem(directory: pebble.directoryURL)
            // As a process leaves it that dies before, or right after, the CA has carried the change out.
            try await scene.state.write(next.key.pem(), to: "\(stem).next.key.pem", of: Name("ca"), in: .accounts)
            if wasCarriedOut {
                let url = try #require(try await issuer.session.directory().keyChange)
                let inner = try KeyChange.inner(account: before.url, from: before.key, to: next, url: url)
                _ = try await issuer.session.post(url, inner, as: before.signer)
            }
            let after = try await scene.issuer(pebble).accounts.account()
            #expect(after.url == before.url)
            #expect(after.key.thumbprint == (wasCarriedOut ? next : before.key).thumbprint)
            #expect(try await !scene.issuer(pebble).chain(ACMEScene.request(.generate(.ecdsaP256))).isEmpty)
        }
    }

    @Test func aDeactivatedAccountIsGoneAndTheNextUseMakesAnother() async throws {
        let scene = try await ACMEScene()
        try await scene.withPebble { pebble in
            let issuer = try scene.issuer(pebble)
            let before = try await issuer.accounts.account()
            try await issuer.accounts.deactivate()
            let after = try await scene.issuer(pebble).accounts.account()
            #expect(after.url != before.url)
        }
    }

    @Test func thePreferredChainIsTaken() async throws {
        let scene = try await ACMEScene()
        try await scene.withPebble(.init(alternateRoots: 2, chainLength: 2, isAlwaysValid: true)) { pebble in
            let other = try #require(CertificateReader.certificates(in: try await pebble.root(2)).first)
            let name = try #require(other.record.subjectCommonName)
            let issuer = try scene.issuer(pebble) { $0.preferredChain = .rootName(name) }
            let chain = try await issuer.chain(ACMEScene.request(.generate(.ecdsaP256)))
            #expect(chain.count == 3)
            #expect(chain.last?.record.issuerCommonName == name)
            let plain = try await scene.issuer(pebble).chain(ACMEScene.request(.generate(.ecdsaP256)))
            #expect(plain.last?.record.issuerCommonName != name)
        }
    }

    @Test func aLifetimeThatIsAskedForIsGiven() async throws {
        let scene = try await ACMEScene()
        try await scene.withPebble { pebble in
            let issuer = try scene.issuer(pebble) { $0.validity = 7 * 86400 }
            let leaf = try #require(try await issuer.chain(ACMEScene.request(.generate(.ecdsaP256))).first)
            #expect(abs(leaf.record.notAfter.timeIntervalSinceNow - 7 * 86400) < 120)
        }
    }

    @Test func addressesAreCertified() async throws {
        let scene = try await ACMEScene()
        try await scene.withPebble { pebble in
            let names: [AlternativeName] = [.ip(try #require(IPAddress("127.0.0.1"))), .dns("messenger.example.com")]
            let chain = try await scene.issuer(pebble).chain(ACMEScene.request(.generate(.ecdsaP256), names))
            #expect(chain.first?.record.ipAddresses == ["127.0.0.1"])
        }
    }

    @Test func aHundredNamesAndNotOneMore() async throws {
        let scene = try await ACMEScene()
        try await scene.withPebble { pebble in
            let names = (1...100).map { AlternativeName.dns("n\($0).example.com") }
            let chain = try await scene.issuer(pebble).chain(ACMEScene.request(.generate(.ecdsaP256), names))
            #expect(chain.first?.record.dnsNames.count == 100)
            let error = await #expect(throws: CertsError.self) {
                try await scene.issuer(pebble).issue(
                    ACMEScene.request(.generate(.ecdsaP256), names + [.dns("one-more.example.com")]))
            }
            #expect(error?.code == .nameInvalid)
        }
    }

    @Test func aNameOnTheBlocklistIsRefusedForGood() async throws {
        let scene = try await ACMEScene()
        try await scene.withPebble(.init(blockedDomains: ["blocked.example"], isAlwaysValid: true)) { pebble in
            let error = await #expect(throws: CertsError.self) {
                try await scene.issuer(pebble).issue(
                    ACMEScene.request(.generate(.ecdsaP256), [.dns("a.blocked.example")]))
            }
            #expect(error?.code == .issuerRefused)
            #expect(error?.retry == .never)
            #expect(error?.message.contains("rejectedIdentifier") == true)
        }
    }

    @Test(arguments: [KeyAlgorithm.ecdsaP256, .ecdsaP384, .rsa2048])
    func revokedByItsKeyAndRevokedAgainByTheAccount(_ algorithm: KeyAlgorithm) async throws {
        let scene = try await ACMEScene()
        try await scene.withPebble { pebble in
            let issuer = try scene.issuer(pebble)
            let key = try PrivateKey.generate(algorithm)
            let leaf = try #require(try await issuer.chain(ACMEScene.request(key)).first)
            for proof in [try key.pem(), nil] {
                try await issuer.revoke(
                    RevocationTarget(record: leaf.record, der: leaf.der, key: proof), reason: .keyCompromise,
                    now: Date())
            }
            let status = try await pebble.status(serial: leaf.record.serial)
            #expect(status.status == "Revoked")
            #expect(status.reason == 1)
        }
    }
}
