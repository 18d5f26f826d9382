import CertsCore
import CertsCrypto
import CertsTesting
import Foundation
import Synchronization
import Testing

/// One host: a HAProxy that serves a first certificate for `messenger.example.com` (and another one by default), a
/// `certs.yml`, and the program.
///
/// Everything is in one directory (0700): `certs.yml`, `state/`, `certs/server.pem` (the bundle of the target
/// `loadbalancer`), `certs/default.pem`.
final class RotationScene: Sendable {
    /// What differs between scenes; `DIR` in it stands for the directory.
    struct Setting: Sendable {
        var issuers = "local: { type: local-ca, commonName: Scene CA, validity: 90d }"
        var issuer = "local"
        var reload = "{ method: runtime, socket: DIR/admin.sock }"
        var key = "ecdsa-p256"
        var isMaster = false
        /// More lines at the end of the configuration.
        var more = ""
        /// `nil`: the port of HAProxy.
        var endpointPort: Int?
    }

    static let name = "messenger.example.com"

    let directory: TemporaryDirectory
    let setting: Setting
    let pki: TestPKI
    let balancer: Balancer
    /// The first certificate and the default one.
    let first: TestPKI.Identity
    let standard: TestPKI.Identity

    var bundle: String { directory.path("certs/server.pem") }
    var state: String { directory.path("state") }
    var configuration: String { directory.path("certs.yml") }

    private init(_ setting: Setting) throws {
        self.setting = setting
        directory = try TemporaryDirectory(prefix: "certs-e2e")
        pki = try TestPKI()
        first = try pki.selfSigned([Self.name])
        standard = try pki.selfSigned(["default.example.net"])
        try FileManager.default.createDirectory(atPath: directory.path("certs"), withIntermediateDirectories: false)
        try directory.write(try first.bundle(chain: []), to: "certs/server.pem")
        try directory.write(try standard.bundle(chain: []), to: "certs/default.pem")
        chmod(directory.path("certs/server.pem"), 0o640)
        balancer = try Balancer(
            in: directory, crt: [directory.path("certs/default.pem"), directory.path("certs/server.pem")],
            isMaster: setting.isMaster)
        try writeConfiguration()
    }

    /// - Parameter serves: whether HAProxy is started.
    static func make(_ setting: Setting = Setting(), serves: Bool = true) async throws -> RotationScene {
        let scene = try await blocking.run { try RotationScene(setting) }
        if serves { try await scene.balancer.start() }
        return scene
    }

    /// Writes `certs.yml`; `change` replaces its text first.
    func writeConfiguration(_ change: (String) -> String = { $0 }) throws {
        let text = """
            version: 1
            state: ./state
            issuers:
              \(setting.issuers)
            certificates:
              - name: messenger
                subject: { commonName: \(Self.name), organization: SilentRelay, country: US }
                dnsNames: [\(Self.name)]
                key: { algorithm: \(setting.key) }
                issuer: \(setting.issuer)
                targets: [loadbalancer]
            targets:
              - name: loadbalancer
                type: haproxy
                bundle: ./certs/server.pem
                reload: \(setting.reload)
                endpoints: [ { address: "127.0.0.1:\(setting.endpointPort ?? balancer.port)", serverName: \(Self.name) } ]
            \(setting.more)
            """
        try directory.write(change(text.replacingOccurrences(of: "DIR", with: directory.path)), to: "certs.yml")
    }

    // MARK: The program

    /// The program beside the bundle of the tests.
    static var executable: String {
        let tests =
            Bundle.allBundles.map(\.bundlePath).first { $0.hasSuffix(".xctest") }
            ?? Bundle.main.executableURL?.path ?? ProcessInfo.processInfo.arguments[0]
        return URL(fileURLWithPath: tests).resolvingSymlinksInPath().deletingLastPathComponent().appending(
            path: "certs"
        ).path
    }

    func program(_ arguments: [String], fault: String? = nil) -> Program {
        Self.program(arguments + (Self.isWithoutConfiguration(arguments) ? [] : ["--config", configuration]), fault)
    }

