import ArgumentParser
import CertsCore
import CertsEngine
import CertsMaintenance
import CertsStore
import Foundation

struct MaintenanceCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "maintenance", abstract: "The jobs around the service: what they do, when, and what they did.",
        subcommands: [
            MaintenanceListCommand.self, MaintenancePlanCommand.self, MaintenanceRunCommand.self,
            MaintenanceStatusCommand.self, MaintenanceReportCommand.self, BackupsCommand.self,
            RestoreTestCommand.self, RestoreCommand.self, MaintenanceRollbackCommand.self,
            RollbackTestCommand.self,
        ])
}

struct MaintenanceListCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "The declared jobs and when they run next.")

    @OptionGroup var global: GlobalOptions
    @OptionGroup var output: OutputOptions

    struct Item: Encodable {
        let job: String
        let work: String
        let subject: String
        let schedule: String
        let zone: String
        /// The type of window that it waits for; `null`: none.
        @OrNull var window: String?
        @OrNull var nextRunAt: Date?
    }

    struct Document: Encodable {
        let schema = 1
        let jobs: [Item]
    }

    func run() async throws {
        let declarations = try ConfigurationFile.load(path: global.configurationPath)
        _ = try? await Assembly.make(global, create: false).maintenanceMode.reconcile()
        let now = Date()
        let items = declarations.maintenance.jobs.map { job in
            Item(
                job: job.name.rawValue, work: job.work.word, subject: job.work.subject,
                schedule: job.schedule.rule.description, zone: Time.name(of: job.schedule.zone),
                window: job.window?.rawValue,
                nextRunAt: declarations.maintenance.nextRun(of: job, after: now, on: Assembly.hostName))
        }
        try Listing(
            document: Document(jobs: items), items: items,
            columns: [
                Column("job") { $0.job }, Column("work") { $0.work }, Column("on") { $0.subject },
                Column("schedule") { $0.schedule }, Column("zone") { $0.zone },
                Column("window") { $0.window ?? "-" },
                Column("next run") { Time.text($0.nextRunAt) },
            ]
        ).print(output.output)
    }
}

struct MaintenancePlanCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "plan", abstract: "What a job would do now; changes nothing.",
        discussion: "The same conditions as in a run, in a transaction that cannot write.")

    @OptionGroup var global: GlobalOptions
    @OptionGroup var output: OutputOptions
    @Argument(help: "The job.")
    var name: String
    @Option(help: "How many keys to name, oldest rows first.")
    var keys = 20

    struct Item: Encodable {
        let subject: String
        let count: Int
        let bytes: Int
        let held: Int
        let keys: [String]
        let warnings: [String]
        @OrNull var refusal: String?
    }

    struct Document: Encodable {
        let schema = 1
        let job: String
        let plan: [Item]
    }

    func validate() throws {
        guard (0...1_000_000).contains(keys) else { throw ValidationError("--keys takes a number from 0 to 1000000") }
    }

    func run() async throws {
        let assembly = try await Assembly.forMaintenance(global)
        let job = try assembly.job(name)
        let control = JobControl(deadline: .now + .seconds(job.deadline), now: { Date() })
        let previews = try await assembly.jobs.executor.plan(job, sample: keys, control: control)
        let items = previews.map {
            Item(
                subject: $0.subject, count: $0.count, bytes: $0.bytes, held: $0.held, keys: $0.keys,
                warnings: $0.warnings, refusal: $0.refusal)
        }
        try Listing(
            document: Document(job: name, plan: items), items: items,
            columns: [
                Column("on") { $0.subject }, Column("count", isNumber: true) { String($0.count) },
                Column("bytes", isNumber: true) { String($0.bytes) },
                Column("held", isNumber: true) { String($0.held) },
                Column("keys") { $0.keys.joined(separator: " ") },
            ]
        ).print(output.output)
        for warning in Set(items.flatMap(\.warnings)).sorted() { Terminal.note(TerminalText.sanitized(warning)) }
        for item in items {
            if let refusal = item.refusal {
                Terminal.note(TerminalText.sanitized("a run would be refused: \(refusal)"))
            }
        }
        if items.contains(where: { $0.refusal != nil }) { throw ExitStatus.refused }
    }
}

