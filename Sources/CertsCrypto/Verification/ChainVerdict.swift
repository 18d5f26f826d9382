package import CertsCore

/// The outcome of ``ChainVerifier/verify(_:)``.
package struct ChainVerdict: Sendable {
    package let valid: Bool
    /// Empty when valid; otherwise what is wrong with the path that came nearest, the most useful first.
    package let findings: [Finding]
    /// Leaf first. When valid: up to and including the trust anchor. Otherwise as far as the best path went.
    package let chain: [Certificate]

    package init(valid: Bool, findings: [Finding], chain: [Certificate]) {
        self.valid = valid
        self.findings = findings
        self.chain = chain
    }
}
