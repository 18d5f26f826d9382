import CertsCore
import CertsCrypto
import Foundation

/// Shakes hands from outside, as a CA would (RFC 8737 §3): one protocol, the server name, and a look at the certificate.
struct ALPNCheck: Sendable {
    private let outside: OutsideLook
    private var selfCheck: SelfCheck { outside.selfCheck }

    init(_ selfCheck: SelfCheck, isElsewhere: @escaping @Sendable () -> SocketAddress? = { nil }) {
        outside = OutsideLook(selfCheck: selfCheck, isElsewhere: isElsewhere)
    }

    /// Looks until the proof is seen.
    /// - Throws: as ``OutsideLook``.
    func run(_ proof: ChallengeProof) async throws {
        try await outside(for: proof) { try await look(for: proof, within: $0) }
    }

    private func look(for proof: ChallengeProof, within seconds: TimeInterval) async throws {
        let port = selfCheck.port ?? 443
        let probe = TLSProbe(
            host: selfCheck.address?.address.description ?? proof.identifier.value,
            port: selfCheck.address?.port ?? port, serverName: ChallengeCertificate.serverName(for: proof.identifier),
            deadline: .seconds(seconds), applicationProtocols: [ChallengeCertificate.applicationProtocol])
        let seen: ProbeResult
        do {
            seen = try await BlockingPool.network.run { try probe.run() }
        } catch {
            let error = CertsError.wrapping(error)
            throw ProofMiss(
                what: error.message,
                remedy:
                    "\(error.hint ?? "check the way there"); the CA comes to port \(port) of each address of the name")
        }
        let routing =
            "route connections with the protocol \(ChallengeCertificate.applicationProtocol) to `certs`; "
            + "`certs acme haproxy-rules ISSUER` prints the rules for HAProxy"
        guard seen.applicationProtocol == ChallengeCertificate.applicationProtocol else {
            throw ProofMiss(
                what: "\(seen.address) does not speak the protocol \(ChallengeCertificate.applicationProtocol)",
                remedy: routing)
        }
        if let objection = ChallengeCertificate.objection(
            to: seen.leaf, for: proof.identifier, digest: proof.digest)
        {
            throw ProofMiss(
                what: "\(seen.address) shows a certificate that no CA takes as a proof: \(objection)", remedy: routing)
        }
    }
}
