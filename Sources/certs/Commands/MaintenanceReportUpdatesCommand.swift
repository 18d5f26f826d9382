import ArgumentParser
import CertsCore
import CertsEngine
import CertsMaintenance
import Foundation

struct MaintenanceReportUpdatesCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "updates", abstract: "What is behind: packages, restarts, images, Go modules.",
        discussion: """
            As the job of kind update-report declares it; without one, the packages of this host. Lists of packages are \
            loaded only where that job says `refresh: true`. Nothing is installed: a job of kind command does that.
            """)

    @OptionGroup var global: GlobalOptions
    @OptionGroup var output: OutputOptions

    struct Item: Encodable {
        let kind: String
        let name: String
        @OrNull var installed: String?
        @OrNull var available: String?
        let verdict: String
        @OrNull var origin: String?

        init(
            _ kind: String, _ name: String, installed: String? = nil, available: String? = nil, verdict: String,
            origin: String? = nil
        ) {
            (self.kind, self.name, self.verdict) = (kind, name, verdict)
            _installed = OrNull(wrappedValue: installed)
            _available = OrNull(wrappedValue: available)
            _origin = OrNull(wrappedValue: origin)
        }
    }

    struct Document: Encodable {
        let schema = 1
        @OrNull var listsLoadedAt: Date?
        @OrNull var packagesPending: Int?
        @OrNull var securityPending: Int?
        @OrNull var rebootRequired: Bool?
        let problems: [String]
        let updates: [Item]
    }

    func run() async throws {
        let jobs = try ConfigurationFile.load(path: global.configurationPath).maintenance.jobs
        var work = UpdateCheck()
        var deadline: TimeInterval = 600
        for job in jobs {
            guard case .host(.reportUpdates(let declared)) = job.work else { continue }
            (work, deadline) = (declared, job.deadline)
            break
        }
        let control = JobControl(deadline: .now + .seconds(deadline), now: { Date() })
        let pending = try await UpdateLook(work).look(control: control)
        let items = Self.items(pending)
        try Listing(
            document: Document(
                listsLoadedAt: pending.listsLoadedAt, packagesPending: pending.packages?.count,
                securityPending: pending.securityCount, rebootRequired: pending.rebootRequired,
                problems: pending.problems, updates: items),
            items: items,
            columns: [
                Column("kind") { $0.kind }, Column("name") { $0.name }, Column("installed") { $0.installed ?? "-" },
                Column("available") { $0.available ?? "-" }, Column("verdict") { $0.verdict },
                Column("origin") { $0.origin ?? "-" },
            ]
        ).print(output.output)
        if let count = pending.packages?.count {
            let loaded = pending.listsLoadedAt.map { Time.distance(to: $0, from: Date()) } ?? "never"
            Terminal.note("packages: \(count), for security \(pending.securityCount ?? 0); lists loaded: \(loaded)")
        }
        if pending.rebootRequired == true { Terminal.note("an update waits for a restart of the machine") }
        for problem in pending.problems { Terminal.note(problem) }
    }

    private static func items(_ pending: PendingUpdates) -> [Item] {
        var items = (pending.packages ?? []).map {
            Item(
                "package", $0.name, installed: $0.installed, available: $0.candidate,
                verdict: $0.isSecurity ? "security update" : "update available", origin: $0.origin)
        }
        items += (pending.services ?? []).map { Item("service", $0, verdict: "restart needed") }
        items += pending.images.map {
            Item(
                "image", $0.image, installed: $0.localDigest, available: $0.remoteDigest,
                verdict: $0.reason.map { "unknown: \($0)" } ?? $0.verdict.rawValue)
        }
        items += pending.modules.map {
            Item(
                "go module", $0.path, installed: $0.version, available: $0.update,
                verdict: $0.isIndirect ? "update available (indirect)" : "update available", origin: $0.directory)
        }
        return items
    }
}
