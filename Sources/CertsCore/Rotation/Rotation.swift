package import Foundation

// The state machine of one rotation. It is a value without I/O: `action` says what to do now, `complete` and `fail` say
// what came of it. A thin shell (CertsEngine/RotationRunner) carries the actions out and records the value in the
// journal before each of them; so the journal always names the step that may have been half done, and every action can
// be carried out again.
//
// Invariants
//  1. The key is durable before its public half leaves the host: `key` precedes `request`, which precedes `issue`.
//  2. Nothing live is touched before the certificate has passed `check` and the bundle is staged.
//  3. A node is applied only after its receipt (what to restore, and its digest) is in the journal.
//  4. A node counts as deployed only when its endpoints were seen serving the revision (`verify`).
//  5. The current revision is switched (`commit`) only when every node is verified.
//  6. After the first `apply`, every failure leads through `restore` of each node that was touched, in reverse order,
//     each verified in turn; a failed restoration never stops the restoration of the others.
//  7. Success is reported by `committed` alone; every other end carries a failure with a reason.
//  8. What is resumed is applied and verified again on every node that may have been touched.
//  9. Every node is prepared before any is touched, and a wave is verified before the next one begins.
// 10. A rotation that waits for its issuer stays open in `issue` with its handle; it is resumed, never started anew.
// 11. Another issuer is asked only after the reason is in the journal, and never with the handle of the one before.
//
//   key → request → issue → check → stage → prepare* → ( apply* → verify* of a wave )* → commit → finished(committed)
//    └───────┴────────┴───────┴───────┴────────┴──→ abandon → finished(failed)
//                              apply, verify, commit → ( restore → verifyRestored )* → finished(rolledBack)
package struct Rotation: Sendable, Hashable, Codable, Identifiable {
    package let id: String
    package let certificate: Name
    package let revision: Int
    package let purpose: Purpose
    package let reason: PlanReason
    package let startedAt: Date
    /// The step that is about to be carried out, or was being carried out when the process died.
    package private(set) var step: Step
    package private(set) var deployments: [Deployment]
    /// The deployment that `prepare`, `apply`, `verify`, `restore` and `verifyRestored` speak of.
    package private(set) var cursor = 0
    /// Who is asked to sign, and in the end has signed; `nil`: nothing is issued.
    package private(set) var issuer: Name?
    /// Optional because a journal of an earlier version does not have it.
    private var changes: [IssuerChange]?
    /// Where to ask the issuer again.
    private var handles: ResumeHandles?
    /// Not before this time, when waiting.
    package private(set) var resumeAt: Date?
    package private(set) var failure: Failure?
    package private(set) var outcome: Outcome?
    package private(set) var endedAt: Date?
    /// One entry for each step begun, for `certs history`.
    package private(set) var log: [StepRecord]

    /// - Parameters:
    ///   - id: unique; names the rotation in logs and history.
    ///   - revision: a new number for ``Purpose/issue``, an issued one otherwise.
    ///   - issuer: who is asked first, for ``Purpose/issue``.
    ///   - issuerChanges: why those before it are not asked at all.
    package init(
        id: String, certificate: Name, revision: Int, purpose: Purpose, reason: PlanReason, issuer: Name? = nil,
        issuerChanges: [IssuerChange] = [], deployments: [Deployment], startedAt: Date
    ) {
        self.id = id
        self.certificate = certificate
        self.revision = revision
        self.purpose = purpose
        self.reason = reason
        self.issuer = issuer
        self.changes = issuerChanges.isEmpty ? nil : issuerChanges
        self.startedAt = startedAt
        self.deployments = deployments
        self.step = purpose == .issue ? .key : .check
        self.log = [StepRecord(step: purpose == .issue ? .key : .check, node: nil, at: startedAt)]
    }

    package enum Purpose: String, Sendable, Codable {
        /// A new certificate, then its deployment.
        case issue
        /// An issued revision, deployed (again).
        case deploy
        /// An earlier revision, by the wish of a person.
        case rollback
    }

    package enum Step: String, Sendable, Codable, CaseIterable {
        case key, request, issue, check, stage, prepare, apply, verify, commit
        case restore, verifyRestored = "verify-restored"
        case abandon, finished

        /// Whether the step undoes what was done.
        package var isWayBack: Bool { self == .restore || self == .verifyRestored || self == .abandon }
    }

    package enum Outcome: String, Sendable, Codable {
        case committed
        case rolledBack = "rolled-back"
        /// A target could not be brought back to what it served before.
        case rollbackFailed = "rollback-failed"
        case failed
    }

    /// One step of the log.
    package struct StepRecord: Sendable, Hashable, Codable {
        package let step: Step
        package let node: NodeID?
        package let at: Date
    }

    /// Why a rotation did not end in `committed`; the text of a `CertsError`, as it can be stored.
    package struct Failure: Sendable, Hashable, Codable {
        package let step: Step
        package let code: CertsError.Code
        package let message: String
        package let hint: String?
        package let retry: CertsError.Retry

        init(_ error: CertsError, at step: Step) {
            self.step = step
            self.code = error.code
            self.message = IssuerChange.reason(error)
            self.hint = error.hint
            self.retry = error.retry
        }
    }

    /// What the shell has to carry out. Each action may be carried out again after a crash.
    package enum Action: Sendable, Equatable {
        case makeKey
        case makeRequest
        case issue(resuming: ResumeHandles)
        case check
        case stage
        case prepare(NodeID)
        case apply(NodeID, receipt: DeploymentReceipt)
        case verify(NodeID, receipt: DeploymentReceipt)
        case commit
        case restore(NodeID, receipt: DeploymentReceipt)
        case verifyRestored(NodeID, receipt: DeploymentReceipt)
        case abandon
        case nothing
    }

    /// What came of an action that did not fail.
    package enum Completion: Sendable {
        case done
        case pending(ResumeHandle, slot: KeyType? = nil, retryAt: Date?)
        case prepared(DeploymentReceipt, findings: [Finding])
        case verified(findings: [Finding])
    }

    package var isFinished: Bool { step == .finished }
    /// Where to ask the issuer again, for each key.
    package var resumeHandles: ResumeHandles { handles ?? ResumeHandles() }
    /// The issuers that did not sign, oldest first.
    package var issuerChanges: [IssuerChange] { changes ?? [] }
    /// Whether the issuer was asked, and has not said no.
    package var isWaiting: Bool { step == .issue && !resumeHandles.isEmpty }
    /// From the first touch of a node to the proof of the last one, in seconds; only of a deployment that succeeded.
    package var deployDuration: TimeInterval? {
        guard outcome == .committed, let endedAt, let first = log.first(where: { $0.step == .apply }) else {
            return nil
        }
        return max(0, endedAt.timeIntervalSince(first.at))
    }
    /// The node that the current step is about.
    package var currentNode: NodeID? {
        switch step {
        case .prepare, .apply, .verify, .restore, .verifyRestored:
            deployments.indices.contains(cursor) ? deployments[cursor].node : nil
        default: nil
        }
    }

    package var action: Action {
        switch step {
        case .key: return .makeKey
        case .request: return .makeRequest
        case .issue: return .issue(resuming: resumeHandles)
        case .check: return .check
        case .stage: return .stage
        case .commit: return .commit
        case .abandon: return .abandon
        case .finished: return .nothing
        case .prepare, .apply, .verify, .restore, .verifyRestored:
            guard deployments.indices.contains(cursor) else { return .abandon }
            let deployment = deployments[cursor]
            if step == .prepare { return .prepare(deployment.node) }
            guard let receipt = deployment.receipt else { return .abandon }
            switch step {
            case .apply: return .apply(deployment.node, receipt: receipt)
            case .verify: return .verify(deployment.node, receipt: receipt)
            case .restore: return .restore(deployment.node, receipt: receipt)
            default: return .verifyRestored(deployment.node, receipt: receipt)
            }
        }
    }
}

