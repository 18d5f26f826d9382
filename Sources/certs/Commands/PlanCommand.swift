import ArgumentParser
import CertsCore
import CertsEngine
import Foundation

struct PlanCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "plan", abstract: "What is or becomes due, when, and why. Changes nothing.")

    @OptionGroup var global: GlobalOptions
    @OptionGroup var output: OutputOptions
    @Option(help: "Plan as if it were this time, e.g. 2029-06-01.")
    var at: String?
    @Option(help: "Only what becomes due before this time.")
    var until: String?

    struct Document: Encodable {
        let schema = 1
        let at: Date
        let items: [Item]
    }

    struct Item: Encodable {
        let certificate: String
        let dueAt: Date
        let reason: String
        let due: Bool
        /// What would be done: issue, or deploy what is issued.
        let action: String
        @OrNull var blockedUntil: Date?
        /// The failures, or the limit of the issuer.
        @OrNull var blockedBecause: String?
        /// Where the CA explains why it asks for this time.
        @OrNull var explanationUrl: String?

        init(_ item: PlanItem) {
            certificate = item.certificate.rawValue
            dueAt = item.dueAt
            reason = item.reason.rawValue
            due = item.due
            action = item.purpose.rawValue
            _blockedUntil = OrNull(wrappedValue: item.blockedUntil)
            _blockedBecause = OrNull(wrappedValue: item.blockedBecause)
            _explanationUrl = OrNull(wrappedValue: item.explanationURL)
        }
    }

    func run() async throws {
        let moment = try at.map { text in try Time.parse(text) } ?? Date()
        let end = try until.map { text in try Time.parse(text) }
        let engine = try await Assembly.make(global).engine
        let items = try await engine.plan(at: moment).filter { item in end.map { item.dueAt <= $0 } ?? true }
        try Self.listing(items, at: moment).print(output.output)
    }

    static func listing(_ items: [PlanItem], at moment: Date) -> Listing<Document, Item> {
        let rows = items.map(Item.init)
        return Listing(
            document: Document(at: moment, items: rows), items: rows,
            columns: [
                Column("certificate") { $0.certificate },
                Column("due") { $0.due ? "now" : "-" },
                Column("due at") { Time.text($0.dueAt) },
                Column("action") { $0.action },
                Column("reason") { item in
                    let reason = PlanReason(rawValue: item.reason)?.explanation ?? item.reason
                    return reason + (item.explanationUrl.map { " (\($0))" } ?? "")
                },
                Column("blocked until") { item in
                    Time.text(item.blockedUntil) + (item.blockedBecause.map { " (\($0))" } ?? "")
                },
            ])
    }
}
