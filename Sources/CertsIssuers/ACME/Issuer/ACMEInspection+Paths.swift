import CertsCore
import Foundation

// Whether the CA could see our answers: each name by the challenge that would be used for it.
extension ACMEInspection {
    /// Self-checks wait for a network, not for a processor.
    private static let width = 8

    private enum Outcome: Sendable {
        case fine
        case broken(Finding)
        case notBegun
    }

    func pathFindings(_ names: [AlternativeName]) async -> [Finding] {
        let end = ContinuousClock.now + pathBudget
        let outcomes = await concurrently(names, width: Self.width) { name -> Outcome in
            guard ContinuousClock.now < end else { return .notBegun }
            return await lookAtPath(of: name).map { .broken($0) } ?? .fine
        }
        var findings = outcomes.compactMap { if case .broken(let finding) = $0 { finding } else { nil } }
        let left = outcomes.count { if case .notBegun = $0 { true } else { false } }
        if left > 0 {
            findings.append(
                Finding(
                    id: "paths-not-all-checked", severity: .info,
                    message: "the paths of \(left) of \(names.count) names were not looked at: the others took "
                        + "\(pathBudget.components.seconds) s",
                    remedy: "mend what was found, then check again"))
        }
        return findings + uncheckedFindings()
    }

    /// What the configuration says not to look at.
    private func uncheckedFindings() -> [Finding] {
        declaration.challenges.filter { !$0.selfCheck.isEnabled }.map {
            Finding(
                id: "path-not-checked", severity: .info,
                message:
                    "`selfCheck` of \($0.type.rawValue) is off: the path is not looked at, neither here nor before an order",
                remedy: "nothing is to be done, if that is meant")
        }
    }

    private func lookAtPath(of name: AlternativeName) async -> Finding? {
        guard let (solver, challenge, proof) = await solver(for: name) else {
            return Finding(
                id: "challenge-missing", severity: .error, message: "no challenge is meant for \(name.value)",
                remedy: "add one to `challenges:` of the issuer, or correct its `names:`")
        }
        guard challenge.selfCheck.isEnabled else { return nil }
        do {
            if challenge.type.isInDNS {
                try await lookAtDNS(proof, challenge, solver)
            } else {
                try await show(proof, solver)
            }
            return nil
        } catch {
            let known = CertsError.wrapping(error)
            let prefix = [challenge.type.rawValue, name.value].filter { !known.message.contains($0) }.map { "\($0): " }
            return Finding(
                id: "challenge-path-broken", severity: .error,
                message: TerminalText.sanitized(prefix.joined() + known.message, limit: 1000),
                remedy: TerminalText.sanitized(known.hint ?? "see the message", limit: 1000))
        }
    }

    /// The answer to a challenge that nobody made: what is looked at is the way to it.
    private func show(_ proof: ChallengeProof, _ solver: any ChallengeSolver) async throws {
        do {
            try await solver.present(proof)
            try await solver.check(proof)
        } catch {
            try? await solver.remove(proof)
            throw error
        }
        try await solver.remove(proof)
    }

    /// Nothing is written into the DNS: to remove a record that is not there needs the same rights as to add one, and
    /// changes nothing (RFC 2136 §3.4.2.4).
    private func lookAtDNS(
        _ proof: ChallengeProof, _ challenge: ChallengeDeclaration, _ solver: any ChallengeSolver
    ) async throws {
        if challenge.propagation?.servers.isEmpty ?? true {
            try await sources.authoritativeServers?(proof.identifier.value)
        }
        try await solver.remove(proof)
    }

    private func solver(
        for name: AlternativeName
    ) async -> (any ChallengeSolver, ChallengeDeclaration, ChallengeProof)? {
        var identifier = name
        var isWildcard = false
        if case .dns(let host) = name, host.hasPrefix("*.") {
            identifier = .dns(String(host.dropFirst(2)))
            isWildcard = true
        }
        guard let solver = solvers.first(where: { $0.isMeant(for: identifier, isWildcard: isWildcard) }),
            let challenge = declaration.challenges.first(where: { $0.type == solver.type && $0.isMeant(for: name) })
        else { return nil }
        let token = Self.randomToken()
        // Where the record is depends on the account; where there is none yet, any stands for it.
        let account = solver.type == .dnsAccount01 ? try? await sources.account() : nil
        let proof = ChallengeProof(
            type: challenge.type, identifier: identifier, isWildcard: isWildcard, token: token,
            keyAuthorization: "\(token).\(Self.randomToken())", accountURL: account?.url ?? declaration.directory)
        return (solver, challenge, proof)
    }

    /// 128 random bits in characters that a token may have.
    private static func randomToken() -> String {
        Hex.encode((0..<16).map { _ in UInt8.random(in: .min ... .max) })
    }
}

extension ChallengeDeclaration {
    fileprivate var propagation: Propagation? {
        switch method {
        case .dns01(_, let propagation), .dnsAccount01(_, let propagation), .dnsPersist01(_, let propagation):
            propagation
        case .http01, .tlsALPN01: nil
        }
    }
}
