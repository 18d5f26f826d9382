package import CertsCore
import CertsCrypto

/// Probes with OpenSSL, on threads of its own.
package struct HandshakeProber: Prober {
    package init() {}

    package func probe(_ endpoint: Endpoint, as client: ClientProfile, deadline: Duration) async throws
        -> ServedCertificate
    {
        let probe = TLSProbe(
            host: endpoint.host, port: endpoint.port, serverName: endpoint.serverName, deadline: deadline,
            versions: client.version.offered, signatureAlgorithms: client.keyType.offered)
        let result = try await BlockingPool.network.run { try probe.run() }
        return ServedCertificate(
            chainDER: result.chain.map(\.der), fingerprint: result.leaf.fingerprint,
            subject: result.leaf.record.subject, notAfter: result.leaf.record.notAfter, staple: result.ocspStaple)
    }
}

extension ClientProfile.Version {
    fileprivate var offered: TLSProbe.Versions {
        switch self {
        case .any: .any
        case .tls12: .only12
        case .tls13: .only13
        }
    }
}

extension KeyType? {
    fileprivate var offered: TLSProbe.SignatureAlgorithms {
        switch self {
        case .rsa: .onlyRSA
        case .ecdsa: .onlyECDSA
        // Ed25519 is never one of several: a client that takes any sees it.
        case .ed25519, nil: .any
        }
    }
}
