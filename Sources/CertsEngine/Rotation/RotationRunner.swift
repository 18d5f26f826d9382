import CertsCore
import CertsCrypto
import Foundation
import Logging

/// Drives one rotation: records it in the journal, carries out its action, and asks what comes next.
///
/// The caller holds the lock of the certificate. What the actions do is in `RotationRunner+Actions.swift`, how the end is
/// recorded in `RotationRunner+End.swift`.
struct RotationRunner: Sendable {
    let context: EngineContext
    private(set) var rotation: Rotation
    /// The nodes that a process that died may have left half-way; each until it was dealt with.
    var halfDone: Set<NodeID> = []
    /// What was seen while verifying, for the inventory.
    var observations: [NodeID: [EndpointObservation]] = [:]
    /// Of the OCSP responses that this process fetched; `nil`: none, or by a process that died. Then they are fetched anew.
    var staple: StapleDates?
    /// Why there is none for a leaf that should have one.
    var stapleFindings: [Finding] = []

    /// - Parameter resuming: the rotation comes from the journal of a process that died.
    init(context: EngineContext, _ rotation: Rotation, resuming: Bool) {
        self.context = context
        self.rotation = rotation
        guard resuming else { return }
        halfDone = Set(rotation.deployments.filter(\.isTouched).map(\.node))
        self.rotation.resume(at: context.now, declared: Set(context.targets.keys))
        if let declared = context.declared[rotation.certificate], rotation.purpose == .issue,
            !(rotation.issuer.map(declared.issuers.contains) ?? false)
        {
            self.rotation.replaceIssuer(by: declared.issuer, at: context.now)
        }
    }

    /// Where the work on a rotation has come to rest.
    enum Rest: Sendable {
        case finished
        /// For its issuer.
        case waiting
        /// The next step makes HAProxy reload: it is taken together with other rotations by `RotationBatch`.
        case sharedStep(SharedStep)
    }

    /// A step that many rotations can take at once.
    struct SharedStep: Hashable, Sendable {
        let node: NodeID
        let isRestore: Bool
    }

    /// The next step, if it is one to be taken together.
    var sharedStep: SharedStep? {
        switch rotation.action {
        case .apply(let node, let receipt) where receipt.reloads: SharedStep(node: node, isRestore: false)
        case .restore(let node, let receipt) where receipt.reloads: SharedStep(node: node, isRestore: true)
        default: nil
        }
    }

    /// Whether the way forward from the current `apply` leads to a reload of this node.
    func willReload(_ node: NodeID) -> Bool {
        guard rotation.step == .apply else { return false }
        return rotation.deployments.dropFirst(rotation.cursor + 1).contains {
            $0.node == node && $0.receipt?.reloads == true
        }
    }

    /// Goes on until the rotation comes to rest.
    /// - Throws: only when the end could not be recorded; what is served is then as the thrown error says.
    mutating func advance() async throws -> Rest {
        while !rotation.isFinished {
            if let step = sharedStep { return .sharedStep(step) }
            do {
                try await announce()
                let completion = try await perform(rotation)
                try complete(completion)
                if case .pending = completion {
                    try await wait()
                    return .waiting
                }
            } catch {
                await turn(after: error)
            }
        }
        try await finish()
        // Only what is recorded is said to have ended.
        context.progress(rotation)
        return .finished
    }

    /// Takes one shared step for all: it is announced for each, carried out once, and its outcome told to each.
    static func take(_ step: SharedStep, for runners: inout [RotationRunner]) async {
        var ready: [Int] = []
        for index in runners.indices {
            do {
                try await runners[index].announce()
                ready.append(index)
            } catch {
                runners[index].fail(error)
            }
        }
        let outcomes = await perform(step, for: ready.map { runners[$0] })
        for (index, failure) in zip(ready, outcomes) {
            runners[index].halfDone.remove(step.node)
            do {
                if let failure { throw failure }
                try runners[index].complete(.done)
            } catch {
                runners[index].fail(error)
            }
        }
    }

    // MARK: One step

    /// Intent before effect. On the way forward a step whose intent cannot be recorded is not taken; on the way back it
    /// is taken all the same: bringing the old certificate back matters more than its record, and an older record that is
    /// still there leads the next start through the same steps.
    private func announce() async throws {
        do {
            try await context.journal.record(rotation)
        } catch  where rotation.step.isWayBack {
            log(.wrapping(error))
        }
        context.progress(rotation)
        try context.faults.reached("before-\(rotation.step.rawValue)", at: rotation.currentNode)
    }

    private mutating func complete(_ completion: Rotation.Completion) throws {
        try context.faults.reached("after-\(rotation.step.rawValue)", at: rotation.currentNode)
        rotation.complete(completion, at: context.now)
    }

    /// What follows a failure: another issuer, where it is one of the issuer and there is another; else the way back.
    private mutating func turn(after error: any Error) async {
        let failure = CertsError.wrapping(error, stage: rotation.step, subject: rotation.certificate.rawValue)
        guard rotation.step == .issue, failure.isOfIssuer, let declared = context.declared[rotation.certificate] else {
            return fail(error)
        }
        let asked = rotation.issuer ?? declared.issuer
        let tried = Set(rotation.issuerChanges.map(\.from) + [asked])
        guard let next = declared.issuers.first(where: { !tried.contains($0) }) else {
            guard !rotation.issuerChanges.isEmpty else { return fail(error) }
            return fail(CertsError.noIssuer(rotation.issuerChanges, last: asked, failure))
        }
        do {
            try await forgetAnswers()
        } catch {
            return fail(error)
        }
        log(failure, ["issuer": "\(asked)", "next": "\(next)"])
        rotation.changeIssuer(from: asked, to: next, because: failure, at: context.now)
    }

    private mutating func fail(_ error: any Error) {
        let failure = CertsError.wrapping(error, stage: rotation.step, subject: rotation.certificate.rawValue)
        log(failure)
        rotation.fail(failure, at: context.now)
    }

    private func log(_ failure: CertsError, _ more: Logger.Metadata = [:]) {
        let known: Logger.Metadata = [
            "certificate": "\(rotation.certificate)", "rotation": "\(rotation.id)",
            "step": "\(rotation.step.rawValue)", "code": "\(failure.code)",
        ]
        context.logger.warning("\(failure)", metadata: known.merging(more) { first, _ in first })
    }
}