struct MaintenanceRunCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run", abstract: "Run a job now, whatever its schedule.",
        discussion: "Exit codes: 0 done; 1 failed; 3 a part is left to do; 5 refused, or another process runs it.")

    @OptionGroup var global: GlobalOptions
    @Argument(help: "The job.")
    var name: String
    @Flag(help: "Also outside the window that the job waits for, and if it shuts others out meanwhile.")
    var yes = false

    func run() async throws {
        let assembly = try await Assembly.forMaintenance(global)
        let job = try assembly.job(name)
        let window = yes ? nil : try await assembly.windowGate.admitByHand(job, at: Date())
        let runner = yes ? assembly.jobs(.confirmed) : assembly.jobs
        let run = try await runner.run(job, occurrence: nil, source: .command, window: window?.id)
        let held = run.quarantined > 0 ? ", \(run.quarantined) set aside" : ""
        let reason = run.reason.map { ": \(TerminalText.sanitized($0))" } ?? ""
        Terminal.note("\(run.job): \(run.result?.rawValue ?? "open"), \(run.rows) rows\(held)\(reason)")
        switch run.result {
        case .succeeded: return
        case .incomplete: throw ExitStatus.partly
        case .refused, .skipped: throw ExitStatus.refused
        default: throw ExitStatus.failed
        }
    }
}

struct MaintenanceStatusCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status", abstract: "What the jobs did, newest first: the ledger of their runs.")

    @OptionGroup var global: GlobalOptions
    @OptionGroup var output: OutputOptions
    @Argument(help: "One job.")
    var name: String?
    @Option(help: "How many runs.")
    var limit = 20

    /// A run as scripts see it; the ledger keeps it in a form of its own.
    struct Item: Encodable {
        let id: String
        let job: String
        @OrNull var occurrence: Date?
        let startedAt: Date
        @OrNull var endedAt: Date?
        @OrNull var result: String?
        let rows: Int
        let quarantined: Int
        @OrNull var reason: String?
        let source: String
        let runner: String

        init(_ run: JobRun) {
            (id, job, startedAt) = (run.id, run.job.rawValue, run.startedAt)
            (rows, quarantined, source, runner) = (run.rows, run.quarantined, run.source.rawValue, run.runner)
            _occurrence = OrNull(wrappedValue: run.occurrence)
            _endedAt = OrNull(wrappedValue: run.endedAt)
            _result = OrNull(wrappedValue: run.result?.rawValue)
            _reason = OrNull(wrappedValue: run.reason)
        }
    }

    struct Document: Encodable {
        let schema = 1
        let runs: [Item]
    }

    func validate() throws {
        guard (1...100_000).contains(limit) else { throw ValidationError("--limit takes a number from 1 to 100000") }
    }

    func run() async throws {
        let assembly = try await Assembly.forMaintenance(global)
        let job = try name.map { try assembly.job($0).name }
        let runs = try await assembly.database.runs(of: job, limit: limit)
        try Listing(
            document: Document(runs: runs.map(Item.init)), items: runs,
            columns: [
                Column("job") { $0.job.rawValue }, Column("started") { Time.text($0.startedAt) },
                Column("seconds", isNumber: true) { run in
                    run.endedAt.map { String(format: "%.1f", max(0, $0.timeIntervalSince(run.startedAt))) } ?? "-"
                },
                Column("result") { $0.result?.rawValue ?? "open" },
                Column("rows", isNumber: true) { String($0.rows) },
                Column("set aside", isNumber: true) { String($0.quarantined) },
                Column("source") { $0.source.rawValue }, Column("runner") { $0.runner },
                Column("reason") { $0.reason ?? "" },
            ]
        ).print(output.output)
    }
}
