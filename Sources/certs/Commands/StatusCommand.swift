import ArgumentParser
import CertsCore
import CertsEngine
import CertsStore
import Foundation

struct StatusCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status", abstract: "The inventory: state, days left, due date, served or not.",
        discussion: """
            What needs attention comes first. Shows what was last seen; --observe looks at the endpoints first. On a \
            terminal the table has the columns that fit; elsewhere all of them.
            """)

    @OptionGroup var global: GlobalOptions
    @OptionGroup var output: OutputOptions
    @Argument(help: "One certificate.", completion: .certificates)
    var name: String?
    @Flag(help: "Look at every endpoint before.")
    var observe = false
    @Flag(help: "Make the database again from the files of the state directory.")
    var rebuild = false

    func run() async throws {
        if rebuild { try await makeDatabaseAgain() }
        let assembly = try await Assembly.make(global)
        let certificate = try name.map { try assembly.declaration($0).name }
        if rebuild { try await assembly.engine.reconcile() }
        if observe || rebuild { try await assembly.engine.observe(only: certificate.map { [$0] }) }
        let now = Date()
        let report = try await assembly.engine.status(of: certificate, at: now)
        if output.output == .table {
            Terminal.print(StatusView(entries: report.certificates, now: now, style: .standardOutput).render())
        } else {
            try Listing(document: report, items: report.certificates, columns: Self.columns).print(output.output)
        }
        for channel in report.channels where channel.consecutiveFailures > 0 {
            Terminal.note(
                "the channel \(channel.channel) fails (\(channel.consecutiveFailures) times, \(channel.pending) messages "
                    + "wait): \(channel.lastError ?? "unknown")")
        }
    }

    private func makeDatabaseAgain() async throws {
        let declarations = try ConfigurationFile.load(path: global.configurationPath)
        let state = try await StateDirectory.open(at: declarations.stateDirectory, create: false)
        let rebuilt = try await Database.rebuild(in: state, now: Date())
        for file in rebuilt.quarantined { Terminal.note("left out: \(file.path): \(file.reason)") }
        if let old = rebuilt.movedAside { Terminal.note("the old database was moved to \(old)") }
        Terminal.note(
            "made again from \(state.path): \(rebuilt.certificates) certificates, \(rebuilt.revisions) revisions")
    }

    static let columns: [Column<StatusReport.Entry>] = [
        Column("certificate") { $0.name },
        Column("state") { $0.state.rawValue },
        Column("days left", isNumber: true) { $0.daysLeft.map { String(format: "%.1f", $0) } ?? "-" },
        Column("not after") { Time.text($0.notAfter) },
        Column("due at") { Time.text($0.dueAt) },
        Column("served") { Self.served($0) },
        Column("next attempt") { Self.rest($0) },
        Column("revision", isNumber: true) { $0.revision.map(String.init) ?? "-" },
        Column("sha256") { $0.sha256.map { String($0.prefix(16)) } ?? "-" },
    ]

    /// Until when it rests, and why.
    private static func rest(_ entry: StatusReport.Entry) -> String {
        guard let because = entry.nextAttemptBecause else { return entry.waitingFor.map { "waits: \($0)" } ?? "-" }
        return "\(Time.text(entry.nextAttemptAt)): \(because)"
    }

    /// `2/2`: how many endpoints were last seen serving what they should.
    static func served(_ entry: StatusReport.Entry) -> String {
        let endpoints = entry.targets.flatMap(\.endpoints)
        guard !endpoints.isEmpty else { return "-" }
        return "\(endpoints.count { $0.matches == true })/\(endpoints.count)"
    }
}
