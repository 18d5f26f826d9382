import CertsCore
import Foundation

/// Why a proof was not seen from outside.
struct ProofMiss: Error {
    /// What was seen instead; sanitized.
    let what: String
    let remedy: String
}

/// Looks for a proof from outside, again and again, until it is seen or the time of the self-check is over.
struct OutsideLook: Sendable {
    let selfCheck: SelfCheck
    /// The address that we should listen on and another process has.
    var isElsewhere: @Sendable () -> SocketAddress? = { nil }

    /// Of one look, in seconds.
    private static let patience: TimeInterval = 10

    /// - Parameter look: gets the seconds that it may take.
    /// - Throws: `issuer.challengeFailed` when the time is over, with what was seen last; `cancelled`.
    func callAsFunction(
        for proof: ChallengeProof, _ look: (_ seconds: TimeInterval) async throws -> Void
    ) async throws {
        let clock = ContinuousClock()
        let end = clock.now + .seconds(selfCheck.timeout)
        var pause = Duration.milliseconds(50)
        while true {
            // The last look gets a moment as well: "timed out" would hide what is seen there.
            let left = max(2, (end - clock.now) / .seconds(1))
            let miss: ProofMiss
            do {
                return try await look(min(Self.patience, left))
            } catch let error as ProofMiss {
                miss = error
            }
            guard clock.now + pause < end else { throw failure(proof, miss) }
            do { try await clock.sleep(for: pause) } catch { throw CertsError.wrapping(error) }
            pause = min(pause * 2, .seconds(1))
        }
    }

    private func failure(_ proof: ChallengeProof, _ miss: ProofMiss) -> CertsError {
        let elsewhere = isElsewhere().map {
            "; \($0) is in use: by another `certs` that answers for us as well, or by a stranger (`ss -ltnp`)"
        }
        let (type, name) = (proof.type.rawValue, proof.identifier.value)
        return CertsError(
            .challengeFailed, "the answer to the challenge \(type) of \(name) is not seen from outside: \(miss.what)",
            subject: name, hint: miss.remedy + (elsewhere ?? ""), retry: .later)
    }
}