// MARK: - Transitions

extension Rotation {
    /// The current step is done.
    package mutating func complete(_ completion: Completion = .done, at now: Date) {
        switch (step, completion) {
        case (.issue, .pending(let handle, let slot, let retryAt)):
            hold(handle, for: slot)
            resumeAt = retryAt
        case (.key, _): enter(.request, at: now)
        case (.request, _): enter(.issue, at: now)
        case (.issue, _): enter(.check, at: now)
        case (.check, _): enter(.stage, at: now)
        case (.stage, _): prepareNext(from: 0, at: now)
        case (.prepare, .prepared(let receipt, let findings)):
            deployments[cursor].receipt = receipt
            deployments[cursor].findings = findings
            deployments[cursor].state = .prepared
            prepareNext(from: cursor + 1, at: now)
        case (.prepare, _):
            fail(CertsError(.internal, "the node was prepared without a receipt"), at: now)
        case (.apply, _):
            deployments[cursor].state = .applied
            if isSameWave(cursor, cursor + 1) {
                applyNext(from: cursor + 1, at: now)
            } else {
                cursor = firstOfWave(cursor)
                enter(.verify, at: now)
            }
        case (.verify, let completion):
            if case .verified(let findings) = completion { deployments[cursor].findings += findings }
            deployments[cursor].state = .verified
            if isSameWave(cursor, cursor + 1) {
                cursor += 1
                enter(.verify, at: now)
            } else {
                applyNext(from: cursor + 1, at: now)
            }
        case (.commit, _): finish(.committed, at: now)
        case (.restore, _): enter(.verifyRestored, at: now)
        case (.verifyRestored, _):
            deployments[cursor].state = .rolledBack
            restoreNext(from: cursor - 1, at: now)
        case (.abandon, _): finish(.failed, at: now)
        case (.finished, _): break
        }
    }

