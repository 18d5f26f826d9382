import CertsCore
import Synchronization

/// Which leaves belong to the same certificate, as far as the rotations of this process on one node have told: what they
/// replaced, and what they put there.
///
/// Rotations of several certificates run side by side and look at each other's names. Dates alone do not tell that a
/// change is another one's: a certificate for 90 days that replaces one for a year ends earlier, and a rollback brings an
/// earlier one back.
final class KnownLeaves: Sendable {
    private let owners = Mutex<[Fingerprint: Set<Name>]>([:])

    func record(_ deployments: [BundleDeployment]) {
        owners.withLock { owners in
            for deployment in deployments {
                for leaf in deployment.receipt.previousLeaves.union(deployment.bundle.fingerprints) {
                    owners[leaf, default: []].insert(deployment.bundle.certificate)
                }
            }
        }
    }

    func areOfOneCertificate(_ one: Fingerprint, _ other: Fingerprint) -> Bool {
        owners.withLock { owners in
            guard let first = owners[one], let second = owners[other] else { return false }
            return !first.isDisjoint(with: second)
        }
    }
}
