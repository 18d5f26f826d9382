import ArgumentParser
import CertsCore
import CertsEngine

struct DriftCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "drift",
        abstract: "Compare what is declared with the disk, HAProxy's memory and what is served.",
        discussion: """
            Exit codes: 0 no drift, or all of it repaired; 1 drift that is left; 6 a repair that was rolled back. With \
            --repair the declared revision is deployed again and verified, and copies of bundles that HAProxy loads are \
            moved into the state directory.
            """)

    @OptionGroup var global: GlobalOptions
    @OptionGroup var output: OutputOptions
    @Argument(help: "Certificates to look at. [default: all]", completion: .certificates)
    var names: [String] = []
    @Flag(help: "Mend what differs, verified by handshakes.")
    var repair = false

    struct Document: Encodable {
        let schema = 1
        let drift: [Item]
    }

    struct Item: Encodable {
        let target: String
        let certificate: String
        let path: String
        let kind: String
        let message: String
        let remedy: String

        init(_ drift: Drift) {
            target = drift.node.description
            certificate = drift.certificate.rawValue
            path = drift.path
            kind = drift.kind.rawValue
            message = TerminalText.sanitized(drift.message)
            remedy = drift.remedy
        }
    }

    func run() async throws {
        Interruption.finishesFirst()
        let reporter = RotationReporter(isJSON: global.logFormat.isJSON)
        let assembly = try await Assembly.make(global, progress: { reporter.report($0) })
        let wanted = try names.map { try assembly.declaration($0).name }
        let scope = wanted.isEmpty ? nil : Set(wanted)
        let found = await assembly.engine.drift(of: scope)
        try print(found)
        guard !found.isEmpty else { return Terminal.note("no drift") }
        guard repair else { throw ExitStatus.failed }
        // What an interrupted rotation left may be all that differs.
        let recovered = try await assembly.engine.recover()
        let wrong = recovered.isEmpty ? found : await assembly.engine.drift(of: scope)
        let results = await assembly.engine.repair(wrong)
        for result in RotationResults(results).items where result.code != nil {
            let reason = [result.message, result.hint].compactMap(\.self).joined(separator: "; ")
            Terminal.note("not repaired: \(result.certificate): \(reason)")
        }
        let left = await assembly.engine.drift(of: scope)
        for drift in left {
            Terminal.note(
                "left: \(drift.node) \(drift.certificate) \(drift.path): \(TerminalText.sanitized(drift.message))")
        }
        let status = ExitStatus(results)
        if status != .done { throw status }
        if !left.isEmpty { throw ExitStatus.failed }
        Terminal.note("repaired: declared, disk, memory and served are the same")
    }

    private func print(_ found: [Drift]) throws {
        let items = found.map(Item.init)
        try Listing(
            document: Document(drift: items), items: items,
            columns: [
                Column("target") { $0.target }, Column("certificate") { $0.certificate },
                Column("kind") { $0.kind }, Column("path") { $0.path }, Column("what") { $0.message },
                Column("remedy") { $0.remedy },
            ]
        ).printUnlessEmptyTable(output.output)
    }
}
