import CertsCore
import CertsCrypto
import Foundation

@testable import CertsHAProxy

// Most tests are about one certificate with one key on one node.

extension StagedBundle {
    private var only: Member { members[0] }
    var pem: Secret { only.pem }
    var leaf: CertificateRecord { only.leaf }
    var fingerprint: Fingerprint { only.fingerprint }

    init(
        certificate: Name, revision: Int, pem: Secret, leaf: CertificateRecord, fingerprint: Fingerprint,
        names: [AlternativeName]
    ) {
        self.init(
            certificate: certificate, revision: revision,
            members: [.init(pem: pem, leaf: leaf, fingerprint: fingerprint)], names: names)
    }
}

extension PreparedDeployment {
    /// The bytes of the bundle that was live.
    var previousBundle: Secret? { previous.last ?? nil }
}

extension DeploymentReceipt {
    private var bundle: FileReceipt? { files.first { $0.role == .bundle(slot: nil) } }
    var previous: PreviousFile? { bundle?.previous }
    /// What was served for the names of the certificate, one for each endpoint and name.
    var ownBaseline: [Fingerprint?] {
        var seen = Set<Endpoint>()
        return baseline.filter { $0.question.subject == .own && seen.insert($0.question.endpoint).inserted }
            .map(\.observation.served)
    }
}

extension DeploymentTarget {
    func apply(_ bundle: StagedBundle, receipt: DeploymentReceipt, resuming: Bool) async throws {
        let deployment = BundleDeployment(bundle: bundle, receipt: receipt, resuming: resuming)
        if let failure = await apply([deployment]).first ?? nil { throw failure }
    }

    /// - Parameter previous: of the bundle; other files of the receipt had none.
    func restore(_ receipt: DeploymentReceipt, previous: Secret?, certificate: Name, resuming: Bool) async throws {
        let kept = receipt.files.map { $0.role == .bundle(slot: nil) ? previous : nil }
        let restoration = BundleRestoration(
            certificate: certificate, receipt: receipt, previous: kept, resuming: resuming)
        if let failure = await restore([restoration]).first ?? nil { throw failure }
    }
}

extension NodeDeclaration {
    /// A node of a target that has no others.
    init(
        name: String, bundle: String, reload: ReloadMethod, endpoints: [Endpoint],
        verifyWithin: Duration = .seconds(15), validate: CertsCore.CommandLine? = nil
    ) throws {
        self.init(
            id: NodeID(try Name(name)), bundle: bundle, reload: reload, endpoints: endpoints,
            verifyWithin: verifyWithin, validate: validate)
    }
}
