import CertsCore
import CertsCrypto
import Foundation
import Synchronization

/// What was found out about the chains that endpoints sent. An endpoint sends the same one at nearly each look, and to
/// parse and verify it takes as long as half a handshake.
///
/// A judgement is used again only for the same bytes and the same host, and only as long as it cannot change.
final class ChainJudgements: Sendable {
    /// SHA-256 of the host and of all that was sent.
    struct Key: Hashable {
        private let digest: Data

        init(_ chain: [Data], host: String) {
            var text = Data(host.utf8)
            // No host has a NUL, and DER says its own length: no two inputs are the same text.
            text.append(0)
            for der in chain { text.append(der) }
            digest = Digest.sha256.data(of: text)
        }
    }

    /// A class: facts are many texts, and all threads wait while one of them is copied under the lock.
    private final class Judgement: Sendable {
        let facts: WatchedFacts
        let madeAt: Date
        let until: Date

        init(facts: WatchedFacts, madeAt: Date, until: Date) {
            self.facts = facts
            self.madeAt = madeAt
            self.until = until
        }
    }

    /// What was used in this look and in the last one: older judgements are of certificates that nobody serves any more.
    private struct Looks {
        var current: [Key: Judgement] = [:]
        var last: [Key: Judgement] = [:]
    }

    /// Rules of the verifier, and the anchors of the host, have dates of their own.
    private static let longest: TimeInterval = 3600

    private let looks = Mutex(Looks())

    /// - Returns: `nil` when it has to be judged (again).
    func facts(_ key: Key, at now: Date) -> WatchedFacts? {
        let known = looks.withLock { looks -> Judgement? in
            guard let known = looks.current[key] ?? looks.last[key], known.madeAt <= now, now < known.until else {
                return nil
            }
            looks.current[key] = known
            return known
        }
        return known?.facts
    }

    /// - Parameter records: of all certificates that the judgement depends on.
    func keep(_ facts: WatchedFacts, _ key: Key, of records: [CertificateRecord], at now: Date) {
        let bounds = records.flatMap { [$0.notBefore, $0.notAfter] }.filter { $0 > now }
        let until = min(bounds.min() ?? .distantFuture, now.addingTimeInterval(Self.longest))
        let judgement = Judgement(facts: facts, madeAt: now, until: until)
        looks.withLock { $0.current[key] = judgement }
    }

    /// Forgets what was not used since the last call.
    func endLook() {
        looks.withLock { looks in
            looks.last = looks.current
            looks.current = [:]
        }
    }
}
