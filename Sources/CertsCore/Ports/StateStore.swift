package import Foundation

/// The files of the revisions of each certificate, and the locks; implemented in CertsStore (`StateDirectory`).
package protocol RevisionStore: Sendable {
    /// The revisions on disk, ascending.
    func revisions(of certificate: Name) async throws -> [Int]
    /// The revision that `current` names; `nil` if there is none yet.
    func currentRevision(of certificate: Name) async throws -> Int?
    /// The contents; `nil` when the file is not there. Bounded in size.
    func read(_ file: RevisionFile, of certificate: Name, revision: Int) async throws -> Secret?
    /// Writes the file durably, whole or not at all, making the revision's directory if needed.
    func write(_ contents: Secret, to file: RevisionFile, of certificate: Name, revision: Int) async throws
    /// Switches `current` by one rename, durably.
    func makeCurrent(_ revision: Int, of certificate: Name) async throws
    /// Removes a revision that was never issued, with what was written for it. Refuses the current one.
    func discard(_ revision: Int, of certificate: Name) async throws
    /// Takes the lock of one certificate; never waits.
    /// - Throws: `lock.held`.
    func lock(_ certificate: Name) async throws -> any HeldLock
    /// Removes the temporary files of processes that died while writing; those of living ones stay.
    func removeLeftovers() async throws
    /// The revisions that were begun but never issued, and that no open rotation will go on with; to be discarded under
    /// the certificate's lock.
    func orphanedRevisions(openRotations: [Rotation]) async throws -> [OrphanedRevision]
}

/// A revision's directory that holds no issued certificate and belongs to no open rotation.
package struct OrphanedRevision: Sendable, Hashable {
    package let certificate: Name
    package let revision: Int

    package init(certificate: Name, revision: Int) {
        self.certificate = certificate
        self.revision = revision
    }
}

/// The files of one revision. What there is one of for each key has the slot of the key, `nil` where there is one key.
package enum RevisionFile: Sendable, Hashable {
    case key(KeyType?), request(KeyType?), certificate(KeyType?), chain(KeyType?), bundle(KeyType?)
    case companion(Companion.Kind, KeyType?)
    case manifest
    /// What was live on a node before this revision was deployed: one file of its receipt, by its place there.
    case previous(NodeID, Int)

    /// `key.pem`, or `key.ecdsa.pem` where there are several keys.
    package var fileName: String {
        switch self {
        case .key(let slot): Self.name("key", slot, "pem")
        case .request(let slot): Self.name("csr", slot, "pem")
        case .certificate(let slot): Self.name("cert", slot, "pem")
        case .chain(let slot): Self.name("chain", slot, "pem")
        case .bundle(let slot): Self.name("bundle", slot, "pem")
        case .companion(let kind, let slot): Self.name("companion", slot, kind.rawValue)
        case .manifest: "revision.json"
        // `@` is in no name, so that no two nodes share a file.
        case .previous(let node, let index):
            "previous-\(node.target)\(node.node.map { "@\($0)" } ?? "")-\(index).pem"
        }
    }

    private static func name(_ stem: String, _ slot: KeyType?, _ suffix: String) -> String {
        slot.map { "\(stem).\($0.rawValue).\(suffix)" } ?? "\(stem).\(suffix)"
    }
}

/// `revision.json`: what the database is rebuilt from.
package struct RevisionManifest: Sendable, Hashable, Codable {
    package var schema = 1
    package var certificate: Name
    package var revision: Int
    package var requested: RequestedProperties
    /// Of the leaf of each key, in the order in which the keys were asked for; never empty.
    package var records: [CertificateRecord]
    package var issuedAt: Date
    /// The end of the last rotation of this revision; `nil`: none has ended yet.
    package var rotation: Rotation?
    /// That its issuer has taken it back: it is never deployed again.
    package var revocation: Revocation?
    /// Since when it is known that somebody else has a key of it: no new certificate gets that key.
    package var keyCompromisedAt: Date?

    enum CodingKeys: String, CodingKey {
        case schema, certificate, revision, requested, records, issuedAt, rotation, revocation, keyCompromisedAt
    }

    package init(
        certificate: Name, revision: Int, requested: RequestedProperties, records: [CertificateRecord], issuedAt: Date,
        rotation: Rotation? = nil
    ) {
        self.certificate = certificate
        self.revision = revision
        self.requested = requested
        self.records = records
        self.issuedAt = issuedAt
        self.rotation = rotation
    }
}

extension RevisionManifest {
    /// The leaf that expires first: what the dates of the revision are taken from.
    package var record: CertificateRecord {
        records.min { $0.notAfter < $1.notAfter } ?? CertificateRecord()
    }

    /// Whether somebody else has a key of it, as far as we were told.
    package var isKeyCompromised: Bool { keyCompromisedAt != nil || revocation?.reason == .keyCompromise }

    /// The fingerprints of the other leaves.
    package var alternates: [Fingerprint] {
        let shown = record.sha256
        return records.filter { $0.sha256 != shown }.compactMap(\.fingerprint)
    }

    /// The text of `revision.json`; the one form in which it is written and read.
    package func encoded() throws -> Secret {
        Secret(copying: try StoredJSON.encode(self, readable: true))
    }

    /// - Throws: a `DecodingError` for anything but the text of a manifest.
    package init(decoding contents: Secret) throws {
        self = try StoredJSON.decode(Self.self, from: contents.withBytes { Data($0) })
    }
}