    /// The issuer gave (or changed) its handle while the step is still running: recorded before the work goes on.
    package mutating func hold(_ handle: ResumeHandle, for slot: KeyType? = nil) {
        var held = resumeHandles
        held[slot] = handle
        handles = held
    }

    /// The issuer did not sign: `issue` begins again with another one.
    package mutating func changeIssuer(from old: Name, to next: Name, because error: CertsError, at now: Date) {
        guard step == .issue else { return }
        changes = issuerChanges + [IssuerChange(from: old, to: next, because: error, at: now)]
        askAnew(next, at: now)
    }

    /// The issuer is not declared any longer: what it knows of the request is of no use to another one.
    package mutating func replaceIssuer(by next: Name, at now: Date) {
        guard [.key, .request, .issue].contains(step), issuer != next else { return }
        if step == .issue { askAnew(next, at: now) } else { issuer = next }
    }

    private mutating func askAnew(_ next: Name, at now: Date) {
        issuer = next
        (handles, resumeAt) = (nil, nil)
        enter(.issue, at: now)
    }

    /// The current step failed.
    package mutating func fail(_ error: CertsError, at now: Date) {
        let reason = Failure(error, at: step)
        switch step {
        case .finished: return
        case .key, .request, .issue, .check, .stage:
            failure = reason
            enter(.abandon, at: now)
        case .prepare:
            failure = reason
            deployments[cursor].state = .failed
            enter(.abandon, at: now)
        case .apply, .verify:
            failure = reason
            deployments[cursor].state = .failed
            restoreNext(from: deployments.count - 1, at: now)
        case .commit:
            // The new certificate is served everywhere, but could not be recorded: bring back what the state says.
            failure = reason
            restoreNext(from: deployments.count - 1, at: now)
        case .restore, .verifyRestored:
            // The first reason stays: it is why the rollback began. That the rollback failed shows in the outcome.
            deployments[cursor].state = .failed
            restoreNext(from: cursor - 1, at: now)
        case .abandon:
            finish(.failed, at: now)
        }
    }

    private mutating func enter(_ next: Step, at now: Date) {
        step = next
        log.append(StepRecord(step: next, node: currentNode, at: now))
    }

    /// Takes a rotation out of the journal again, after the process that drove it died.
    ///
    /// What the journal says may be older than what was done: that process may have been on its way back when its records
    /// failed. So once a node was touched every node is applied and verified once more, from the first one on; applying is
    /// idempotent, and the receipts still say what was live before.
    ///
    /// - Parameter declared: the nodes that there still are; `nil`: all. One that was taken out of the configuration
    ///   meanwhile is nobody's any longer: the rotation ends on the others.
    package mutating func resume(at now: Date, declared: Set<NodeID>? = nil) {
        let count = deployments.count
        if let declared { deployments.removeAll { !declared.contains($0.node) } }
        let isShorter = deployments.count < count
        switch step {
        case .apply, .verify, .commit, .prepare:
            if deployments.contains(where: \.isTouched) {
                applyNext(from: 0, at: now)
            } else if isShorter {
                prepareNext(from: deployments.firstIndex { $0.receipt == nil } ?? deployments.count, at: now)
            }
        case .restore, .verifyRestored:
            if isShorter { restoreNext(from: deployments.count - 1, at: now) }
        default: break
        }
    }

    private mutating func prepareNext(from index: Int, at now: Date) {
        cursor = index
        guard deployments.indices.contains(index) else { return applyNext(from: 0, at: now) }
        enter(.prepare, at: now)
    }

    private mutating func applyNext(from index: Int, at now: Date) {
        cursor = index
        guard deployments.indices.contains(index) else { return enter(.commit, at: now) }
        deployments[index].isTouched = true
        enter(.apply, at: now)
    }

    private func isSameWave(_ left: Int, _ right: Int) -> Bool {
        guard deployments.indices.contains(left), deployments.indices.contains(right) else { return false }
        return deployments[left].node.target == deployments[right].node.target
            && deployments[left].wave == deployments[right].wave
    }

    private func firstOfWave(_ index: Int) -> Int {
        var first = index
        while isSameWave(first - 1, index) { first -= 1 }
        return first
    }

    private mutating func restoreNext(from index: Int, at now: Date) {
        guard let next = deployments.indices.last(where: { $0 <= index && deployments[$0].isTouched }) else {
            let allBack = deployments.allSatisfy { !$0.isTouched || $0.state == .rolledBack }
            finish(allBack ? .rolledBack : .rollbackFailed, at: now)
            return
        }
        cursor = next
        enter(.restore, at: now)
    }

    private mutating func finish(_ result: Outcome, at now: Date) {
        outcome = result
        endedAt = now
        enter(.finished, at: now)
    }
}
