package import CertsCore
package import CertsCrypto
package import Foundation
package import Logging

/// Everything that the engine works with, put together in one place (`certs/Assembly`). The engine knows ports, not
/// adapters.
package struct EngineContext: Sendable {
    package let declarations: Declarations
    /// The declared certificates by name.
    let declared: [Name: CertificateDeclaration]
    /// Those that are deployed with an OCSP response.
    let stapled: [Name]
    /// Those whose renewal waits for a window, and may be due in it before their date.
    let windowed: [Name]
    package var issuers: [Name: any Issuer]
    package var targets: [NodeID: any DeploymentTarget]
    package var revisions: any RevisionStore
    package var journal: any RotationJournal
    package var inventory: any Inventory
    package var schedule: any TaskSchedule
    package var quarantine: any Quarantine
    /// Where OCSP responses come from; `nil`: nowhere.
    package var staples: (any StapleSource)?
    /// What was told to whom; `nil`: nobody is told anything.
    package var notifications: (any NotificationStore)?
    /// What the issuers count of their requests.
    package var requests = IssuerRequests()
    /// How many certificates may wait for one another before a reload that they share; each holds a lock.
    package var batchLimit = 256
    /// The bundle as HAProxy loads it, from leaf, intermediates and key.
    package var makeBundle: @Sendable (Certificate, [Certificate], Secret) throws -> Secret
    package var clock: @Sendable () -> ClockReading
    package var faults: FaultPoints
    package var logger: Logger
    /// Told of every step as it begins and of the end; must not block.
    package var progress: @Sendable (Rotation) -> Void
    /// Called after each piece of work; the sign that the engine lives. Must not block.
    package var pulse: @Sendable () -> Void = {}

    package init(
        declarations: Declarations, issuers: [Name: any Issuer], targets: [NodeID: any DeploymentTarget],
        revisions: any RevisionStore, journal: any RotationJournal, inventory: any Inventory,
        schedule: any TaskSchedule, quarantine: any Quarantine, staples: (any StapleSource)? = nil,
        makeBundle: @escaping @Sendable (Certificate, [Certificate], Secret) throws -> Secret,
        clock: @escaping @Sendable () -> ClockReading = { SystemClock.reading() }, faults: FaultPoints = .none,
        logger: Logger,
        progress: @escaping @Sendable (Rotation) -> Void = { _ in }
    ) {
        self.declarations = declarations
        declared = Dictionary(declarations.certificates.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
        stapled = declarations.certificates.filter(\.staple).map(\.name)
        windowed = declarations.certificates.filter { $0.window != nil }.map(\.name)
        self.issuers = issuers
        self.targets = targets
        self.revisions = revisions
        self.journal = journal
        self.inventory = inventory
        self.schedule = schedule
        self.quarantine = quarantine
        self.staples = staples
        self.makeBundle = makeBundle
        self.clock = clock
        self.faults = faults
        self.logger = logger
        self.progress = progress
    }

    package var now: Date { clock().wall }

    /// What becomes due before the timer runs again is due now.
    var planner: Planner { Planner(timerInterval: declarations.schedule.timerInterval, targets: declarations.targets) }

    /// Stores the planner's verdict with the state: the inventory finds what is due by this date.
    func refreshDueDate(of state: inout CertificateState, _ declaration: CertificateDeclaration?) {
        guard let declaration else { return }
        let item = planner.item(for: declaration, state: state, at: now)
        // "Due since now" stays the time at which that was first found.
        if item.reason == state.dueReason, let known = state.dueAt, known <= now, item.dueAt <= now { return }
        (state.dueAt, state.dueReason) = (item.dueAt, item.reason)
    }

    /// Whether, and when next, the CA is asked about the newest leaf: at once for a new one, never for one that has
    /// expired (RFC 9773 §4.3).
    func refreshHintCheck(of state: inout CertificateState) {
        guard declared[state.name] != nil, let record = state.record, let leaf = record.fingerprint,
            record.notAfter > now, let issuer = state.requested?.issuer, issuers[issuer] is any RenewalAdvisor
        else {
            (state.hint, state.hintCheck) = (nil, nil)
            return
        }
        if state.hint?.leaf != leaf { state.hint = nil }
        if state.hintCheck?.leaf != leaf { state.hintCheck = HintCheck(leaf: leaf, at: now) }
    }

    func declaration(of certificate: Name) throws -> CertificateDeclaration {
        guard let found = declared[certificate] else {
            throw CertsError(
                .nameUnknown, "no certificate named '\(certificate)' is declared",
                hint: "`certs plan` lists the declared names")
        }
        return found
    }

    func issuer(_ name: Name) throws -> any Issuer {
        guard let found = issuers[name] else {
            throw CertsError(.nameUnknown, "no issuer named '\(name)' is declared", subject: name.rawValue)
        }
        return found
    }

    func target(_ node: NodeID) throws -> any DeploymentTarget {
        guard let found = targets[node] else {
            throw CertsError(
                .nameUnknown, "no target named '\(node)' is declared", subject: node.description,
                hint: "declare it again until its deployment is finished or rolled back")
        }
        return found
    }
}
