import CertsCore
import Synchronization

/// The leaves that this process has made live on a node, or has brought back: a name of another certificate that changes
/// to one of them was changed by another rotation, and not by accident.
final class LiveLeaves: Sendable {
    private let known = Mutex<Set<Fingerprint>>([])

    func add(_ leaves: some Sequence<Fingerprint>) { known.withLock { $0.formUnion(leaves) } }

    var all: Set<Fingerprint> { known.withLock { $0 } }
}
