import CertsCore
import CertsCrypto
import CertsEngine
import CertsStore
import CertsTesting
import Foundation
import Logging

/// An engine on a real store, with a fake issuer and fake targets, and a clock that only moves when told to.
struct EngineWorld {
    let directory: TemporaryDirectory
    let state: StateDirectory
    let database: Database
    let issuer: FakeIssuer
    let targets: [FakeTarget]
    let clock: ManualClock
    let declarations: Declarations
    static let name: Name = {
        guard let name = try? Name("messenger") else { preconditionFailure("a constant") }
        return name
    }()

    init(targets count: Int = 1, certificates: [String] = ["messenger"], validity: TimeInterval = 90 * 86400)
        async throws
    {
        directory = try TemporaryDirectory()
        clock = ManualClock()
        state = try await StateDirectory.open(at: directory.path + "/state", create: true)
        database = try await Database.open(in: state)
        issuer = try FakeIssuer(name: Name("fake"), validity: validity, now: clock.now.wall)
        let root = directory.path
        let targets = try (0..<count).map { index in
            FakeTarget(
                NodeDeclaration(
                    id: NodeID(try Name("target-\(index)")), bundle: "\(root)/{name}.pem",
                    reload: .runtime(socket: "/none"),
                    endpoints: [Endpoint(host: "127.0.0.1", port: 1000 + index, serverName: "messenger.example.com")]))
        }
        self.targets = targets
        declarations = Declarations(
            stateDirectory: state.path, issuers: [IssuerDeclaration(name: issuer.name, kind: .selfSigned(validity: 1))],
            certificates: try certificates.map {
                CertificateDeclaration(
                    name: try Name($0), names: [.dns("messenger.example.com")], issuer: try Name("fake"),
                    targets: targets.map(\.declaration.id.target))
            }, targets: targets.map { TargetDeclaration($0.declaration) })
    }

    /// An engine as a new process would make it, on the same files.
    func engine(
        faults: String? = nil, declarations: Declarations? = nil,
        progress: @escaping @Sendable (Rotation) -> Void = { _ in }
    ) -> RotationEngine {
        RotationEngine(
            EngineContext(
                declarations: declarations ?? self.declarations, issuers: [issuer.name: issuer],
                targets: Dictionary(uniqueKeysWithValues: targets.map { ($0.declaration.id, $0) }), revisions: state,
                journal: database, inventory: database, schedule: database, quarantine: state,
                makeBundle: { leaf, chain, key in
                    key.withBytes { Secret(copying: Array(([leaf] + chain).map(\.pem).joined().utf8) + $0) }
                },
                clock: { [clock] in clock.now }, faults: FaultPoints(faults),
                logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() },
                progress: progress))
    }

    func certificateState() async throws -> CertificateState? { try await database.state(of: Self.name) }

    /// The revisions of which a directory is left.
    func revisions() async throws -> [Int] { try await state.revisions(of: Self.name) }
}

extension RotationEngine.Result {
    var rotation: Rotation? {
        switch self {
        case .rotated(let rotation), .waiting(let rotation): rotation
        default: nil
        }
    }

    var error: CertsError? {
        if case .failed(_, let error) = self { return error }
        return nil
    }

    var isSkipped: Bool {
        if case .skipped = self { return true }
        return false
    }
}
