import CertsCore
import CertsDNS
import Foundation
import Logging

extension ACMEIssuer {
    /// The resolver for what a CA would look up: the one of a `dns-…` challenge, or the system's.
    func resolver() throws(CertsError) -> Resolver {
        let declared = declaration.challenges.lazy.compactMap { challenge -> SocketAddress? in
            switch challenge.method {
            case .dns01(_, let propagation), .dnsAccount01(_, let propagation), .dnsPersist01(_, let propagation):
                propagation.resolver
            case .http01, .tlsALPN01: nil
            }
        }.first
        return try Resolver(server: declared)
    }

    /// Refuses what the CA would refuse because of CAA records (RFC 8659, RFC 8657): it would cost an order.
    ///
    /// Only where the CA says by which names it knows itself. What cannot be looked up from here is left to the CA.
    func checkCAA(_ names: [AlternativeName], _ account: ActiveAccount) async throws {
        let domains = try await session.directory().meta?.caaIdentities ?? []
        guard !domains.isEmpty, let resolver = try? resolver() else { return }
        let refusals = await CAACheck(resolver: resolver).findings(
            for: names, issuerDomains: domains, accountURL: account.url,
            methods: { declaration.challengeTypes(for: $0) })
        for refusal in refusals where refusal.isPassing {
            logger.notice("\(TerminalText.sanitized(refusal.message))", metadata: ["issuer": "\(name)"])
        }
        if let error = CAARefusal.error(refusals.filter { !$0.isPassing }, issuer: name.rawValue) { throw error }
    }
}
