import CertsCore
import CertsCrypto
import CertsStore
import CertsTesting
import Foundation
import Logging

@testable import CertsIssuers

/// A state directory, an ACME server, and the issuers that tests make for them.
struct ACMEScene: Sendable {
    let directory: TemporaryDirectory
    let state: StateDirectory

    init() async throws {
        directory = try TemporaryDirectory()
        state = try await StateDirectory.open(at: directory.path + "/state", create: true)
    }

    /// An issuer as a new process would have it: nothing is remembered but what is on disk.
    func issuer(
        _ server: any ACMEServer, files: (any IssuerFiles)? = nil, solvers: [any ChallengeSolver] = [IdleSolver()],
        _ change: (inout ACMEDeclaration) -> Void = { _ in }
    ) throws -> ACMEIssuer {
        var declaration = ACMEDeclaration(
            directory: server.directoryURL, caFile: server.caFile, contact: ["mailto:ops@example.com"],
            acceptTerms: true)
        change(&declaration)
        return ACMEIssuer(
            name: try Name("ca"), declaration: declaration, anchors: [], files: files ?? state,
            logger: Logger(label: "tests", factory: { _ in SwiftLogNoOpLogHandler() }), solvers: solvers)
    }

    /// Starts Pebble, and ends it after the body.
    func withPebble<Result>(
        _ options: Pebble.Options = .init(isAlwaysValid: true), _ body: (Pebble) async throws -> Result
    ) async throws -> Result {
        let pebble = try await Pebble.start(in: directory, options)
        defer { pebble.stop() }
        return try await body(pebble)
    }

    static func request(
        _ key: PrivateKey, _ names: [AlternativeName] = [.dns("messenger.example.com")],
        certificate: String = "messenger",
        rotation: String = "1", replacing: Data? = nil
    ) throws -> IssuanceRequest {
        let declaration = CertificateDeclaration(
            name: try Name(certificate), subject: Subject(commonName: "messenger.example.com"), names: names,
            issuer: try Name("ca"))
        let csr = try CertificateRequest.make(subject: declaration.subject, names: names, key: key)
        return IssuanceRequest(
            declaration: declaration, rotation: rotation, csr: csr.der, key: try key.pem(), resuming: nil,
            replacing: replacing, now: Date(), save: { _ in })
    }
}

/// What an issuer has to know of a server.
protocol ACMEServer {
    var directoryURL: String { get }
    var caFile: String { get }
}

extension Pebble: ACMEServer {}
extension ScriptedCA: ACMEServer {}
extension ACMEToCertifier: ACMEServer {}

extension ACMEIssuer {
    /// The chain, where nothing else is expected.
    func chain(_ request: IssuanceRequest) async throws -> [Certificate] {
        switch try await issue(request) {
        case .issued(let chain): try chain.map { try Certificate(der: $0) }
        case .pending: throw CertsError(.issuerPending, "the CA has not answered")
        }
    }
}

/// For a server that takes every answer: shows nothing.
struct IdleSolver: ChallengeSolver {
    var type: ChallengeType = .http01

    func isMeant(for identifier: AlternativeName, isWildcard: Bool) -> Bool { true }
    func present(_ proof: ChallengeProof) async throws {}
    func check(_ proof: ChallengeProof) async throws {}
    func remove(_ proof: ChallengeProof) async throws {}
}
