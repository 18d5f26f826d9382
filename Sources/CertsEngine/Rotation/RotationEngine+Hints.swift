import CertsCore
import CertsCrypto
import Foundation
import Logging
import Synchronization

// When a CA would like its certificates to be renewed (RFC 9773).
extension RotationEngine {
    /// How many questions are under way at once.
    private static let hintWidth = 16
    /// After so many failures in a row that may pass, an issuer is left alone until the next run: ten thousand
    /// certificates must not each wait for a server that is away.
    private static let hintPatience = 5

    /// Asks the CAs about the leaves whose time to be asked about has come, and keeps the answers. Where nothing has, it
    /// costs one look into an index.
    ///
    /// Never fails: what goes wrong is kept beside the certificate, told once, and tried again later and later.
    /// - Parameter random: from 0 to 1, for the time that is picked in a new window.
    package func refreshHints(random: @escaping @Sendable () -> Double = { .random(in: 0...1) }) async {
        do {
            let names = try await context.inventory.hintChecks(by: context.now)
            guard !names.isEmpty else { return }
            let failures = FailureCount(limit: Self.hintPatience)
            let size = max(1, context.batchLimit)
            for start in stride(from: 0, to: names.count, by: size) {
                let batch = Array(names[start..<min(start + size, names.count)])
                let answers = await concurrently(batch, width: Self.hintWidth) { name in
                    await self.askForHint(name, failures)
                }
                try await keep(answers.compactMap { $0 }, random)
            }
        } catch {
            context.logger.error("the CAs' renewal times could not be refreshed: \(CertsError.wrapping(error))")
        }
    }

    /// What a CA said about one leaf.
    private struct HintAnswer: Sendable {
        let certificate: Name
        let leaf: Fingerprint
        let window: Window

        enum Window: Sendable {
            case suggested(SuggestedWindow)
            case noOpinion
            case failure(CertsError)
        }
    }

    private final class FailureCount: Sendable {
        private let inARow = Mutex<[Name: Int]>([:])
        private let limit: Int

        init(limit: Int) { self.limit = limit }

        func isExhausted(_ issuer: Name) -> Bool { inARow.withLock { $0[issuer, default: 0] >= limit } }

        func note(_ issuer: Name, failed: Bool) {
            inARow.withLock { counts in counts[issuer] = failed ? counts[issuer, default: 0] + 1 : 0 }
        }
    }

    /// - Returns: `nil` where there was nobody or nothing to ask.
    private func askForHint(_ name: Name, _ failures: FailureCount) async -> HintAnswer? {
        guard let state = try? await context.inventory.state(of: name), let check = state.hintCheck,
            let revision = state.issuedRevision ?? state.revision, let requested = state.requested,
            let issuer = context.issuers[requested.issuer] as? any RenewalAdvisor, !failures.isExhausted(issuer.name),
            // No question about what has expired, or is not the newest (RFC 9773 §4.3).
            let record = state.record, record.fingerprint == check.leaf, record.notAfter > context.now
        else { return nil }
        do {
            var earliest: SuggestedWindow?
            for member in KeyPolicy.members(of: requested.keyAlgorithms) {
                guard let leaf = try await context.storedChain(name, revision, member.slot).first else { continue }
                // Of several keys the window that comes first: they are renewed together.
                guard let window = try await issuer.suggestedWindow(for: leaf.der, now: context.now) else { continue }
                guard window.end > window.start else {
                    throw CertsError(
                        .issuerRefused, "the window that the CA suggests ends before it begins",
                        subject: issuer.name.rawValue, retry: .later)
                }
                earliest = earliest.map { $0.earlier(window) } ?? window
            }
            failures.note(issuer.name, failed: false)
            return HintAnswer(
                certificate: name, leaf: check.leaf, window: earliest.map { .suggested($0) } ?? .noOpinion)
        } catch {
            let failure = CertsError.wrapping(error, subject: name.rawValue)
            failures.note(issuer.name, failed: failure.retry != .never)
            return HintAnswer(certificate: name, leaf: check.leaf, window: .failure(failure))
        }
    }

    /// Writes all in one transaction, each under the lock of its certificate; what a rotation works on is asked again.
    private func keep(_ answers: [HintAnswer], _ random: () -> Double) async throws {
        var locks: [any HeldLock] = []
        defer { for lock in locks { lock.release() } }
        var states: [CertificateState] = []
        for answer in answers {
            guard let lock = try? await context.revisions.lock(answer.certificate) else { continue }
            locks.append(lock)
            guard var state = try await context.inventory.state(of: answer.certificate),
                state.hintCheck?.leaf == answer.leaf
            else { continue }
            note(answer, in: &state, random)
            context.refreshDueDate(of: &state, context.declared[answer.certificate])
            states.append(state)
        }
        try await context.inventory.save(states)
    }

    private func note(_ answer: HintAnswer, in state: inout CertificateState, _ random: () -> Double) {
        let (before, hadProblem) = (state.hint, state.hintCheck?.problem != nil)
        switch answer.window {
        case .failure(let error):
            state.hintCheck?.fail(error, now: context.now)
            if !hadProblem { tell(.warning, "the CA does not say when to renew: \(error)", state) }
            return
        case .noOpinion:
            // What it said before stays: it can only bring the renewal forward.
            state.hintCheck?.succeed(nextAt: context.now.addingTimeInterval(HintCheck.longDelay))
        case .suggested(let window):
            state.hint = RenewalHint.updated(from: window, previous: before, leaf: answer.leaf, random: random)
            state.hintCheck?.succeed(nextAt: window.checkAt)
        }
        if hadProblem { tell(.notice, "the CA says again when to renew", state) }
        if let hint = state.hint, let before, hint.pick != before.pick {
            let why = hint.explanationURL.map { "; see \($0)" } ?? ""
            tell(.notice, "the CA moved the renewal from \(before.pick) to \(hint.pick)\(why)", state)
        }
    }

    private func tell(_ level: Logger.Level, _ text: String, _ state: CertificateState) {
        context.logger.log(
            level: level, "\(TerminalText.sanitized(text))", metadata: ["certificate": "\(state.name)"])
    }
}

extension SuggestedWindow {
    /// The one that comes first, asked about again when either is.
    fileprivate func earlier(_ other: SuggestedWindow) -> SuggestedWindow {
        var first = other.start < start ? other : self
        first.checkAt = min(checkAt, other.checkAt)
        return first
    }
}
