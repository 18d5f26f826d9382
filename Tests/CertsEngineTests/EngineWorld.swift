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
    /// Who is asked when the first fails.
    let others: [FakeIssuer]
    let targets: [FakeTarget]
    let clock: ManualClock
    let declarations: Declarations
    static let name: Name = {
        guard let name = try? Name("messenger") else { preconditionFailure("a constant") }
        return name
    }()

    /// - Parameters:
    ///   - count: how many targets each certificate goes to; with `waves`: how many nodes, `n1` on, of one target `edge`.
    ///   - reloads: whether they reload, and so share their reloads.
    init(
        targets count: Int = 1, waves: [TargetDeclaration.Wave]? = nil, reloads: Bool = false,
        certificates: [String] = ["messenger"], validity: TimeInterval = 90 * 86400, otherIssuers: [String] = []
    ) async throws {
        directory = try TemporaryDirectory()
        clock = ManualClock()
        state = try await StateDirectory.open(at: directory.path + "/state", create: true)
        database = try await Database.open(in: state)
        issuer = try FakeIssuer(name: Name("fake"), validity: validity, now: clock.now.wall)
        others = try otherIssuers.map { [clock] in
            try FakeIssuer(name: Name($0), validity: validity, now: clock.now.wall)
        }
        let otherNames = others.map(\.name)
        let root = directory.path
        let nodes = try (0..<count).map { index in
            NodeDeclaration(
                id: waves == nil
                    ? NodeID(try Name("target-\(index)")) : NodeID(try Name("edge"), node: try Name("n\(index + 1)")),
                bundle: "\(root)/{name}.pem", reload: .runtime(socket: "/none"),
                endpoints: [Endpoint(host: "127.0.0.1", port: 1000 + index, serverName: "messenger.example.com")])
        }
        targets = nodes.map { FakeTarget($0, reloads: reloads) }
        let declared =
            try waves.map { [TargetDeclaration(name: try Name("edge"), nodes: nodes, waves: $0)] }
            ?? nodes.map { TargetDeclaration($0) }
        declarations = Declarations(
            stateDirectory: state.path,
            issuers: ([issuer] + others).map { IssuerDeclaration(name: $0.name, kind: .selfSigned(validity: 1)) },
            certificates: try certificates.map {
                CertificateDeclaration(
                    name: try Name($0), names: [.dns("messenger.example.com")], issuer: try Name("fake"),
                    otherIssuers: otherNames, targets: declared.map(\.name))
            }, targets: declared)
    }

    /// An engine as a new process would make it, on the same files.
    func engine(
        faults: String? = nil, declarations: Declarations? = nil,
        logger: Logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() },
        progress: @escaping @Sendable (Rotation) -> Void = { _ in }
    ) -> RotationEngine {
        var context = EngineContext(
            declarations: declarations ?? self.declarations,
            issuers: Dictionary(uniqueKeysWithValues: ([issuer] + others).map { ($0.name, $0) }),
            targets: Dictionary(uniqueKeysWithValues: targets.map { ($0.declaration.id, $0) }), revisions: state,
            journal: database, inventory: database, schedule: database, quarantine: state,
            makeBundle: { leaf, chain, key in
                key.withBytes { Secret(copying: Array(([leaf] + chain).map(\.pem).joined().utf8) + $0) }
            },
            clock: { [clock] in clock.now }, faults: FaultPoints(faults), logger: logger, progress: progress)
        context.notifications = database
        return RotationEngine(context)
    }

    func certificateState(_ name: Name = name) async throws -> CertificateState? { try await database.state(of: name) }

    /// Of the current revision.
    func current(_ name: Name = name) async throws -> Fingerprint? {
        try await certificateState(name)?.currentRecord?.fingerprint
    }

    /// What each target serves of a certificate.
    func served(_ name: Name = name) -> Set<Fingerprint?> {
        Set(targets.map { $0.live.files[$0.declaration.bundlePath(for: name)]?.served })
    }

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
