package import CertsCore
import CertsCrypto
package import Foundation
package import Logging

/// Certificates from an ACME CA (RFC 8555).
///
/// One value for each issuer: the session with its connections and nonces, the account and the solvers are shared by all
/// certificates that are asked for side by side.
package struct ACMEIssuer: Issuer {
    package let name: Name
    let declaration: ACMEDeclaration
    let anchors: [Data]
    let files: any IssuerFiles
    let logger: Logger
    let session: ACMESession
    let accounts: AccountKeeper
    let solvers: [any ChallengeSolver]
    private let proofUsers = ProofUsers()
    let limiter: IssuanceLimiter
    let faults: FaultPoints

    /// As many identifiers as the CAs take in one order.
    private static let nameLimit = 100

    /// - Parameters:
    ///   - anchors: DER of the roots that what it issues must chain to; empty: not checked.
    ///   - requests: where its requests are counted.
    package init(
        name: Name, declaration: ACMEDeclaration, anchors: [Data], files: any IssuerFiles,
        requests: IssuerRequests? = nil, faults: FaultPoints = .none, logger: Logger
    ) {
        self.init(
            name: name, declaration: declaration, anchors: anchors, files: files, requests: requests, faults: faults,
            logger: logger, solvers: ChallengeSolvers.make(declaration, files: files, logger: logger))
    }

    /// - Parameter solvers: in order of preference.
    init(
        name: Name, declaration: ACMEDeclaration, anchors: [Data], files: any IssuerFiles,
        requests: IssuerRequests? = nil, faults: FaultPoints = .none, logger: Logger, solvers: [any ChallengeSolver]
    ) {
        self.name = name
        self.declaration = declaration
        self.anchors = anchors
        self.files = files
        self.logger = logger
        self.solvers = solvers
        self.faults = faults
        session = ACMESession(
            issuer: name, directoryURL: declaration.directory, caFile: declaration.caFile, requests: requests)
        limiter = IssuanceLimiter(issuer: name, limits: declaration.limits, files: files)
        accounts = AccountKeeper(session: session, declaration: declaration, files: files, limiter: limiter)
    }

    package func trustAnchors() async throws -> [Data] { anchors }

    package func issue(_ request: IssuanceRequest) async throws -> IssuanceOutcome {
        try await told(request.declaration.names) {
            let identifiers = try identifiers(request.declaration)
            let csr = try plainRequest(request)
            try await admitValidations(request)
            return try await withAccount { account in
                let records = OrderRecords(
                    files: files, certificate: request.declaration.name, keyType: try keyType(request),
                    faults: faults)
                let work = OrderWork(
                    session: session, account: account, declaration: declaration, request: request,
                    identifiers: identifiers, csr: csr, records: records,
                    authorizations: AuthorizationWork(
                        session: session, account: account, solvers: solvers, users: proofUsers, logger: logger),
                    logger: logger,
                    validationFailed: { try? await limiter.recordFailedValidation($0, now: request.now) },
                    accountHasChanged: { try await accounts.successor(of: account) != nil })
                return try await work.run {
                    try await checkCAA(request.declaration.names, account)
                    return try await permit(request)
                }
            }
        }
    }

    // MARK: Parts

    /// What the server said, as the product's error; a limit that it names is kept for all processes.
    ///
    /// - Parameter names: what was asked for.
    func told<Result>(_ names: [AlternativeName]? = nil, _ body: () async throws -> Result) async throws -> Result {
        do {
            return try await body()
        } catch let failure as ACMEFailure {
            if failure.isLimit, let until = failure.retryAt, let names {
                try? await limiter.blockUntil(until, names: failure.limitedNames(among: names), now: Date())
            }
            throw failure.certsError(name)
        }
    }

    // MARK: Limits

    /// The time before which no new order is made, if the limits say so; otherwise one is taken from them.
    private func permit(_ request: IssuanceRequest) async throws -> (until: Date, because: String)? {
        switch try await limiter.reserveOrder(names: request.declaration.names, kind: request.kind, now: request.now) {
        case .granted: return nil
        case .wait(let until, let reason):
            logger.notice(
                "waiting for the limits of the CA: \(reason)",
                metadata: ["certificate": "\(request.declaration.name)", "until": "\(until)"])
            return (until, reason)
        }
    }

    private func admitValidations(_ request: IssuanceRequest) async throws {
        guard declaration.limits.failedValidations != nil else { return }
        for asked in request.declaration.names {
            guard case .wait(let until, let reason) = try await limiter.canValidate(asked, now: request.now) else {
                continue
            }
            throw CertsError(
                .issuerLimited, "the CA would not look at \(asked.value) again: \(reason)", subject: name.rawValue,
                hint: "mend the path of the challenge meanwhile (`certs check --live`)", retry: .after(until))
        }
    }

    /// With the account; once more where another process has changed it meanwhile, or the CA does not know it any longer.
    func withAccount<Result>(_ body: (ActiveAccount) async throws -> Result) async throws -> Result {
        let account = try await accounts.account()
        do {
            return try await body(account)
        } catch let failure as ACMEFailure where failure.mayBeAboutAccount {
            if let successor = try await accounts.successor(of: account) {
                logger.notice("the account was changed by another process", metadata: ["issuer": "\(name)"])
                return try await body(successor)
            }
            guard failure.kind == .accountDoesNotExist else { throw failure }
            logger.notice(
                "the CA does not know the account any longer; it is looked for by its key, and made again",
                metadata: ["issuer": "\(name)"])
            try await accounts.forgetURL()
            return try await body(try await accounts.account())
        }
    }

    private func identifiers(_ declaration: CertificateDeclaration) throws -> [Identifier] {
        let identifiers = declaration.names.compactMap(Identifier.init)
        guard identifiers.count == declaration.names.count, !identifiers.isEmpty else {
            throw CertsError(
                .nameInvalid, "an ACME CA certifies DNS names and IP addresses only",
                subject: declaration.name.rawValue, hint: "take the other names out of the certificate")
        }
        guard identifiers.count <= Self.nameLimit else {
            throw CertsError(
                .nameInvalid, "\(identifiers.count) names are too many for one order; \(Self.nameLimit) are allowed",
                subject: declaration.name.rawValue, hint: "declare several certificates")
        }
        return identifiers
    }

    /// The request as CAs of the web take it: the names alone, no subject (CA/Browser Forum BR §7.1.2.7).
    private func plainRequest(_ request: IssuanceRequest) throws -> CertificateRequest {
        let csr = try CertificateRequest(der: request.csr)
        guard !csr.subject.isEmpty else { return csr }
        return try CertificateRequest.make(
            subject: Subject(), names: request.declaration.names, key: try PrivateKey(pem: request.key))
    }

    private func keyType(_ request: IssuanceRequest) throws -> String {
        try PrivateKey(pem: request.key).algorithm?.keyType.rawValue ?? "other"
    }
}
