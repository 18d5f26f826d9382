import CertsCore
import CertsCrypto
import CertsStore
import CertsTesting
import Foundation
import Testing

@testable import CertsIssuers

/// A service that runs for months, while a person changes its account by the command line; and changes whose answers are lost.
@Suite struct OtherProcessTests {
    @Test func aServiceGoesOnWithTheKeyThatAnotherProcessPutInPlace() async throws {
        let scene = try await ACMEScene()
        try await scene.withPebble { pebble in
            let service = try scene.issuer(pebble)
            #expect(try await !service.chain(ACMEScene.request(.generate(.ecdsaP256))).isEmpty)
            _ = try await scene.issuer(pebble).rollOverKey()
            #expect(try await !service.chain(ACMEScene.request(.generate(.ecdsaP256), rotation: "2")).isEmpty)
            // And changes it itself, with the key as it is on disk now.
            _ = try await scene.issuer(pebble).rollOverKey()
            let url = try await service.accounts.account().url
            #expect(try await service.rollOverKey().url == url)
            #expect(try await !scene.issuer(pebble).chain(ACMEScene.request(.generate(.ecdsaP256))).isEmpty)
        }
    }

    @Test func aServiceGoesOnWithTheAccountThatAnotherProcessMade() async throws {
        let scene = try await ACMEScene()
        try await scene.withPebble { pebble in
            let service = try scene.issuer(pebble)
            let before = try await service.accounts.account()
            try await scene.issuer(pebble).deactivateAccount()
            let other = try await scene.issuer(pebble).createAccount()
            #expect(try await !service.chain(ACMEScene.request(.generate(.ecdsaP256))).isEmpty)
            #expect(try await service.accounts.account().url == other.url)
            #expect(other.url != before.url)
        }
    }

    @Test func aRefusalThatIsNotAboutTheAccountStands() async throws {
        let scene = try await ACMEScene()
        let ca = try ScriptedCA(in: scene.directory)
        defer { ca.stop() }
        ca.on(.newOrder, .reply(.problem("unauthorized", "not for you", status: 403)))
        let error = await #expect(throws: CertsError.self) {
            try await scene.issuer(ca).chain(ACMEScene.request(.generate(.ecdsaP256)))
        }
        #expect(error?.message.contains("not for you") == true)
        #expect(ca.requests(.newOrder).count == 1)
    }

    enum Loss: CaseIterable {
        case lost, gateway, limit
    }

    /// The CA has the new key already, whatever it said, or nobody heard what it said.
    @Test(arguments: Loss.allCases)
    func aRolloverThatWasCarriedOutIsNotTakenBack(_ loss: Loss) async throws {
        let scene = try await ACMEScene()
        let ca = try ScriptedCA(in: scene.directory)
        defer { ca.stop() }
        let issuer = try scene.issuer(ca)
        let before = try await issuer.accounts.account()
        let act: ScriptedCA.Act =
            switch loss {
            case .lost: .loseReply
            case .gateway: .change { $0 = .page(502) }
            case .limit: .change { $0 = .problem("rateLimited", status: 429).retryAfter(seconds: 600) }
            }
        ca.next(.keyChange, act)
        await #expect(throws: (any Error).self) { try await issuer.accounts.rollOver() }
        // Once more, at once: the key that the CA knows is not overwritten.
        let again = try await issuer.accounts.rollOver()
        #expect(again.url == before.url)
        let found = try await scene.issuer(ca).session.findAccount(key: again.key)
        #expect(found?.url == before.url)
        #expect(try await issuer.session.findAccount(key: before.key) == nil)
        #expect(try await scene.issuer(ca).accounts.account().isSame(as: again))
    }

    /// The CA takes no key of that kind, and says so of the question whose account it is, too.
    @Test func aKeyThatTheCADoesNotTakeIsNotKept() async throws {
        let scene = try await ACMEScene()
        let ca = try ScriptedCA(in: scene.directory)
        defer { ca.stop() }
        let issuer = try scene.issuer(ca)
        let before = try await issuer.accounts.account()
        ca.next(.keyChange, .reply(.problem("badPublicKey", "not this curve", status: 400)))
        ca.next(.newAccount, .reply(.problem("badPublicKey", "not this curve", status: 400)))
        await #expect(throws: ACMEFailure.self) { try await issuer.accounts.rollOver() }
        #expect(try await scene.issuer(ca).accounts.account().isSame(as: before))
        #expect(try await !scene.issuer(ca).chain(ACMEScene.request(.generate(.ecdsaP256))).isEmpty)
    }

    @Test func aDeactivationWhoseAnswerWasLostIsFinished() async throws {
        let scene = try await ACMEScene()
        let ca = try ScriptedCA(in: scene.directory)
        defer { ca.stop() }
        let before = try await scene.issuer(ca).accounts.account()
        ca.next(.account, .loseReply)
        ca.on(.account, calls: 2...2, .reply(.problem("unauthorized", "the account is deactivated", status: 403)))
        try await scene.issuer(ca).deactivateAccount()
        #expect(try await scene.issuer(ca).accounts.existing() == nil)
        #expect(try await scene.issuer(ca).accounts.account().url != before.url)
    }

    @Test func aRolloverThatIsRefusedLeavesTheKey() async throws {
        let scene = try await ACMEScene()
        let ca = try ScriptedCA(in: scene.directory)
        defer { ca.stop() }
        let before = try await scene.issuer(ca).accounts.account()
        ca.next(.keyChange, .reply(.problem("unauthorized", status: 403)))
        await #expect(throws: ACMEFailure.self) { try await scene.issuer(ca).accounts.rollOver() }
        #expect(try await scene.issuer(ca).accounts.account().isSame(as: before))
        let stem = AccountKeeper.stem(directory: ca.directoryURL)
        #expect(
            try await scene.state.read("\(stem).next.key.pem", of: Name("ca"), in: .accounts) == nil)
    }
}
