package import Foundation

/// Looks at what an endpoint serves, by one fresh handshake; implemented in CertsHAProxy on the probe of CertsCrypto.
package protocol Prober: Sendable {
    /// One TCP connection and one full handshake, never a resumed one: a resumed session shows the old certificate.
    ///
    /// - Parameters:
    ///   - endpoint: its server name is the SNI to send; `nil` sends none.
    ///   - client: the TLS versions and key types that are offered.
    ///   - deadline: for everything together.
    /// - Throws: `probe.unreachable` without a connection, `probe.failed` without a handshake, `probe.timeout`.
    func probe(_ endpoint: Endpoint, as client: ClientProfile, deadline: Duration) async throws -> ServedCertificate

    /// The same with many endpoints, as a client that takes any certificate: for who only wants to see what is sent.
    ///
    /// - Parameters:
    ///   - width: how many handshakes are under way at the same time.
    ///   - deadline: for each handshake.
    ///   - seen: called once for each endpoint, with its index, when its handshake has ended; on any thread, and several at
    ///     the same time. It may compute, and must not wait.
    func look(
        at endpoints: [Endpoint], width: Int, deadline: Duration,
        seen: @escaping @Sendable (Int, Result<SentChain, CertsError>) -> Void) async
}

extension Prober {
    package func look(
        at endpoints: [Endpoint], width: Int, deadline: Duration,
        seen: @escaping @Sendable (Int, Result<SentChain, CertsError>) -> Void
    ) async {
        _ = await concurrently(Array(endpoints.enumerated()), width: width) { (index, endpoint) in
            do {
                let served = try await probe(endpoint, as: ClientProfile(), deadline: deadline)
                seen(index, .success(SentChain(certificates: served.chainDER, staple: served.staple)))
            } catch {
                seen(index, .failure(CertsError.wrapping(error)))
            }
        }
    }
}

/// What a server sent in one handshake, not decoded.
package struct SentChain: Sendable, Hashable {
    /// DER, leaf first; never empty.
    package let certificates: [Data]
    /// The OCSP response that was stapled, DER.
    package let staple: Data?

    package init(certificates: [Data], staple: Data?) {
        self.certificates = certificates
        self.staple = staple
    }
}

/// What one handshake showed. The chain is as it was sent: nothing of it has been verified.
package struct ServedCertificate: Sendable, Hashable {
    /// DER, leaf first.
    package let chainDER: [Data]
    /// Of the leaf.
    package let fingerprint: Fingerprint
    /// Of the leaf, RFC 4514; sanitize before printing.
    package let subject: String
    /// Of the leaf.
    package let notAfter: Date
    /// The OCSP response that was stapled, DER.
    package let staple: Data?

    package init(chainDER: [Data], fingerprint: Fingerprint, subject: String, notAfter: Date, staple: Data? = nil) {
        self.chainDER = chainDER
        self.fingerprint = fingerprint
        self.subject = subject
        self.notAfter = notAfter
        self.staple = staple
    }
}
