package import Foundation

/// Where a bundle goes; implemented in CertsHAProxy, checked by `TargetConformance`.
///
/// Every method may be called again after a crash in the middle of it, and must then end in the same state.
package protocol DeploymentTarget: Sendable {
    var declaration: TargetDeclaration { get }

    /// Looks at what is live and says how to restore it. Changes nothing.
    /// - Parameter fallback: the bundle that was deployed last: what HAProxy has in memory cannot be read back, so if
    ///   memory differs from the disk and equals this one, this one is what a rollback restores.
    func prepare(_ bundle: StagedBundle, fallback: StagedBundle?, now: Date) async throws -> PreparedDeployment

    /// Makes the bundle live: in HAProxy and on disk.
    /// - Parameter resuming: whether an earlier call may have died half-way; then our own leftovers are undone first.
    func apply(_ bundle: StagedBundle, receipt: DeploymentReceipt, resuming: Bool) async throws

    /// Proves by fresh handshakes that each endpoint serves the bundle.
    /// - Returns: what was seen.
    /// - Throws: `served.other` or `probe.…` with what was seen instead.
    func verify(_ bundle: StagedBundle, receipt: DeploymentReceipt) async throws -> [EndpointObservation]

    /// Brings back what the receipt says was live before. `previous` is `nil` when there was no file.
    func restore(_ receipt: DeploymentReceipt, previous: Secret?, certificate: Name, resuming: Bool) async throws

    /// Proves that each endpoint serves what the receipt's baseline says.
    func verifyRestored(_ receipt: DeploymentReceipt) async throws -> [EndpointObservation]

    /// What the endpoints that concern a certificate with these names serve now. Never throws: a problem is part of
    /// the observation.
    func observe(names: [AlternativeName]) async -> [EndpointObservation]
}

/// A bundle as it stands in the revision's directory.
package struct StagedBundle: Sendable {
    package let certificate: Name
    package let revision: Int
    /// The canonical PEM: leaf, chain, key.
    package let pem: Secret
    package let leaf: CertificateRecord
    package let fingerprint: Fingerprint
    package let names: [AlternativeName]

    package init(
        certificate: Name, revision: Int, pem: Secret, leaf: CertificateRecord, fingerprint: Fingerprint,
        names: [AlternativeName]
    ) {
        self.certificate = certificate
        self.revision = revision
        self.pem = pem
        self.leaf = leaf
        self.fingerprint = fingerprint
        self.names = names
    }
}

/// The answer of ``DeploymentTarget/prepare(_:fallback:now:)``: the receipt, and the bytes that it speaks of.
package struct PreparedDeployment: Sendable {
    package let receipt: DeploymentReceipt
    /// Kept in the revision's directory (0600) before the receipt is recorded; `nil`: there was no file.
    package let previous: Secret?
    /// Warnings about the target as it stands.
    package let findings: [Finding]

    package init(receipt: DeploymentReceipt, previous: Secret?, findings: [Finding] = []) {
        self.receipt = receipt
        self.previous = previous
        self.findings = findings
    }
}
