import ArgumentParser
import CertsCore
import CertsMaintenance
import CertsStore
import Foundation

struct MaintenanceRollbackCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rollback", abstract: "Put an earlier deployment or an earlier configuration file back.",
        discussion:
            "Without --yes it only says what it would do. Exit codes: 0 done; 1 failed and put back; 5 refused.",
        subcommands: [RollbackServiceCommand.self, RollbackFileCommand.self])
}

struct RollbackServiceCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "service", abstract: "Make the container of a service again as it was.",
        discussion: """
            From what a job of kind deployment-journal has recorded. The container that runs is kept until the new one is \
            healthy, and put back if it does not get so. Data in volumes stays as it is.
            """)

    @OptionGroup var global: GlobalOptions
    @OptionGroup var output: OutputOptions
    @Argument(help: "The name of the container, or of the Compose service.")
    var name: String
    @Option(name: .customLong("to"), help: "The number of the deployment; else the last one that is not running now.")
    var number: Int?
    @Flag(help: "Do it.")
    var yes = false

    struct Item: Encodable {
        let number: Int
        let seenAt: Date
        let image: String
        let imageID: String
        let state: String
    }

    struct Document: Encodable {
        let schema = 1
        let service: String
        let deployments: [Item]
    }

    func run() async throws {
        let assembly = try await Assembly.forMaintenance(global)
        let (job, work) = try assembly.hostJob("deployment-journal") { (job: HostJob) -> DeploymentRecording? in
            if case .recordDeployments(let work) = job { work } else { nil }
        }
        let rollback = ServiceRollback(work, files: assembly.state, now: { Date() })
        let plan = try await rollback.plan(name, to: number)
        guard yes else {
            try show(plan)
            Terminal.note("nothing is changed; with --yes, \(plan.service) runs deployment \(plan.target.number)")
            return
        }
        // The two containers may take their time to stop, too.
        let deadline = work.healthyWithin + 1200
        try await assembly.record(job, deadline: deadline) { try await rollback.run(plan, control: $0) }
    }

    private func show(_ plan: ServiceRollback.Plan) throws {
        func state(_ deployment: ServiceDeployment) -> String {
            if deployment.number == plan.current { return "runs now" }
            return deployment.number == plan.target.number ? "would run" : ""
        }
        let items = plan.deployments.map { deployment in
            Item(
                number: deployment.number, seenAt: deployment.seenAt, image: deployment.image,
                imageID: deployment.imageID, state: state(deployment))
        }
        let columns: [Column<Item>] = [
            Column("number", isNumber: true) { String($0.number) }, Column("seen") { Time.text($0.seenAt) },
            Column("image") { $0.image }, Column("id") { String($0.imageID.dropFirst(7).prefix(12)) },
            Column("state") { $0.state },
        ]
        try Listing(
            document: Document(service: plan.service, deployments: items), items: items, columns: columns
        ).print(output.output)
    }
}

struct RollbackFileCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "file", abstract: "Put an earlier version of a configuration file in its place.",
        discussion: """
            From what a job of kind file-versions has kept. Then its `validate` and `reload` commands run; where one of \
            them fails, the file is put back as it was.
            """)

    @OptionGroup var global: GlobalOptions
    @OptionGroup var output: OutputOptions
    @Argument(help: "The file.")
    var path: String
    @Option(name: .customLong("to"), help: "The number of the version; else the last one that is not there now.")
    var number: Int?
    @Flag(help: "Do it.")
    var yes = false

    struct Item: Encodable {
        let number: Int
        let seenAt: Date
        let size: Int
        let sha256: String
        let state: String
    }

    struct Document: Encodable {
        let schema = 1
        let path: String
        let versions: [Item]
    }

    func run() async throws {
        let assembly = try await Assembly.forMaintenance(global)
        let path = self.path.hasPrefix("/") ? self.path : "\(FileManager.default.currentDirectoryPath)/\(self.path)"
        let (job, work) = try assembly.hostJob("file-versions") { (job: HostJob) -> FileVersioning? in
            guard case .keepVersions(let work) = job else { return nil }
            return work.files.contains { $0.path == path } ? work : nil
        }
        let rollback = FileRollback(
            work, files: assembly.state, live: assembly.state.liveFiles, now: { Date() })
        let plan = try await rollback.plan(path, to: number)
        guard yes else {
            try show(plan)
            Terminal.note("nothing is changed; with --yes, \(path) is version \(plan.target.number)")
            return
        }
        try await assembly.record(job) { try await rollback.run(plan, control: $0) }
    }

    private func show(_ plan: FileRollback.Plan) throws {
        func state(_ version: FileVersion) -> String {
            if version.number == plan.current { return "is there now" }
            return version.number == plan.target.number ? "would be put back" : ""
        }
        let items = plan.versions.map { version in
            Item(
                number: version.number, seenAt: version.seenAt, size: version.size, sha256: version.digest,
                state: state(version))
        }
        let columns: [Column<Item>] = [
            Column("number", isNumber: true) { String($0.number) }, Column("seen") { Time.text($0.seenAt) },
            Column("bytes", isNumber: true) { String($0.size) }, Column("sha-256") { String($0.sha256.prefix(12)) },
            Column("state") { $0.state },
        ]
        try Listing(document: Document(path: path, versions: items), items: items, columns: columns)
            .print(output.output)
    }
}

extension Assembly {
    /// The first declared job on this host for which `pick` has something.
    fileprivate func hostJob<Work>(_ kind: String, _ pick: (HostJob) -> Work?) throws -> (JobDeclaration, Work) {
        for job in declarations.maintenance.jobs {
            guard case .host(let work) = job.work, let found = pick(work) else { continue }
            return (job, found)
        }
        throw CertsError(
            .jobRefused, "no job of kind \(kind) that has it is declared",
            hint: "declare one under `maintenance.jobs`, and let it run before the next change")
    }

    /// Runs `body` under the lock of the job and with a line in the ledger of its own.
    fileprivate func record(
        _ job: JobDeclaration, deadline: TimeInterval? = nil, _ body: (JobControl) async throws -> String
    ) async throws {
        Interruption.finishesFirst()
        let words = try await jobs.record(job, deadline: deadline, body)
        Terminal.note(TerminalText.sanitized(words))
    }
}
