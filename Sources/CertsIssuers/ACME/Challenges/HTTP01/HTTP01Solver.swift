import CertsCore
import CertsHTTP
import Foundation
import Logging

/// Shows the proofs of `http-01` (RFC 8555 §8.3): on a listener of our own, or as files that somebody else serves.
struct HTTP01Solver: ChallengeSolver {
    private enum Way: Sendable {
        case listener(ChallengeListener<String>, SharedProofs)
        case folder(ChallengeFolder)
    }

    let type = ChallengeType.http01
    private let scope: ChallengeScope
    private let selfCheck: SelfCheck
    private let way: Way
    private let logger: Logger

    init(
        _ method: ChallengeDeclaration.HTTP01, names: [String], selfCheck: SelfCheck, files: any IssuerFiles,
        listeners: ChallengeListeners = .shared, logger: Logger
    ) {
        scope = ChallengeScope(.http01, names: names)
        self.selfCheck = selfCheck
        self.logger = logger
        switch method {
        case .listen(let address): way = .listener(listeners.http(address), SharedProofs(.http01, files: files))
        case .directory(let path): way = .folder(ChallengeFolder(path: path))
        }
    }

    func isMeant(for identifier: AlternativeName, isWildcard: Bool) -> Bool {
        scope.includes(identifier, isWildcard: isWildcard)
    }

    func present(_ proof: ChallengeProof) async throws {
        let token = try ChallengeToken.validated(proof.token)
        switch way {
        case .folder(let folder):
            try await BlockingPool.shared.run { try folder.write(proof.keyAuthorization, token: token) }
        case .listener(let listener, let shared):
            // The file first: the process that owns the port may be another one.
            try await shared.write(Secret(copying: proof.keyAuthorization.utf8), for: token)
            do {
                try listener.show(
                    proof.keyAuthorization, under: token, source: (shared.identity, Self.lookup(shared)),
                    logger: logger)
            } catch {
                try await shared.remove(token)
                throw error
            }
        }
    }

    func check(_ proof: ChallengeProof) async throws {
        guard selfCheck.isEnabled else { return }
        try await HTTP01Check(selfCheck, isElsewhere: elsewhere).run(proof)
    }

    func remove(_ proof: ChallengeProof) async throws {
        let token = try ChallengeToken.validated(proof.token)
        switch way {
        case .folder(let folder): try await BlockingPool.shared.run { try folder.remove(token: token) }
        case .listener(let listener, let shared):
            await listener.hide(token, source: shared.identity)
            try await shared.remove(token)
        }
    }

    /// The address that we should listen on and another process has.
    private var elsewhere: @Sendable () -> SocketAddress? {
        guard case .listener(let listener, _) = way else { return { nil } }
        return { listener.isElsewhere ? listener.address : nil }
    }

    private static func lookup(_ shared: SharedProofs) -> ChallengeListener<String>.Lookup {
        { token in
            // A file that cannot be read is like none: the client gets 404, and the self-check says so.
            let contents = (try? await shared.read(token)) ?? nil
            return contents?.withBytes { String(decoding: $0, as: UTF8.self) }
        }
    }
}
