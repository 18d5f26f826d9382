import CertsCore
package import Foundation

/// Decides whether a certificate may be trusted for a host and a purpose at a time (RFC 5280 §6, RFC 9525, and what the
/// CA/Browser Forum's requirements ask of certificates in TLS).
package struct ChainVerifier: Sendable {
    package enum Purpose: String, Sendable, CaseIterable {
        case server, client
    }

    package var roots: [Certificate]
    package var untrusted: [Certificate]
    /// A DNS name or the text of an IP address; `nil` leaves the names unjudged.
    package var host: String?
    package var purpose: Purpose
    package var time: Date
    /// CRLs in DER or PEM; when there are any, every issuer in the path needs to be consistent with them.
    package var crls: [Data]
    /// How many intermediates may stand between the leaf and the anchor, self-issued ones not counted.
    package var maxDepth: Int?
    /// Whether formal faults, which make no chain less safe, are faults here: a missing key identifier, an unusual
    /// criticality, a serial number that is too long. Private authorities have such faults.
    var ignoresForm = false

    package init(
        roots: [Certificate], untrusted: [Certificate] = [], host: String? = nil, purpose: Purpose = .server,
        time: Date, crls: [Data] = [], maxDepth: Int? = nil
    ) {
        self.roots = roots
        self.untrusted = untrusted
        self.host = host
        self.purpose = purpose
        self.time = time
        self.crls = crls
        self.maxDepth = maxDepth
    }

    /// Never throws and never traps, whatever the certificates are. Blocks for at most some hundred signature checks.
    ///
    /// A leaf that is itself among the roots is trusted as it stands, and is judged like every other leaf.
    package func verify(_ leaf: Certificate) -> ChainVerdict {
        // A validity counts whole seconds (RFC 5280 §4.1.2.5).
        let seconds = Int64(exactly: time.timeIntervalSince1970.rounded(.down)) ?? .max
        let subject = PathCertificate(leaf)
        var findings = CertificateRules(certificate: subject, role: .leaf, purpose: purpose, time: seconds).findings()
        if ignoresForm { findings.removeAll { CertificateRules.formal.contains($0.id) } }
        if let host { findings += HostRule.findings(host: host, certificate: subject) }
        let revocation = Revocation(crls, time: seconds)
        findings += revocation.findings

        var path = [subject]
        if !roots.contains(leaf) {
            var search = PathSearch(self, revocation: revocation, time: seconds)
            let outcome = search.run(from: subject)
            path = outcome.path
            findings += outcome.findings
        }
        return ChainVerdict(valid: findings.isEmpty, findings: findings, chain: path.map(\.certificate))
    }
}
