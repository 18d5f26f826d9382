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
            logger: logger, solvers: [])
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
        accounts = AccountKeeper(session: session, declaration: declaration, files: files)
    }

    package func trustAnchors() async throws -> [Data] { anchors }

    package func issue(_ request: IssuanceRequest) async throws -> IssuanceOutcome {
        try await told {
            let identifiers = try identifiers(request.declaration)
            let csr = try plainRequest(request)
            return try await withAccount { account in
                let records = OrderRecords(
                    files: files, certificate: request.declaration.name, keyType: try keyType(request),
                    faults: faults)
                let work = OrderWork(
                    session: session, account: account, declaration: declaration, request: request,
                    identifiers: identifiers, csr: csr, records: records,
                    authorizations: AuthorizationWork(
                        session: session, account: account, solvers: solvers, logger: logger),
                    logger: logger, validationFailed: { _ in })
                return try await work.run(permit: { nil })
            }
        }
    }

    // MARK: Parts

    /// What the server said, as the product's error.
    func told<Result>(_ body: () async throws -> Result) async throws -> Result {
        do {
            return try await body()
        } catch let failure as ACMEFailure {
            throw failure.certsError(name)
        }
    }

    /// With the account; once more after the CA turned out not to know it any longer.
    func withAccount<Result>(_ body: (ActiveAccount) async throws -> Result) async throws -> Result {
        do {
            return try await body(try await accounts.account())
        } catch let failure as ACMEFailure where failure.kind == .accountDoesNotExist {
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
