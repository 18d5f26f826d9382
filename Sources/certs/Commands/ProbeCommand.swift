import ArgumentParser
import CertsCore
import CertsEngine
import Foundation

struct ProbeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "probe", abstract: "What the endpoints of the certificates serve now, by a fresh handshake each.")

    @OptionGroup var global: GlobalOptions
    @OptionGroup var output: OutputOptions
    @Argument(help: "Certificates. [default: all]", completion: .certificates)
    var names: [String] = []

    struct Document: Encodable {
        let schema = 1
        let endpoints: [Item]
    }

    struct Item: Encodable {
        let certificate: String
        let target: String
        let address: String
        @OrNull var serverName: String?
        @OrNull var servedSha256: String?
        @OrNull var servedNotAfter: Date?
        @OrNull var matches: Bool?
        @OrNull var problem: String?
        let observedAt: Date
    }

    func run() async throws {
        let assembly = try await Assembly.make(global)
        let wanted = names.isEmpty ? assembly.declarations.certificates : try names.map { try assembly.declaration($0) }
        var items: [Item] = []
        for declaration in wanted {
            let state = try await assembly.engine.context.inventory.state(of: declaration.name)
            let expected = state.map(\.intendedFingerprints) ?? []
            for node in assembly.declarations.nodes(of: declaration).map(\.id) {
                for seen in await assembly.engine.context.targets[node]?.observe(names: declaration.names) ?? [] {
                    items.append(
                        Item(
                            certificate: declaration.name.rawValue, target: node.description,
                            address: seen.endpoint.address,
                            serverName: seen.endpoint.serverName, servedSha256: seen.served?.hex,
                            servedNotAfter: seen.servedNotAfter,
                            matches: expected.isEmpty ? nil : seen.served.map(expected.contains),
                            problem: seen.problem, observedAt: seen.observedAt))
                }
            }
        }
        try Listing(
            document: Document(endpoints: items), items: items,
            columns: [
                Column("certificate") { $0.certificate }, Column("target") { $0.target },
                Column("address") { $0.address },
                Column("server name") { $0.serverName ?? "-" },
                Column("matches") { $0.matches.map { $0 ? "yes" : "NO" } ?? "-" },
                Column("not after") { Time.text($0.servedNotAfter) },
                Column("served") { $0.servedSha256.map { String($0.prefix(16)) } ?? $0.problem ?? "-" },
            ]
        ).print(output.output)
        if items.contains(where: { $0.matches == false || $0.servedSha256 == nil }) { throw ExitStatus.failed }
    }
}
