import ArgumentParser
import CertsCore
import CertsEngine
import Foundation

struct HistoryCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "history", abstract: "The rotations, newest first, with their stages and reasons.")

    @OptionGroup var global: GlobalOptions
    @OptionGroup var output: OutputOptions
    @Argument(help: "One certificate.", completion: .certificates)
    var name: String?
    @Option(help: "How many at most.")
    var limit = 50

    struct Document: Encodable {
        let schema = 1
        let rotations: [Item]
    }

    struct Item: Encodable {
        let id: String
        let certificate: String
        let revision: Int
        let purpose: String
        let reason: String
        /// Who signed, or was asked last; `null`: nothing was to be issued.
        @OrNull var issuer: String?
        /// The issuers that did not sign, and why.
        let issuerChanges: [ChangeEntry]
        let startedAt: Date
        @OrNull var endedAt: Date?
        /// `open` while it runs or waits.
        let outcome: String
        @OrNull var failure: StatusReport.Failure?
        let steps: [Step]
        let deployments: [DeploymentEntry]
    }

    struct ChangeEntry: Encodable {
        let from: String
        let to: String
        let code: String
        let message: String
        let at: Date

        init(_ change: IssuerChange) {
            (from, to) = (change.from.rawValue, change.to.rawValue)
            (code, message, at) = (change.code.rawValue, change.message, change.at)
        }
    }

    struct DeploymentEntry: Encodable {
        let target: String
        let state: String
        /// The reload method that was used; `null`: it did not come that far.
        @OrNull var method: String?
        /// Why another method than the declared one was used.
        @OrNull var methodReason: String?
        let findings: [Finding]

        init(_ deployment: Deployment) {
            target = deployment.node.description
            state = deployment.state.rawValue
            _method = OrNull(wrappedValue: deployment.receipt?.method)
            _methodReason = OrNull(wrappedValue: deployment.receipt?.reason)
            findings = deployment.findings
        }
    }

    struct Step: Encodable {
        let step: String
        @OrNull var target: String?
        let at: Date
        /// Until the next step began.
        @OrNull var seconds: Double?
    }

    func run() async throws {
        let assembly = try await Assembly.make(global)
        let certificate = try name.map { try assembly.declaration($0).name }
        let rotations = try await assembly.engine.context.journal.history(
            of: certificate, limit: max(1, min(limit, 10_000)))
        let items = rotations.map(Self.item)
        try Listing(
            document: Document(rotations: items), items: items,
            columns: [
                Column("certificate") { $0.certificate }, Column("revision", isNumber: true) { String($0.revision) },
                Column("purpose") { $0.purpose }, Column("started") { Time.text($0.startedAt) },
                Column("outcome") { $0.outcome }, Column("issuer") { $0.issuer ?? "-" },
                Column("stage") { $0.failure?.step ?? $0.steps.last?.step ?? "-" },
                Column("reason") { item in
                    let reason =
                        item.failure.map { "\($0.message) [\($0.code)]" }
                        ?? PlanReason(rawValue: item.reason)?.explanation ?? item.reason
                    // A failure of all has the reasons of all.
                    let changes = item.failure == nil ? item.issuerChanges : []
                    return ([reason] + changes.map { "not \($0.from): \($0.message) [\($0.code)]" })
                        .joined(separator: "; ")
                },
            ]
        ).print(output.output)
    }

    private static func item(_ rotation: Rotation) -> Item {
        let steps = rotation.log.enumerated().map { index, record in
            let next = index + 1 < rotation.log.count ? rotation.log[index + 1].at : nil
            return Step(
                step: record.step.rawValue, target: record.node?.description, at: record.at,
                seconds: next.map { ($0.timeIntervalSince(record.at) * 1000).rounded() / 1000 })
        }
        return Item(
            id: rotation.id, certificate: rotation.certificate.rawValue, revision: rotation.revision,
            purpose: rotation.purpose.rawValue, reason: rotation.reason.rawValue,
            issuer: rotation.issuer?.rawValue, issuerChanges: rotation.issuerChanges.map(ChangeEntry.init),
            startedAt: rotation.startedAt,
            endedAt: rotation.endedAt, outcome: rotation.outcome?.rawValue ?? "open",
            failure: rotation.failure.map(StatusReport.Failure.init), steps: steps,
            deployments: rotation.deployments.map(DeploymentEntry.init))
    }
}