/// The journal of open rotations and the history of finished ones; implemented in CertsStore.
package protocol RotationJournal: Sendable {
    /// Records the rotation as it stands; durable when it returns.
    func record(_ rotation: Rotation) async throws
    /// The rotations that have not finished, oldest first.
    func openRotations() async throws -> [Rotation]
    /// The one of this certificate, if there is one.
    func openRotation(of certificate: Name) async throws -> Rotation?
    /// Records a finished rotation and the state of its certificate in one transaction.
    func close(_ rotation: Rotation, state: CertificateState) async throws
    /// Finished and open rotations, newest first.
    func history(of certificate: Name?, limit: Int) async throws -> [Rotation]
    /// How often each outcome was reached, for the counters of the exposition.
    func tallies() async throws -> [RotationTally]
    /// How long the deployments of the committed rotations took.
    func deployDurations(upTo bounds: [TimeInterval]) async throws -> DurationTally
}

/// How many rotations of one certificate ended in one way.
package struct RotationTally: Sendable, Hashable {
    package let certificate: Name
    package let purpose: Rotation.Purpose
    /// `nil`: still open.
    package let outcome: Rotation.Outcome?
    /// The step of the failure, if there was one.
    package let failedStep: Rotation.Step?
    package let count: Int

    package init(
        certificate: Name, purpose: Rotation.Purpose, outcome: Rotation.Outcome?, failedStep: Rotation.Step?, count: Int
    ) {
        self.certificate = certificate
        self.purpose = purpose
        self.outcome = outcome
        self.failedStep = failedStep
        self.count = count
    }
}

/// What is known of each managed certificate, and of what is only watched; implemented in CertsStore.
package protocol Inventory: WatchInventory {
    func states() async throws -> [CertificateState]
    /// What `transform` makes of each state, by name. One state is in memory at a time: those of 100,000 certificates
    /// would be hundreds of megabytes.
    func compactMapStates<Value: Sendable>(
        _ transform: @escaping @Sendable (CertificateState) throws -> Value?
    ) async throws -> [Value]
    func state(of certificate: Name) async throws -> CertificateState?
    func save(_ state: CertificateState) async throws
    /// Saves many in one transaction.
    func save(_ states: [CertificateState]) async throws
    /// The certificates whose due date is not after `date`, soonest first. Takes time in their number, not in the size
    /// of the inventory.
    func due(by date: Date) async throws -> [Name]
    /// The certificates whose CA is to be asked for its suggestion not after `date` (``CertificateState/hintCheck``),
    /// soonest first. Takes time in their number, too.
    func hintChecks(by date: Date) async throws -> [Name]
    /// When the first of them is to be asked; `nil`: none is.
    func nextHintCheck() async throws -> Date?
}

/// Where files are kept that were taken out of HAProxy's way; implemented in CertsStore (`StateDirectory`).
package protocol Quarantine: Sendable {
    /// Keeps the bytes durably (0600), under a name of its own.
    /// - Returns: where.
    func keep(_ contents: Secret, of node: NodeID, path: String) async throws -> String
}

/// The files that issuers keep, and the locks on them; implemented in CertsStore (`StateDirectory`).
///
/// The names of files are constants of our own code, and are checked nevertheless: a letter or digit, then up to 99 of
/// letters, digits, `.`, `_`, `-`.
package protocol IssuerFiles: Sendable {
    /// The contents; `nil` when the file is not there. Bounded in size (1 MiB).
    func read(_ file: String, of owner: Name, in area: IssuerArea) async throws -> Secret?
    /// Writes the file (0600) durably, whole or not at all, making its directory (0700) if needed.
    func write(_ contents: Secret, to file: String, of owner: Name, in area: IssuerArea) async throws
    /// Removes the file durably, if it is there.
    func remove(_ file: String, of owner: Name, in area: IssuerArea) async throws
    /// Takes the kernel lock of the owner's directory, so that nothing is made twice; waits up to `deadline`.
    /// - Throws: `lock.held` when somebody else still holds it then.
    func lock(_ owner: Name, in area: IssuerArea, deadline: Duration) async throws -> any HeldLock
}

/// The directories of the state directory that belong to issuers.
package enum IssuerArea: String, Sendable, Hashable, CaseIterable {
    /// `authorities/ISSUER/`: keys and certificates of the local CA.
    case authorities
    /// `accounts/ISSUER/`: accounts at a CA.
    case accounts
    /// `handoff/CERTIFICATE/`: requests that wait for a person.
    case handoff
    /// `orders/CERTIFICATE/`: orders at an ACME CA that are under way.
    case orders
    /// `challenges/TYPE/`: the answers to challenges that the listeners of all processes give.
    case challenges
}

/// What the timer has to remember across restarts; implemented in CertsStore.
package protocol TaskSchedule: Sendable {
    func task(_ name: String) async throws -> TaskRecord?
    func tasks() async throws -> [TaskRecord]
    func save(_ task: TaskRecord) async throws
    /// The last reading of the clock, to notice a clock that was stepped.
    func lastClockReading() async throws -> ClockReading?
    func save(_ reading: ClockReading) async throws
}

package struct TaskRecord: Sendable, Hashable, Codable {
    package var name: String
    package var nextRunAt: Date?
    package var lastRunAt: Date?
    package var lastSuccessAt: Date?
    /// How often it is meant to run, in seconds, as whoever ran it last was told.
    package var interval: TimeInterval?
    /// How long the last run took, in seconds.
    package var duration: TimeInterval?

    package init(
        name: String, nextRunAt: Date? = nil, lastRunAt: Date? = nil, lastSuccessAt: Date? = nil,
        interval: TimeInterval? = nil, duration: TimeInterval? = nil
    ) {
        self.name = name
        self.nextRunAt = nextRunAt
        self.lastRunAt = lastRunAt
        self.lastSuccessAt = lastSuccessAt
        self.interval = interval
        self.duration = duration
    }
}
