import CertsCore
import CertsCrypto
import CertsEngine
import CertsHAProxy
import CertsIssuers
import CertsStore
import Foundation
import Logging

/// The one place where everything is put together: declarations, state, issuers, targets, engine.
struct Assembly {
    let declarations: Declarations
    let state: StateDirectory
    let database: Database
    let engine: RotationEngine
    let logger: Logger

    /// - Parameters:
    ///   - create: make the state directory if it is not there yet.
    ///   - progress: told of every step of every rotation.
    ///   - pulse: called after each piece of work.
    static func make(
        _ options: GlobalOptions, logLevel: Logger.Level = .error, create: Bool = true,
        progress: @escaping @Sendable (Rotation) -> Void = { _ in }, pulse: @escaping @Sendable () -> Void = {}
    ) async throws -> Assembly {
        let declarations = try ConfigurationFile.load(path: options.configurationPath)
        let state = try await StateDirectory.open(at: declarations.stateDirectory, create: create)
        let database = try await Database.open(in: state)
        let logger = options.logger(default: logLevel)
        let prober = HandshakeProber()
        let faults = FaultPoints(ProcessInfo.processInfo.environment["CERTS_FAULT"])
        let requests = IssuerRequests(declarations.issuers.filter(\.isAskedOverTheNetwork).map(\.name))
        var context = EngineContext(
            declarations: declarations,
            issuers: try Dictionary(
                uniqueKeysWithValues: declarations.issuers.map {
                    ($0.name, try issuer($0, files: state, requests: requests, faults: faults, logger: logger))
                }),
            targets: Dictionary(
                uniqueKeysWithValues: declarations.targets.flatMap(\.nodes).map {
                    ($0.id, TargetFactory.make($0, files: state.liveFiles, prober: prober, logger: logger))
                }),
            revisions: state, journal: database, inventory: database, schedule: database,
            quarantine: state, staples: OCSPClient(),
            makeBundle: { try CanonicalBundle.make(leaf: $0, chain: $1, key: $2) },
            faults: faults, logger: logger, progress: progress)
        context.pulse = pulse
        context.notifications = database
        context.requests = requests
        // Half of the files are left for everything else.
        context.batchLimit = max(16, ProcessLimits.openFiles / 2)
        return Assembly(
            declarations: declarations, state: state, database: database, engine: RotationEngine(context),
            logger: logger)
    }

    private static func issuer(
        _ declaration: IssuerDeclaration, files: any IssuerFiles, requests: IssuerRequests, faults: FaultPoints,
        logger: Logger
    ) throws -> any Issuer {
        switch declaration.kind {
        case .selfSigned(let validity):
            return SelfSignedIssuer(name: declaration.name, validity: validity)
        case .localCA(let policy):
            return LocalCAIssuer(name: declaration.name, policy: policy, files: files)
        case .handOff(let path):
            let anchors =
                try path.map { try CertificateReader.certificates(in: try InputFile.read($0)).map(\.der) } ?? []
            return HandOffIssuer(name: declaration.name, anchors: anchors, files: files)
        case .acme(let acme):
            let anchors =
                try acme.anchorsFile.map { try CertificateReader.certificates(in: try InputFile.read($0)).map(\.der) }
                ?? []
            return ACMEIssuer(
                name: declaration.name, declaration: acme, anchors: anchors, files: files, requests: requests,
                faults: faults,
                logger: logger)
        }
    }

    /// The declaration of a certificate that the user named.
    func declaration(_ name: String) throws -> CertificateDeclaration {
        guard let found = declarations.certificates.first(where: { $0.name.rawValue == name }) else {
            let known = declarations.certificates.prefix(20).map(\.name.rawValue).joined(separator: ", ")
            throw CertsError(
                .nameUnknown, "no certificate named '\(name)' is declared",
                hint: known.isEmpty ? "declare one in the configuration" : "declared: \(known)")
        }
        return found
    }
}
