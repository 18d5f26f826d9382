import CertsCore
import Foundation
import Logging
import Synchronization

/// Gets the authorizations of one order to `valid` (RFC 8555 §7.5): what is valid already is left alone, for the others one
/// proof each is shown, looked at from outside, and then the CA is told.
struct AuthorizationWork: Sendable {
    let session: ACMESession
    let account: ActiveAccount
    let solvers: [any ChallengeSolver]
    let users: ProofUsers
    let logger: Logger
    /// For validation, from the moment at which the CA is told.
    static let validationDeadline = Duration.seconds(300)
    private static let width = 16

    /// One authorization that has to be worked on.
    private struct Attempt: Sendable {
        let url: String
        let challenge: Authorization.Challenge
        let solver: any ChallengeSolver
        var proof: ChallengeProof
    }

    /// - Parameters:
    ///   - save: keeps durably what is shown: before the first proof is, and after they were taken away, those of which that
    ///     failed. When the CA was told and something went wrong it may look yet: then nothing is taken away.
    ///   - failed: told of each name whose validation failed.
    /// - Throws: ``ValidationFailure`` when the order can give nothing any longer; after every other error it can.
    func authorize(
        _ order: Order, save: ([ChallengeProof]) async throws -> Void, failed: (AlternativeName) async -> Void
    ) async throws {
        let authorizations = try await load(order)
        var attempts: [Attempt] = []
        for (url, authorization) in authorizations {
            switch authorization.status {
            case .valid: continue
            case .pending, .other: attempts.append(try attempt(url, authorization))
            default: throw undecidable(authorization)
            }
        }
        guard !attempts.isEmpty else { return }
        let located = await concurrently(attempts, width: Self.width) {
            attempt -> Result<ChallengeProof, any Error> in
            do { return .success(try await attempt.solver.located(attempt.proof)) } catch { return .failure(error) }
        }
        let proofs = try located.map { try $0.get() }
        for (index, proof) in proofs.enumerated() { attempts[index].proof = proof }
        for proof in proofs { users.begin(proof) }
        let isTold = Mutex(false)
        do {
            try await save(proofs)
            try await solve(attempts) { isTold.withLock { $0 = true } }
        } catch let failure as ValidationFailure {
            try? await save(await endUse(of: proofs))
            await giveUp(attempts)
            for name in failure.names { await failed(name) }
            throw failure
        } catch {
            if isTold.withLock({ $0 }) {
                for proof in proofs { _ = users.end(proof) }
            } else {
                try? await save(await endUse(of: proofs))
            }
            throw error
        }
        try await save(await endUse(of: proofs))
    }

    /// Takes away what an earlier attempt left.
    /// - Returns: what could not be.
    func clean(_ proofs: [ChallengeProof]) async -> [ChallengeProof] {
        await remove(proofs.filter { !users.isUsed($0) })
    }

    /// - Returns: what could not be taken away.
    private func endUse(of proofs: [ChallengeProof]) async -> [ChallengeProof] {
        let unused = proofs.filter { users.end($0) }
        // Also when the rotation was cancelled: what is left in somebody's DNS stays there for ever.
        return (try? await withUncancelledTask { await self.remove(unused) }) ?? unused
    }

    private func remove(_ proofs: [ChallengeProof]) async -> [ChallengeProof] {
        await concurrently(proofs, width: Self.width) { proof -> ChallengeProof? in
            var problem = "no such challenge is configured any longer"
            for solver in removers(of: proof) {
                do {
                    try await solver.remove(proof)
                    return nil
                } catch {
                    problem = "\(CertsError.wrapping(error))"
                }
            }
            logger.warning(
                "an answer to a challenge could not be taken away, which is tried again with the next order: \(problem)",
                metadata: ["name": "\(proof.identifier)", "challenge": "\(proof.type.rawValue)"])
            return proof
        }.compactMap { $0 }
    }

    /// Who can take a proof away: whoever would show it today first, then any other one of the type.
    private func removers(of proof: ChallengeProof) -> [any ChallengeSolver] {
        let ofType = solvers.filter { $0.type == proof.type }
        func isMeant(_ solver: any ChallengeSolver) -> Bool {
            solver.isMeant(for: proof.identifier, isWildcard: proof.isWildcard)
        }
        return ofType.filter(isMeant) + ofType.filter { !isMeant($0) }
    }

    // MARK: Reading

    /// The authorizations by what they are for; never by their place in the list.
    private func load(_ order: Order) async throws -> [(url: String, Authorization)] {
        let session = session
        let signer = account.signer
        let replies = await concurrently(order.authorizations, width: Self.width) {
            url -> Result<Authorization, any Error> in
            do { return .success(try await session.authorization(url, as: signer).0) } catch { return .failure(error) }
        }
        let authorizations = try replies.map { try $0.get() }
        let ordered = Set(order.identifiers.compactMap(\.name))
        for authorization in authorizations {
            guard let name = authorization.orderedName, ordered.contains(name) else {
                throw lost(
                    .issuerRefused,
                    "the CA wants to see control of '\(TerminalText.sanitized(authorization.identifier.value, limit: 300))', which was not asked for",
                    hint: "tell the CA; nothing was shown to it")
            }
        }
        return Array(zip(order.authorizations, authorizations))
    }

