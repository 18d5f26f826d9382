import CertsCore
import CertsEngine
import Foundation
import Synchronization

/// One line a stage on stderr while rotations run, with the time since the rotation began: for people, or as JSON.
final class RotationReporter: Sendable {
    private let isJSON: Bool
    private let live: LiveProgress?
    /// The begin of each rotation, on a clock that nobody sets.
    private let started = Mutex<[String: ContinuousClock.Instant]>([:])

    /// - Parameter live: draws the progress instead, where a terminal shows it.
    init(isJSON: Bool = false, live: LiveProgress? = nil) { (self.isJSON, self.live) = (isJSON, live) }

    /// Nothing more will be reported: takes away what is not to stay.
    func end() { live?.end() }

    func report(_ rotation: Rotation) {
        if let live { return live.report(rotation, findings: Self.findings(of: rotation, after: "           ")) }
        let begin = started.withLock { known in
            let begin = known[rotation.id] ?? .now
            known[rotation.id] = begin
            return begin
        }
        if rotation.isFinished { started.withLock { $0[rotation.id] = nil } }
        let elapsed = Double((ContinuousClock.now - begin) / .milliseconds(1))
        if isJSON { return Self.reportJSON(rotation, elapsed: (elapsed / 1000)) }
        let time = String(format: "%7.3fs", elapsed / 1000)
        let head = "\(time)  \(rotation.certificate) #\(rotation.revision)  "
        Terminal.line(head + Self.painted(Self.sentence(rotation), rotation, Terminal.errorStyle))
        for line in Self.findings(of: rotation, after: head) { Terminal.line(line) }
    }

    /// A line for each finding of a rotation that has ended.
    private static func findings(of rotation: Rotation, after head: String) -> [String] {
        guard rotation.isFinished else { return [] }
        return rotation.deployments.flatMap { deployment in
            // That others rotate beside it is no news on a terminal; the history has it.
            deployment.findings.filter { $0.id != "neighbour-renewed" }.map { finding in
                "\(head)\(deployment.node): \(TerminalText.sanitized(finding.message)) [\(finding.id)]"
            }
        }
    }

    /// One event a stage, and one for each finding at the end.
    private static func reportJSON(_ rotation: Rotation, elapsed: Double) {
        var fields: [String: JSONField] = [
            "rotation": .text(rotation.id), "certificate": .text(rotation.certificate.rawValue),
            "revision": .number(Double(rotation.revision)), "purpose": .text(rotation.purpose.rawValue),
            "step": .text(rotation.step.rawValue), "elapsedSeconds": .number(elapsed),
        ]
        if let node = rotation.currentNode { fields["target"] = .text(node.description) }
        if let issuer = rotation.issuer { fields["issuer"] = .text(issuer.rawValue) }
        if let outcome = rotation.outcome { fields["outcome"] = .text(outcome.rawValue) }
        if let failure = rotation.failure {
            fields["code"] = .text(failure.code.rawValue)
            fields["failure"] = .text(TerminalText.sanitized(failure.message))
        }
        let isBad = rotation.isFinished && rotation.outcome != .committed
        Terminal.line(LogLine.make(isBad ? "error" : "info", sentence(rotation), fields, at: Date()))
        guard rotation.isFinished else { return }
        for deployment in rotation.deployments {
            for finding in deployment.findings where finding.id != "neighbour-renewed" {
                fields["target"] = .text(deployment.node.description)
                fields["finding"] = .text(finding.id)
                let text = "\(deployment.node): \(finding.message) [\(finding.id)]"
                Terminal.line(LogLine.make("notice", text, fields, at: Date()))
            }
        }
    }

    static func sentence(_ rotation: Rotation) -> String {
        let target = rotation.currentNode.map { " \($0)" } ?? ""
        switch rotation.step {
        case .key: return "making the key"
        case .request: return "making the request"
        case .issue: return issuing(rotation)
        case .check: return "checking the certificate"
        case .stage: return "staging the bundle"
        case .prepare: return "looking at\(target)"
        case .apply: return "deploying to\(target)"
        case .verify: return "verifying what\(target) serves"
        case .commit: return "committing"
        case .restore: return "restoring\(target)"
        case .verifyRestored: return "verifying that\(target) is restored"
        case .abandon: return "abandoning"
        case .finished: return end(rotation)
        }
    }

