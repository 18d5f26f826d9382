import Synchronization

/// How many orders of this process show the same proof: a CA may put one pending authorization into several orders, and the
/// first that ends must not take the answer away from the others.
final class ProofUsers: Sendable {
    private let counts = Mutex<[ChallengeProof: Int]>([:])

    func begin(_ proof: ChallengeProof) {
        counts.withLock { $0[proof, default: 0] += 1 }
    }

    /// - Returns: whether nobody uses it any longer.
    func end(_ proof: ChallengeProof) -> Bool {
        counts.withLock { counts in
            let left = (counts[proof] ?? 1) - 1
            counts[proof] = left > 0 ? left : nil
            return left <= 0
        }
    }

    func isUsed(_ proof: ChallengeProof) -> Bool {
        counts.withLock { $0[proof] != nil }
    }
}
