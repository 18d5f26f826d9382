import CertsCore
import CertsCrypto
import CertsStore
import CertsTesting
import Foundation
import Synchronization
import Testing

@testable import CertsIssuers

/// A process that dies around each write of the order's record: the next one ends with one certificate for the same key.
@Suite struct OrderCrashTests {
    @Test(arguments: [DyingFiles.Moment.before, .after])
    func aProcessThatDiesAtAnyRecordOfTheOrderIsContinued(_ moment: DyingFiles.Moment) async throws {
        let scene = try await ACMEScene()
        try await scene.withPebble { pebble in
            // The account is not what dies here.
            _ = try await scene.issuer(pebble).accounts.account()
            var deaths = 0
            while deaths < 20 {
                let key = try PrivateKey.generate(.ecdsaP256)
                let request = try ACMEScene.request(key, certificate: "c\(deaths)")
                let (orders, certificates) = (pebble.orders, pebble.certificates)
                let dying = DyingFiles(scene.state, at: deaths + 1, moment)
                let died = await Self.dies(try scene.issuer(pebble, files: dying), request)
                let chain = try await scene.issuer(pebble).chain(request)
                #expect(chain.first.map { key.matches($0) } == true)
                #expect(pebble.certificates - certificates == 1)
                // An order whose URL was not kept cannot be found again.
                let lost = moment == .before && deaths == 0 ? 1 : 0
                #expect(pebble.orders - orders == 1 + lost, "dead at record \(deaths + 1)")
                guard died else { break }
                deaths += 1
            }
            #expect(deaths >= 5)
        }
    }

    private static func dies(_ issuer: ACMEIssuer, _ request: IssuanceRequest) async -> Bool {
        do {
            _ = try await issuer.issue(request)
            return false
        } catch {
            return true
        }
    }

    @Test func anOrderThatWasNotHandedInServesTheNextKey() async throws {
        let scene = try await ACMEScene()
        try await scene.withPebble { pebble in
            _ = try await scene.issuer(pebble).accounts.account()
            let orders = pebble.orders
            let dying = DyingFiles(scene.state, at: 1, .after)
            #expect(
                await Self.dies(try scene.issuer(pebble, files: dying), try ACMEScene.request(.generate(.ecdsaP256))))
            let key = try PrivateKey.generate(.ecdsaP256)
            let chain = try await scene.issuer(pebble).chain(ACMEScene.request(key))
            #expect(chain.first.map { key.matches($0) } == true)
            #expect(pebble.orders == orders + 1)
        }
    }

    @Test func anOrderThatWasSignedForAnotherKeyIsLeftAlone() async throws {
        let scene = try await ACMEScene()
        try await scene.withPebble { pebble in
            _ = try await scene.issuer(pebble).chain(ACMEScene.request(.generate(.ecdsaP256)))
            let key = try PrivateKey.generate(.ecdsaP256)
            let chain = try await scene.issuer(pebble).chain(ACMEScene.request(key))
            #expect(chain.first.map { key.matches($0) } == true)
        }
    }
}

/// The files of a process that dies at the n-th write of an order's record.
final class DyingFiles: IssuerFiles {
    enum Moment: Sendable { case before, after }

    private let files: StateDirectory
    private let moment: Moment
    private let left: Mutex<Int>

    init(_ files: StateDirectory, at count: Int, _ moment: Moment) {
        self.files = files
        self.moment = moment
        left = Mutex(count)
    }

    private struct Death: Error {}

    func write(_ contents: Secret, to file: String, of owner: Name, in area: IssuerArea) async throws {
        let isLast = try left.withLock {
            guard $0 > 0 else { throw Death() }
            if area == .orders { $0 -= 1 }
            return $0 == 0
        }
        if isLast, moment == .before { throw Death() }
        try await files.write(contents, to: file, of: owner, in: area)
        if isLast { throw Death() }
    }

    func read(_ file: String, of owner: Name, in area: IssuerArea) async throws -> Secret? {
        try await files.read(file, of: owner, in: area)
    }

    func remove(_ file: String, of owner: Name, in area: IssuerArea) async throws {
        guard left.withLock({ $0 > 0 }) else { throw Death() }
        try await files.remove(file, of: owner, in: area)
    }

    func lock(_ owner: Name, in area: IssuerArea, deadline: Duration) async throws -> any HeldLock {
        try await files.lock(owner, in: area, deadline: deadline)
    }
}
