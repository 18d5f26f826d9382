import CertsCore
import CertsCrypto
import Foundation

/// Shakes hands from outside, as a CA would (RFC 8737 §3): one protocol, the server name, and a look at the certificate.
struct ALPNCheck: Sendable {
    private let selfCheck: SelfCheck
    /// The address that we should listen on and another process has.
    private let isElsewhere: @Sendable () -> SocketAddress?

    /// Of one handshake.
    private static let patience: TimeInterval = 10

    init(_ selfCheck: SelfCheck, isElsewhere: @escaping @Sendable () -> SocketAddress? = { nil }) {
        self.selfCheck = selfCheck
        self.isElsewhere = isElsewhere
    }

    private struct Miss: Error {
        let what: String
        let remedy: String
    }

    /// Looks until the proof is seen.
    /// - Throws: `issuer.challengeFailed` when the time is over, with what was seen last; `cancelled`.
    func run(_ proof: ChallengeProof) async throws {
        let clock = ContinuousClock()
        let end = clock.now + .seconds(selfCheck.timeout)
        var pause = Duration.milliseconds(50)
        while true {
            // The last look gets a moment as well: "timed out" would hide what is seen there.
            let left = max(2, (end - clock.now) / .seconds(1))
            let miss: Miss
            do {
                try await look(for: proof, within: min(Self.patience, left))
                return
            } catch let error as Miss {
                miss = error
            }
            guard clock.now + pause < end else { throw failure(proof, miss) }
            do { try await clock.sleep(for: pause) } catch { throw CertsError.wrapping(error) }
            pause = min(pause * 2, .seconds(1))
        }
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
            throw Miss(
                what: error.message,
                remedy:
                    "\(error.hint ?? "check the way there"); the CA comes to port \(port) of each address of the name")
        }
        let routing =
            "route connections with the protocol \(ChallengeCertificate.applicationProtocol) to `certs`; "
            + "`certs acme haproxy-rules ISSUER` prints the rules for HAProxy"
        guard seen.applicationProtocol == ChallengeCertificate.applicationProtocol else {
            throw Miss(
                what: "\(seen.address) does not speak the protocol \(ChallengeCertificate.applicationProtocol)",
                remedy: routing)
        }
        if let objection = ChallengeCertificate.objection(
            to: seen.leaf, for: proof.identifier, digest: proof.digest)
        {
            throw Miss(
                what: "\(seen.address) shows a certificate that no CA takes as a proof: \(objection)", remedy: routing)
        }
    }

    private func failure(_ proof: ChallengeProof, _ miss: Miss) -> CertsError {
        let elsewhere = isElsewhere().map {
            "; \($0) is in use: by another `certs` that answers for us as well, or by a stranger (`ss -ltnp`)"
        }
        return CertsError(
            .challengeFailed,
            "the answer to the challenge tls-alpn-01 of \(proof.identifier.value) is not seen from outside: \(miss.what)",
            subject: proof.identifier.value, hint: miss.remedy + (elsewhere ?? ""), retry: .later)
    }
}
