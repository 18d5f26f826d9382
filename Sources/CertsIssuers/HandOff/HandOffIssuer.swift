package import CertsCore
package import CertsCrypto
package import Foundation

/// The way to a CA that people talk to: the CSR goes out as a file, the certificate comes back by `certs import`.
///
/// Files, below `handoff/NAME/` of the certificate: `request.pem` (give it to the CA) and `certificate.pem` (written by
/// `import`). Everything is on disk, so a wait survives any restart.
package struct HandOffIssuer: Issuer {
    package let name: Name
    let anchors: [Data]
    let files: any IssuerFiles

    /// - Parameter anchors: DER of the roots that the answer must chain to; empty: not checked.
    package init(name: Name, anchors: [Data], files: any IssuerFiles) {
        self.name = name
        self.anchors = anchors
        self.files = files
    }

    enum File {
        static let request = "request.pem"
        static let certificate = "certificate.pem"
    }

    package func trustAnchors() async throws -> [Data] { anchors }

    package func issue(_ request: IssuanceRequest) async throws -> IssuanceOutcome {
        let certificate = request.declaration.name
        let csr = try CertificateRequest(der: request.csr)
        let handle = ResumeHandle(csr.spkiSHA256)
        if request.resuming == handle, let answer = try await answer(for: certificate),
            answer.first?.record.spkiSHA256 == csr.spkiSHA256
        {
            return .issued(chain: answer.map(\.der))
        }
        try await files.write(Secret(copying: csr.pem.utf8), to: File.request, of: certificate, in: .handoff)
        return .pending(handle, retryAt: nil)
    }

    /// The CSR that waits for its certificate; `nil`: none does.
    package func pendingRequest(of certificate: Name) async throws -> CertificateRequest? {
        guard let pem = try await files.read(File.request, of: certificate, in: .handoff) else { return nil }
        return try CertificateRequest(pem: pem.withBytes { Data($0) })
    }

    /// Takes the answer of the CA: the leaf, with its intermediates in any order around it, without the root.
    ///
    /// - Throws: `key.mismatch` when the certificate is not for the CSR that waits, `certificate.rejected` with every
    ///   finding that would stop the rotation; what waits goes on waiting then.
    package func accept(_ certificates: [Certificate], for declaration: CertificateDeclaration, now: Date) async throws
    {
        guard let pending = try await pendingRequest(of: declaration.name) else {
            throw CertsError(
                .issuerPending, "'\(declaration.name)' does not wait for a certificate",
                subject: declaration.name.rawValue,
                hint:
                    "begin with `certs rotate \(declaration.name)`, then hand out the request of `certs csr \(declaration.name)`"
            )
        }
        guard let leaf = certificates.first(where: { $0.record.spkiSHA256 == pending.spkiSHA256 }) else {
            throw CertsError(
                .keyMismatch, "no certificate in the file is for the key of the request that waits",
                subject: declaration.name.rawValue,
                hint: "import the answer to the request that `certs csr \(declaration.name)` prints")
        }
        let chain = ChainOrder.ordered(leaf, among: certificates)
        let findings = BundleChecks.findings(
            chain: chain, keySPKI: pending.publicKeyDER, names: declaration.names,
            anchors: try anchors.map { try Certificate(der: $0) },
            keyAlgorithm: declaration.key.algorithms.first, now: now)
        let blocking = findings.filter(\.isBlocking)
        if let first = blocking.first {
            throw CertsError(
                .certificateRejected,
                "the certificate is not accepted: "
                    + blocking.map { "\($0.message) [\($0.id)]" }.joined(separator: "; "),
                subject: declaration.name.rawValue, hint: first.remedy)
        }
        let pem = chain.map(\.pem).joined()
        try await files.write(Secret(copying: pem.utf8), to: File.certificate, of: declaration.name, in: .handoff)
    }

    /// Nothing waits any longer: the request and the answer are removed.
    package func forget(_ certificate: Name) async throws {
        try await files.remove(File.request, of: certificate, in: .handoff)
        try await files.remove(File.certificate, of: certificate, in: .handoff)
    }

    private func answer(for certificate: Name) async throws -> [Certificate]? {
        guard let pem = try await files.read(File.certificate, of: certificate, in: .handoff) else { return nil }
        return try CertificateReader.certificates(in: pem.withBytes { Data($0) })
    }
}