    static func program(_ arguments: [String], _ fault: String? = nil) -> Program {
        Program(arguments: [executable] + arguments, environment: fault.map { ["CERTS_FAULT": $0] } ?? [:])
    }

    private static func isWithoutConfiguration(_ arguments: [String]) -> Bool {
        ["inspect", "verify"].contains(arguments.first ?? "")
    }

    @discardableResult
    func certs(_ arguments: String..., fault: String? = nil) async throws -> Program.Outcome {
        try await program(arguments, fault: fault).run()
    }

    /// Runs it and expects the exit code.
    @discardableResult
    func certs(
        _ arguments: String..., exits status: Int32, fault: String? = nil,
        sourceLocation: SourceLocation = #_sourceLocation
    ) async throws -> Program.Outcome {
        let outcome = try await program(arguments, fault: fault).run()
        #expect(outcome.status == status, "certs \(arguments): \(outcome.all)", sourceLocation: sourceLocation)
        return outcome
    }

    func status() async throws -> StatusDocument.Certificate {
        let outcome = try await certs("status", "messenger", "-o", "json")
        return try #require(try decoded(StatusDocument.self, outcome).certificates.first)
    }

    func history() async throws -> [HistoryDocument.Rotation] {
        try decoded(HistoryDocument.self, try await certs("history", "messenger", "-o", "json")).rotations
    }

    func decoded<Document: Decodable>(_: Document.Type, _ outcome: Program.Outcome) throws -> Document {
        try outcome.decoded()
    }

    // MARK: What is live

    /// SHA-256 of the leaf that a fresh handshake shows.
    func served(_ serverName: String = name) async throws -> String {
        let port = balancer.port
        return try await blocking.run {
            try TLSProbe(host: "127.0.0.1", port: port, serverName: serverName).run().leaf.record.sha256
        }
    }

    /// The same, asked by the `openssl` program.
    func servedByOpenSSL() async throws -> String {
        let text = try await tool(
            "/bin/sh", "-c",
            "openssl s_client -connect 127.0.0.1:\(balancer.port) -servername \(Self.name) </dev/null 2>/dev/null "
                + "| openssl x509 -noout -fingerprint -sha256")
        return text.drop { $0 != "=" }.dropFirst().filter { $0 != ":" && !$0.isWhitespace }.lowercased()
    }

    /// The leaf of the bundle on disk.
    func onDisk() throws -> Certificate {
        let bytes = try Data(contentsOf: URL(filePath: bundle))
        return try #require(try CertificateReader.certificates(in: bytes).first)
    }

    func mode(_ path: String) throws -> Int {
        let attributes = try FileManager.default.attributesOfItem(atPath: path)
        return try #require(attributes[.posixPermissions] as? Int)
    }
}

/// Watches what is served while something else happens: every fingerprint that was ever seen.
final class Watch: Sendable {
    private struct State {
        var seen: Set<String> = []
        var count = 0
        var failures: [String] = []
        var isOver = false
        var hasEnded = false
    }
    private let state = Mutex(State())

    init(port: Int) {
        let thread = Thread { [self] in
            while !state.withLock({ $0.isOver }) {
                do {
                    let leaf = try TLSProbe(host: "127.0.0.1", port: port, serverName: RotationScene.name).run().leaf
                    state.withLock {
                        $0.seen.insert(leaf.record.sha256)
                        $0.count += 1
                    }
                } catch {
                    state.withLock { $0.failures.append("\(error)") }
                }
                usleep(5000)
            }
            state.withLock { $0.hasEnded = true }
        }
        thread.start()
    }

    /// What was seen until now, and from now on.
    func reset() { state.withLock { ($0.seen, $0.count, $0.failures) = ([], 0, []) } }
    var seen: Set<String> { state.withLock { $0.seen } }
    var count: Int { state.withLock { $0.count } }
    var failures: [String] { state.withLock { $0.failures } }

    func end() async throws {
        state.withLock { $0.isOver = true }
        _ = try await eventually { self.state.withLock { $0.hasEnded } }
    }
}
