import CertsCore
import CertsCrypto
import Foundation
import Logging

// OCSP responses that are deployed beside the bundle.
extension RotationRunner {
    /// Fetches a response for each leaf, and writes it beside the bundle.
    ///
    /// - Returns: the earliest times of all of them; `nil`: nothing is stapled.
    /// - Throws: `staple.revoked`; and where no response can be had and one must be: for a must-staple leaf (RFC 7633),
    ///   and for a refresh, whose purpose it is. Elsewhere a certificate without a staple is better than none.
    mutating func stageStaples(_ rotation: Rotation, _ manifest: RevisionManifest) async throws -> StapleDates? {
        let declaration = try context.declaration(of: rotation.certificate)
        guard declaration.staple, let source = context.staples else { return nil }
        var dates: StapleDates?
        for member in KeyPolicy.members(of: manifest.requested.keyAlgorithms) {
            let chain = try await context.storedChain(rotation.certificate, rotation.revision, member.slot)
            guard let leaf = chain.first else { continue }
            do {
                let issuer = try await issuer(of: chain, manifest)
                let staple = try await source.staple(
                    for: leaf.der, issuer: issuer.der, responders: leaf.record.ocspURLs, now: context.now)
                try await write(Secret(copying: staple.der), to: .companion(.ocsp, member.slot), rotation)
                if chain.count == 1 {
                    // HAProxy looks for the issuer in the chain, and nowhere else without this file.
                    let pem = Secret(copying: issuer.pem.utf8)
                    try await write(pem, to: .companion(.issuer, member.slot), rotation)
                }
                dates = StapleDates(
                    refreshAt: min(staple.refreshAt, dates?.refreshAt ?? .distantFuture),
                    nextUpdate: [staple.nextUpdate, dates?.nextUpdate].compactMap { $0 }.min())
            } catch  where !isNeeded(leaf, rotation, error) {
                let failure = CertsError.wrapping(error)
                stapleFindings.append(
                    Finding(
                        id: "no-staple", severity: .warning,
                        message: "no OCSP response is stapled to \(leaf.fingerprint.short): \(failure.message)",
                        remedy: failure.hint ?? "the next run of `certs rotate` tries again"))
                context.logger.warning(
                    "no OCSP response to staple: \(failure)", metadata: ["certificate": "\(rotation.certificate)"])
            }
        }
        return dates
    }

    private func isNeeded(_ leaf: Certificate, _ rotation: Rotation, _ error: any Error) -> Bool {
        // The issuer itself says that the certificate must not be served any more.
        leaf.record.mustStaple || rotation.reason == .staple || (error as? CertsError)?.code == .stapleRevoked
    }

    private func issuer(of chain: [Certificate], _ manifest: RevisionManifest) async throws -> Certificate {
        if chain.count > 1 { return chain[1] }
        let anchors = try await context.issuer(manifest.requested.issuer).trustAnchors().map {
            try Certificate(der: $0)
        }
        guard let leaf = chain.first, let root = anchors.first(where: { $0.record.subject == leaf.record.issuer })
        else {
            throw CertsError(
                .certificateMissing, "the certificate that signed the leaf is not known, so nothing can be stapled",
                subject: manifest.certificate.rawValue, hint: "name the roots of the issuer")
        }
        return root
    }
}
