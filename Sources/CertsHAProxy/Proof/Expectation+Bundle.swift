import CertsCore
import CertsCrypto
import Foundation

extension Expectation {
    /// What must be seen once the bundle is live.
    init(_ bundle: StagedBundle) throws(CertsError) {
        var chains: [Fingerprint: [Data]] = [:]
        var staples: [Fingerprint: Data] = [:]
        for member in bundle.members {
            chains[member.fingerprint] = try CanonicalBundle.certificates(in: member.pem).map(\.der)
            staples[member.fingerprint] = member.companions.first { $0.kind == .ocsp }?.contents
        }
        self.init(
            leaves: bundle.members.map { ($0.slot, $0.fingerprint) }, chains: chains, staples: staples,
            mustStaple: Set(bundle.members.filter(\.leaf.mustStaple).map(\.fingerprint)))
    }
}

extension NodeDeclaration {
    /// The questions that prove a deployment of the bundle.
    func questions(for bundle: StagedBundle) -> [Sighting.Question] {
        ProofMatrix.questions(
            self, names: bundle.names, types: bundle.members.compactMap(\.slot), neighbours: bundle.neighbours)
    }

    /// The files that HAProxy loads the members from.
    func paths(of bundle: StagedBundle) -> [String] {
        bundle.members.map { bundlePath(for: bundle.certificate, slot: $0.slot) }
    }
}

extension DeploymentReceipt {
    /// Of the first member; what messages name.
    var bundlePath: String {
        files.first { if case .bundle = $0.role { true } else { false } }?.path ?? files.first?.path ?? ""
    }
}