    private static func issuing(_ rotation: Rotation) -> String {
        let issuer = rotation.issuer.map { " \($0)" } ?? ""
        if rotation.isWaiting { return "waiting for the issuer\(issuer)" }
        guard let change = rotation.issuerChanges.last else { return "asking the issuer\(issuer)" }
        return TerminalText.sanitized("asking\(issuer), because of \(change.from): \(change.message)")
    }

    /// In colour once it has ended.
    static func painted(_ sentence: String, _ rotation: Rotation, _ style: TerminalStyle) -> String {
        guard rotation.isFinished else { return sentence }
        return style.painted(sentence, rotation.outcome == .committed ? .green : .red)
    }

    private static func end(_ rotation: Rotation) -> String {
        switch rotation.outcome {
        case .committed: rotation.deployments.isEmpty ? "✓ done: issued" : "✓ done: seen served"
        case .rolledBack: "✗ rolled back: the old certificate is served again"
        case .rollbackFailed: "✗ ROLLBACK FAILED: look at the target now"
        case .failed, nil: "✗ failed: nothing live was touched"
        }
    }
}

/// What `rotate`, `deploy` and `rollback` print on stdout.
struct RotationResults {
    let items: [Item]

    struct Document: Encodable {
        let schema = 1
        let results: [Item]
    }

    struct Item: Encodable {
        let certificate: String
        let outcome: String
        @OrNull var revision: Int?
        @OrNull var code: String?
        @OrNull var message: String?
        @OrNull var hint: String?
    }

    init(_ results: [RotationEngine.Result]) {
        items = results.map { result in
            switch result {
            case .rotated(let rotation):
                Item(
                    certificate: rotation.certificate.rawValue, outcome: rotation.outcome?.rawValue ?? "open",
                    revision: rotation.revision, code: rotation.failure?.code.rawValue,
                    message: rotation.failure?.message ?? Self.success(rotation), hint: rotation.failure?.hint)
            case .waiting(let rotation):
                Item(
                    certificate: rotation.certificate.rawValue, outcome: "waiting", revision: rotation.revision,
                    code: nil,
                    message: Self.waiting(rotation),
                    hint: rotation.resumeAt == nil
                        ? "`certs csr \(rotation.certificate)` prints the request; bring the answer with `certs import`"
                        : "`certs rotate` goes on then")
            case .skipped(let item):
                Item(
                    certificate: item.certificate.rawValue, outcome: item.due ? "blocked" : "not-due", revision: nil,
                    code: nil,
                    message: item.due
                        ? "rests until \(Time.text(item.blockedUntil))" + (item.blockedBecause.map { ": \($0)" } ?? "")
                        : "due at \(Time.text(item.dueAt))",
                    hint: item.due && !item.isWaiting ? "try now with `certs rotate \(item.certificate)`" : nil)
            case .failed(let name, let error):
                Item(
                    certificate: name.rawValue, outcome: error.code == .lockHeld ? "busy" : "failed", revision: nil,
                    code: error.code.rawValue,
                    message: TerminalText.sanitized(error.cause.map { "\(error.message) (\($0))" } ?? error.message),
                    hint: error.hint)
            }
        }
    }

    /// For a person's answer there is no time.
    private static func waiting(_ rotation: Rotation) -> String {
        guard let at = rotation.resumeAt else { return "the issuer has not answered yet" }
        let what = rotation.resumeHandles.waitingFor.map { " for \($0)" } ?? ""
        return TerminalText.sanitized("waits\(what) until \(Time.text(at))")
    }

    private static func success(_ rotation: Rotation) -> String {
        let targets = rotation.deployments.map(\.node.description).joined(separator: ", ")
        return targets.isEmpty ? "issued; it has no targets" : "seen served by \(targets)"
    }

    func print(_ format: OutputFormat) throws {
        try Listing(
            document: Document(results: items), items: items,
            columns: [
                Column("certificate") { $0.certificate }, Column("outcome") { $0.outcome },
                Column("revision", isNumber: true) { $0.revision.map(String.init) ?? "-" },
                Column("reason") { item in
                    [item.message, item.hint].compactMap { $0 }.joined(separator: "; ")
                },
            ]
        ).print(format)
    }
}
