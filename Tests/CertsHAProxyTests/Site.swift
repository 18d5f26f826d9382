import CertsCore
import CertsCrypto
import CertsTesting
import Foundation
import Logging

@testable import CertsHAProxy

/// A directory with a bundle in it that HAProxy serves, and what a test needs to replace it.
final class Site: Sendable {
    static let host = "www.example.com"
    static let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

    let directory: TemporaryDirectory
    let pki: TestPKI
    let files = ScratchFiles()
    let path: String
    /// What is live before the test begins.
    let first: StagedBundle

    /// - Parameter file: the name of the bundle in the directory.
    init(file: String = "certs/server.pem") throws {
        directory = try TemporaryDirectory(prefix: "hap")
        pki = try TestPKI()
        path = directory.path(file)
        try FileManager.default.createDirectory(
            atPath: URL(filePath: path).deletingLastPathComponent().path, withIntermediateDirectories: true)
        first = try Self.bundle(1, pki)
        try first.pem.withBytes { Data($0) }.write(to: URL(filePath: path))
        chmod(path, 0o640)
    }

    func bundle(_ revision: Int, names: [String] = [Site.host], chainCopies: Int = 1) throws -> StagedBundle {
        try Self.bundle(revision, pki, names: names, chainCopies: chainCopies)
    }

    /// Of another certificate, or with another key.
    func bundle(
        _ certificate: String, names: [String], algorithm: KeyAlgorithm = .ecdsaP256, chainCopies: Int = 1
    ) throws -> StagedBundle {
        let leaf = try pki.leaf(names, algorithm: algorithm)
        let chain = Array(repeating: pki.intermediate.certificate, count: chainCopies)
        return StagedBundle(
            certificate: try Name(certificate), revision: 1,
            pem: try CanonicalBundle.make(leaf: leaf.certificate, chain: chain, key: try leaf.key.pem()),
            leaf: leaf.certificate.record, fingerprint: leaf.certificate.fingerprint, names: names.map { .dns($0) })
    }

    private static func bundle(
        _ revision: Int, _ pki: TestPKI, names: [String] = [Site.host], chainCopies: Int = 1
    ) throws -> StagedBundle {
        let leaf = try pki.leaf(names)
        let chain = Array(repeating: pki.intermediate.certificate, count: chainCopies)
        return StagedBundle(
            certificate: try Name("messenger"), revision: revision,
            pem: try CanonicalBundle.make(leaf: leaf.certificate, chain: chain, key: try leaf.key.pem()),
            leaf: leaf.certificate.record, fingerprint: leaf.certificate.fingerprint,
            names: names.map { IPAddress($0).map(AlternativeName.ip) ?? .dns($0) })
    }

    func target(
        _ reload: ReloadMethod, fallback: ReloadMethod? = nil, list: ListDeclaration? = nil, port: Int,
        validate: CertsCore.CommandLine? = nil, serverName: String? = Site.host, within: Duration = .seconds(10),
        reply: Duration = .seconds(5), prober: any Prober = HandshakeProber()
    ) throws -> any DeploymentTarget {
        var declaration = try NodeDeclaration(
            name: "loadbalancer", bundle: path, reload: reload,
            endpoints: [Endpoint(host: "127.0.0.1", port: port, serverName: serverName)], verifyWithin: within,
            validate: validate)
        (declaration.fallback, declaration.list) = (fallback, list)
        return target(declaration, reply: reply, prober: prober)
    }

    func target(
        _ declaration: NodeDeclaration, reply: Duration = .seconds(5), prober: any Prober = HandshakeProber()
    ) -> any DeploymentTarget {
        TargetFactory.make(
            declaration, files: files, proof: EndpointProof(prober: prober, pause: .milliseconds(20)),
            limits: TargetLimits(
                reply: reply, lock: .seconds(5), connect: .milliseconds(500), knownLists: .seconds(3600)),
            logger: Self.logger)
    }

    /// With a reloader that a declaration cannot make.
    func reloadTarget(
        _ method: ReloadMethod, _ reloader: any Reloader, port: Int, within: Duration = .seconds(10)
    ) throws -> any DeploymentTarget {
        ReloadTarget(
            try NodeDeclaration(
                name: "loadbalancer", bundle: path, reload: method,
                endpoints: [Endpoint(host: "127.0.0.1", port: port, serverName: Site.host)], verifyWithin: within),
            method: method, reloader: reloader, files: files,
            proof: EndpointProof(prober: HandshakeProber(), pause: .milliseconds(20)), limits: TargetLimits(),
            logger: Self.logger)
    }

    /// What is in the live file.
    var onDisk: Data { (try? Data(contentsOf: URL(filePath: path))) ?? Data() }
    var modeOnDisk: UInt16 {
        var status = stat()
        return stat(path, &status) == 0 ? UInt16(status.st_mode & 0o7777) : 0
    }

    /// What one fresh handshake shows.
    static func served(_ port: Int, serverName: String? = Site.host) async throws -> Fingerprint {
        try await HandshakeProber().probe(
            Endpoint(host: "127.0.0.1", port: port, serverName: serverName), as: ClientProfile(), deadline: .seconds(5)
        ).fingerprint
    }
}

extension Secret {
    var data: Data { withBytes { Data($0) } }
}

/// The code of the error that `body` throws.
func code(_ body: () async throws -> Void) async -> CertsError.Code? {
    await error(body)?.code
}

/// The error that `body` throws.
func error(_ body: () async throws -> Void) async -> CertsError? {
    do {
        try await body()
        return nil
    } catch {
        return CertsError.wrapping(error)
    }
}
