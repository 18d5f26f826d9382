package import CertsCore
import CertsCrypto
import Synchronization

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

    /// For looks at many endpoints: their dead ones must not hold up the proof of a rotation.
    private static let looking = BlockingPool(name: "certs.looking", width: 32)

    /// Each thread takes one endpoint after the other: a handshake is shorter than the way of a task to a thread and back.
    package func look(
        at endpoints: [Endpoint], width: Int, deadline: Duration,
        seen: @escaping @Sendable (Int, Result<SentChain, CertsError>) -> Void
    ) async {
        let queue = Queue()
        await withTaskGroup(of: Void.self) { group in
            for _ in 0..<min(width, endpoints.count) {
                group.addTask {
                    try? await Self.looking.run {
                        while let index = queue.next(of: endpoints.count) {
                            seen(index, Self.sent(by: endpoints[index], deadline))
                        }
                    }
                }
            }
        }
    }

    private static func sent(by endpoint: Endpoint, _ deadline: Duration) -> Result<SentChain, CertsError> {
        let probe = TLSProbe(
            host: endpoint.host, port: endpoint.port, serverName: endpoint.serverName, deadline: deadline)
        do throws(CertsError) {
            return .success(try probe.sentChain())
        } catch {
            return .failure(error)
        }
    }

    /// What has not been taken yet.
    private final class Queue: Sendable {
        private let taken = Atomic<Int>(0)

        func next(of count: Int) -> Int? {
            let index = taken.wrappingAdd(1, ordering: .relaxed).oldValue
            return index < count ? index : nil
        }
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