    private func attempt(_ url: String, _ authorization: Authorization) throws -> Attempt {
        let isWildcard = authorization.wildcard == true
        guard let identifier = authorization.identifier.name else { throw undecidable(authorization) }
        for solver in solvers where solver.isMeant(for: identifier, isWildcard: isWildcard) {
            guard let challenge = authorization.challenges.first(where: { $0.type == solver.type.rawValue }) else {
                continue
            }
            let token = challenge.token ?? ""
            let needsToken = solver.type != .dnsPersist01
            guard !needsToken || (ChallengeToken.isValid(token)) else {
                throw lost(
                    .issuerRefused,
                    "the CA sends a token that is not base64url: \(TerminalText.sanitized(token, limit: 80))",
                    hint: "nothing was shown; tell the CA")
            }
            let proof = ChallengeProof(
                type: solver.type, identifier: identifier, isWildcard: isWildcard, token: needsToken ? token : "",
                keyAuthorization: account.key.keyAuthorization(token: token), accountURL: account.url,
                issuerDomains: challenge.issuerDomainNames ?? [])
            return Attempt(url: url, challenge: challenge, solver: solver, proof: proof)
        }
        let offered = authorization.challenges.map { TerminalText.sanitized($0.type, limit: 40) }.joined(
            separator: ", ")
        let ours = solvers.map(\.type.rawValue).joined(separator: ", ")
        let name = authorization.orderedName.map(\.value) ?? identifier.value
        throw CertsError(
            .issuerRefused,
            "no configured challenge fits \(name): the CA offers \(offered), configured: \(ours.isEmpty ? "none" : ours)",
            subject: session.issuer.rawValue,
            hint: "add a challenge of a type that is offered to the issuer's `challenges:`")
    }

    private func undecidable(_ authorization: Authorization) -> ValidationFailure {
        lost(
            .challengeFailed,
            "the authorization of \(TerminalText.sanitized(authorization.identifier.value, limit: 300)) is \(authorization.status)",
            hint: "rotate again: a new order gets new authorizations")
    }

    /// The order can give nothing any longer.
    private func lost(_ code: CertsError.Code, _ message: String, hint: String) -> ValidationFailure {
        ValidationFailure(
            names: [],
            error: CertsError(code, message, subject: session.issuer.rawValue, hint: hint, retry: .later))
    }

    // MARK: Solving

    /// - Parameter tell: called before the CA is told for the first time.
    private func solve(_ attempts: [Attempt], _ tell: @escaping @Sendable () -> Void) async throws {
        try await each(attempts) { try await $0.solver.present($0.proof) }
        try await each(attempts) { try await $0.solver.check($0.proof) }
        let session = session
        let signer = account.signer
        tell()
        try await each(attempts) { attempt in
            // The CA may look already: it was told by an attempt that did not live to see the end.
            if !attempt.challenge.isBeingLookedAt {
                do {
                    try await session.answer(attempt.challenge, as: signer)
                } catch let failure as ACMEFailure where failure.status < 500 && !failure.isLimit {
                    // Decided meanwhile, or an answer that was lost and executed: the authorization says how it stands.
                    let now = try await session.authorization(attempt.url, as: signer).0
                    let challenge = now.challenges.first { $0.url == attempt.challenge.url }
                    guard now.status != .pending || challenge?.isBeingLookedAt == true else {
                        throw ValidationFailure(names: [], error: failure.certsError(session.issuer))
                    }
                }
            }
            try await wait(for: attempt)
        }
    }

    private func wait(for attempt: Attempt) async throws {
        var polling = Polling(deadline: Self.validationDeadline)
        while true {
            let (authorization, retryAt) = try await session.authorization(attempt.url, as: account.signer)
            if authorization.status == .valid { return }
            if authorization.status.isDecided { throw failure(attempt, authorization) }
            guard try await polling.wait(atLeastUntil: retryAt) else {
                throw CertsError(
                    .issuerUnavailable, "the CA has not decided about \(attempt.proof.identifier.value) in time",
                    subject: session.issuer.rawValue, hint: "try again later; the order stays",
                    retry: retryAt.map { .after($0) } ?? .later)
            }
        }
    }

    private func failure(_ attempt: Attempt, _ authorization: Authorization) -> ValidationFailure {
        let tried = authorization.challenges.first { $0.error != nil } ?? attempt.challenge
        let reason = tried.error?.text ?? "the authorization is \(authorization.status)"
        let name = attempt.proof.identifier
        return ValidationFailure(
            names: [name],
            error: CertsError(
                .challengeFailed, "\(name.value): the CA did not accept \(attempt.proof.type.rawValue): \(reason)",
                subject: session.issuer.rawValue,
                hint: "`certs check --live` looks at the path of the challenge", retry: .later))
    }

    /// Does the same for all, side by side; all are waited for, and every failure is told.
    private func each(_ attempts: [Attempt], _ body: @escaping @Sendable (Attempt) async throws -> Void) async throws {
        let failures = await concurrently(attempts, width: Self.width) { attempt -> (any Error)? in
            do { try await body(attempt) } catch { return error }
            return nil
        }.compactMap { $0 }
        guard let first = failures.first else { return }
        // With one name lost the order is lost, whatever is said of the others.
        let validations = failures.compactMap { $0 as? ValidationFailure }
        guard validations.count > 1, let one = validations.first?.error else { throw validations.first ?? first }
        throw ValidationFailure(
            names: validations.flatMap(\.names),
            error: CertsError(
                one.code, "\(validations.count) names were not accepted", subject: one.subject, hint: one.hint,
                details: validations.map(\.error.message), retry: one.retry))
    }

    /// Lets go of the authorizations that nobody will use: pending ones count against the account's limits.
    private func giveUp(_ attempts: [Attempt]) async {
        let session = session
        let signer = account.signer
        _ = await concurrently(attempts, width: Self.width) { attempt in
            guard let (authorization, _) = try? await session.authorization(attempt.url, as: signer),
                authorization.status == .pending
            else { return }
            try? await session.deactivateAuthorization(attempt.url, as: signer)
        }
    }
}

/// The CA looked and was not content (with the names that it says it of), or will not look any longer.
struct ValidationFailure: Error {
    var names: [AlternativeName]
    var error: CertsError
}
