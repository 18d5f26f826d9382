import CertsCore
import CertsCrypto
import Foundation

extension ACMESession {
    private static let chainType = "application/pem-certificate-chain"

    /// Downloads the chain, and looks for the preferred one among those that the server offers beside it (RFC 8555
    /// §7.4.2).
    ///
    /// - Returns: the certificates as they came, and whether the wish was fulfilled (also where there is none).
    func certificateChain(
        _ url: String, preferring wish: ACMEDeclaration.PreferredChain?, as signer: Signer
    ) async throws -> (chain: [Certificate], isPreferred: Bool) {
        let reply = try await read(url, as: signer, accepting: Self.chainType)
        let first = try chain(reply)
        guard let wish else { return (first, true) }
        if wish.isFulfilled(by: first) { return (first, true) }
        for alternate in reply.links("alternate").prefix(10) {
            // One that cannot be had is none: the certificate is issued, and the default chain is a good one.
            guard let reply = try? await read(alternate, as: signer, accepting: Self.chainType),
                let other = try? chain(reply), wish.isFulfilled(by: other)
            else { continue }
            return (other, true)
        }
        try Task.checkCancellation()
        return (first, false)
    }

    private func chain(_ reply: HTTPReply) throws -> [Certificate] {
        do {
            return try CertificateReader.certificates(in: reply.body)
        } catch {
            throw CertsError(
                .issuerUnavailable, "the CA sent no certificate that can be read", subject: issuer.rawValue,
                hint: "nothing was deployed; try again, and tell the CA if it stays so", cause: error, retry: .later)
        }
    }
}

extension ACMEDeclaration.PreferredChain {
    /// By name: what signs the last of the chain is the root, which servers leave out. By fingerprint: any link.
    func isFulfilled(by chain: [Certificate]) -> Bool {
        switch self {
        case .rootName(let name): ChainOrder.top(of: chain)?.record.issuerCommonName == name
        case .fingerprint(let fingerprint): chain.contains { $0.fingerprint == fingerprint }
        }
    }
}

/// The order that TLS and everything after it expects.
enum ChainOrder {
    /// The last certificate below the root: the end of the path from the leaf, which comes first (RFC 8555 §7.4.2).
    static func top(of chain: [Certificate]) -> Certificate? {
        chain.first.flatMap { ordered($0, among: chain).last }
    }

    /// The leaf and the certificates that sign it, one after the other; roots and strangers are left out.
    static func ordered(_ leaf: Certificate, among certificates: [Certificate]) -> [Certificate] {
        var chain = [leaf]
        while let last = chain.last, !last.record.selfSigned,
            let next = certificates.first(where: {
                $0.record.subject == last.record.issuer && !$0.record.selfSigned && !chain.contains($0)
            })
        {
            chain.append(next)
        }
        return chain
    }
}
