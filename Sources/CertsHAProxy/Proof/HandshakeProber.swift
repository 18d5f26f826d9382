package import CertsCore
import CertsCrypto

/// Probes with OpenSSL, on threads of its own.
package struct HandshakeProber: Prober {
    package init() {}

    package func probe(_ endpoint: Endpoint, serverName: String?, deadline: Duration) async throws -> ServedCertificate
    {
        let probe = TLSProbe(host: endpoint.host, port: endpoint.port, serverName: serverName, deadline: deadline)
        let result = try await BlockingPool.network.run { try probe.run() }
        return ServedCertificate(
            chainDER: result.chain.map(\.der), fingerprint: result.leaf.fingerprint,
            subject: result.leaf.record.subject,
            notAfter: result.leaf.record.notAfter)
    }
}
