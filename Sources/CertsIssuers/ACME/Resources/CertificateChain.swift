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
            let other = try chain(try await read(alternate, as: signer, accepting: Self.chainType))
            if wish.isFulfilled(by: other) { return (other, true) }
        }
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
    func isFulfilled(by chain: [Certificate]) -> Bool {
        switch self {
        case .rootName(let name): chain.contains { $0.record.issuerCommonName == name }
        case .fingerprint(let fingerprint): chain.contains { $0.fingerprint == fingerprint }
        }
    }
}

/// The order that TLS and everything after it expects.
enum ChainOrder {
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
