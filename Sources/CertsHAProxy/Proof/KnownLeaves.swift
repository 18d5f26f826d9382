import CertsCore
import Synchronization

/// The leaves that the rotations of this process have replaced on one node, and those that they put there.
///
/// Rotations of several certificates run side by side and look at each other's names. A name that changes between two
/// such leaves, or from a default certificate to one of them, was changed by another rotation and not by accident. Dates
/// alone do not tell: a certificate for 90 days that replaces one for ten years ends earlier.
final class KnownLeaves: Sendable {
    private let leaves = Mutex<Set<Fingerprint>>([])

    func record(_ deployments: [BundleDeployment]) {
        leaves.withLock { leaves in
            for deployment in deployments {
                leaves.formUnion(deployment.receipt.previousLeaves)
                leaves.formUnion(deployment.bundle.fingerprints)
            }
        }
    }

    func contains(_ leaf: Fingerprint) -> Bool { leaves.withLock { $0.contains(leaf) } }
}
