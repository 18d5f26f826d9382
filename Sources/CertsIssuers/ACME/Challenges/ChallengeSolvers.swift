import CertsCore
import Logging

/// The solvers of an issuer, as declared.
enum ChallengeSolvers {
    /// In the order of the declarations, which is the order of preference. Made once for an issuer: each order asks all of
    /// them.
    static func make(_ declaration: ACMEDeclaration, files: any IssuerFiles, logger: Logger) -> [any ChallengeSolver] {
        declaration.challenges.map { make($0, files, logger) }
    }

    private static func make(
        _ challenge: ChallengeDeclaration, _ files: any IssuerFiles, _ logger: Logger
    ) -> any ChallengeSolver {
        switch challenge.method {
        case .http01(let way):
            HTTP01Solver(way, names: challenge.names, selfCheck: challenge.selfCheck, files: files, logger: logger)
        case .tlsALPN01(let address):
            TLSALPN01Solver(
                listen: address, names: challenge.names, selfCheck: challenge.selfCheck, files: files, logger: logger)
        case .dns01(let provider, let propagation), .dnsAccount01(let provider, let propagation),
            .dnsPersist01(let provider, let propagation):
            DNSSolver(
                type: challenge.type, provider: provider, propagation: propagation, names: challenge.names,
                logger: logger)
        }
    }
}
