import CertsCore
import CertsCrypto
import Foundation
import Logging

/// Shows the proofs of `tls-alpn-01` (RFC 8737, RFC 8738) on a responder of our own.
struct TLSALPN01Solver: ChallengeSolver {
    let type = ChallengeType.tlsALPN01
    private let scope: ChallengeScope
    private let selfCheck: SelfCheck
    private let listener: ChallengeListener<ALPNProof>
    private let shared: SharedProofs
    private let logger: Logger

    /// A name shows one proof at a time. One that another order shows is waited for this long; then it belongs to a process
    /// that died, or to somebody who has had time enough.
    private let patience: Duration

    init(
        listen address: SocketAddress, names: [String], selfCheck: SelfCheck, files: any IssuerFiles,
        listeners: ChallengeListeners = .shared, patience: Duration = .seconds(30), logger: Logger
    ) {
        scope = ChallengeScope(.tlsALPN01, names: names)
        self.selfCheck = selfCheck
        listener = listeners.tls(address)
        shared = SharedProofs(.tlsALPN01, files: files)
        self.patience = patience
        self.logger = logger
    }

    func isMeant(for identifier: AlternativeName, isWildcard: Bool) -> Bool {
        scope.includes(identifier, isWildcard: isWildcard)
    }

    func present(_ proof: ChallengeProof) async throws {
        let name = try Self.serverName(of: proof)
        let fresh = try await BlockingPool.shared.run {
            let key = try PrivateKey.generate(.ecdsaP256)
            let certificate = try ChallengeCertificate.make(
                for: proof.identifier, digest: proof.digest, key: key, now: Date())
            return ALPNProof(certificate: certificate, key: key, digest: proof.digest)
        }
        let clock = ContinuousClock()
        let end = clock.now + patience
        while true {
            let isLate = clock.now >= end
            let file = try await shown(name)
            if file == nil || file?.digest == proof.digest || isLate, try await show(fresh, name, isLate) { return }
            do { try await clock.sleep(for: .milliseconds(100)) } catch { throw CertsError.wrapping(error) }
        }
    }

    /// - Returns: whether it is shown: not, if another order of this process shows its own, and it is not late.
    private func show(_ proof: ALPNProof, _ name: String, _ isLate: Bool) async throws -> Bool {
        let isShown = try listener.show(
            proof, under: name, source: (shared.identity, Self.lookup(shared)), logger: logger
        ) { other in isLate || other.digest == proof.digest }
        guard isShown else { return false }
        if isLate { logger.info("the proof of another order for \(name) is replaced after \(patience)") }
        do {
            try await shared.write(try proof.encoded(), for: name)
        } catch {
            await listener.hide(name, source: shared.identity) { $0.digest == proof.digest }
            throw error
        }
        return true
    }

    func check(_ proof: ChallengeProof) async throws {
        guard selfCheck.isEnabled else { return }
        let listener = listener
        try await ALPNCheck(selfCheck) { listener.isElsewhere ? listener.address : nil }.run(proof)
    }

    func remove(_ proof: ChallengeProof) async throws {
        let name = try Self.serverName(of: proof)
        // Only if it is this one: another order may show its own for the same name by now.
        await listener.hide(name, source: shared.identity) { $0.digest == proof.digest }
        if let file = try await self.shown(name), file.digest != proof.digest { return }
        try await shared.remove(name)
    }

    /// What the files show; a file that is no proof is like none.
    private func shown(_ name: String) async throws -> ALPNProof? {
        guard let contents = try await shared.read(name) else { return nil }
        return try? await BlockingPool.shared.run { try ALPNProof(encoded: contents) }
    }

    private static func lookup(_ shared: SharedProofs) -> ChallengeListener<ALPNProof>.Lookup {
        { name in
            guard let contents = (try? await shared.read(name)) ?? nil else { return nil }
            return try? await BlockingPool.shared.run { try ALPNProof(encoded: contents) }
        }
    }

    private static func serverName(of proof: ChallengeProof) throws(CertsError) -> String {
        guard let name = ChallengeCertificate.serverName(for: proof.identifier) else {
            throw CertsError(
                .issuerRefused, "\(proof.identifier) cannot be proved by tls-alpn-01",
                hint: "only DNS names and IP addresses can")
        }
        return name
    }
}
