import CertsCore
import Foundation

extension BundleChecks {
    /// The order of the chain: each certificate signed by the next, none twice, no root.
    static func order(_ path: [PathCertificate], anchors: [Certificate]) -> [Finding] {
        var result: [Finding] = []
        var seen: Set<Certificate> = []
        for certificate in path where !seen.insert(certificate.certificate).inserted {
            result.append(
                .warning("duplicate-in-chain", "\(certificate.description) is twice in the bundle", "leave it out once")
            )
        }
        let unique = unique(path)
        var last = unique[0]
        var used = 1
        var isOutOfOrder = false
        for (index, certificate) in unique.enumerated().dropFirst() where !isOutOfOrder {
            if last.isIssued(by: certificate) {
                last = certificate
                used += 1
            } else {
                isOutOfOrder = unique[index...].contains { last.isIssued(by: $0) }
                break
            }
        }
        if used < unique.count {
            // A certificate that signed none of the others is not just in the wrong place.
            let strays = unique.dropFirst().filter { candidate in
                !unique.contains { $0 !== candidate && $0.isIssued(by: candidate) }
            }
            if isOutOfOrder || strays.isEmpty {
                result.append(
                    .error(
                        "chain-order", "the certificates are not in the order in which they sign each other",
                        "put the leaf first, then the one that signed it, and so on"))
            }
            for stray in strays {
                result.append(
                    .error(
                        "chain-unrelated", "\(stray.description) has not signed any certificate of the bundle",
                        "leave it out"))
            }
        }
        if unique.count > 1, let root = unique.last, root.certificate.record.selfSigned {
            result.append(
                .warning("root-in-bundle", "\(root.description) is a root, which clients have already", "leave it out"))
        }
        return result
    }

    /// The certificates above the leaf: still valid, and for longer than what they signed.
    static func authorities(_ path: [PathCertificate], anchors: [Certificate], time: Int64) -> [Finding] {
        var result: [Finding] = []
        let issuers = unique(path).dropFirst()
        for certificate in issuers {
            for finding in CertificateRules(certificate: certificate, role: .intermediate, purpose: .server, time: time)
                .validity()
            {
                result.append(.error("expired-chain", finding.message, finding.remedy))
            }
        }
        guard let end = path[0].notAfter?.seconds else { return result }
        let above =
            Array(issuers)
            + anchors.filter { !path.map(\.certificate).contains($0) }.map { PathCertificate($0) }.filter { anchor in
                path.contains { $0.isIssued(by: anchor) }
            }
        for issuer in above {
            if let issuerEnd = issuer.notAfter?.seconds, issuerEnd < end {
                result.append(
                    .error(
                        "issuer-outlived",
                        "\(issuer.description) expires on \(CertificateRules.day(issuerEnd)), before the certificate does",
                        "renew the authority first, or ask for a shorter validity"))
            }
        }
        return result
    }

    /// Whether the chain, without anything that is not in it, ends at one of the anchors.
    static func trust(_ chain: [Certificate], anchors: [Certificate], now: Date) -> [Finding] {
        var verifier = ChainVerifier(roots: anchors, untrusted: Array(chain.dropFirst()), purpose: .server, time: now)
        verifier.ignoresForm = true
        let verdict = verifier.verify(chain[0])
        return verdict.findings.map { finding in
            switch finding.id {
            case "issuer-missing":
                .error(
                    "chain-incomplete", "the chain does not lead to the issuer's root: \(finding.message)",
                    "add the missing intermediate to the chain")
            default: finding
            }
        }
    }

    private static func unique(_ path: [PathCertificate]) -> [PathCertificate] {
        var seen: Set<Certificate> = []
        return path.filter { seen.insert($0.certificate).inserted }
    }
}

extension PathCertificate {
    /// By name and by signature.
    func isIssued(by other: PathCertificate) -> Bool { issuer == other.subject && isSigned(by: other) }
}
