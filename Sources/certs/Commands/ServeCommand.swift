import ArgumentParser
import CertsCore
import CertsEngine
import CertsMaintenance
import CertsStore
import CertsWeb
import Foundation
import Logging
import ServiceLifecycle
import UnixSignals

struct ServeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "serve", abstract: "The service: the planner's timer and the exporter.")

    @OptionGroup var global: GlobalOptions

    func run() async throws {
        let reporter = RotationReporter()
        let heartbeat = Heartbeat()
        let assembly = try await Assembly.make(
            global, logLevel: .notice,
            progress: { rotation in
                heartbeat.beat()
                reporter.report(rotation)
            }, pulse: { heartbeat.beat() })
        let published = PublishedSnapshot(heartbeat: heartbeat)
        let publisher = SnapshotPublisher(
            context: assembly.engine.context, published: published, version: Product.version,
            more: assembly.jobFamilies)
        let systemd = SystemdNotifier(ProcessInfo.processInfo.environment)
        let server = try WebServer(
            assembly.declarations.server, snapshot: published, version: Product.version, logger: assembly.logger,
            onListening: { _ in systemd?.ready() })
        let timer = RenewalTimer(engine: assembly.engine, publisher: publisher, heartbeat: heartbeat)
        var services: [any Service] = [server, timer]
        let jobs = assembly.declarations.maintenance.jobs
        if !jobs.isEmpty {
            let scheduler = JobScheduler(jobs, runner: assembly.jobs, logger: assembly.logger, host: Assembly.host)
            services.append(MaintenanceService(scheduler: scheduler))
        }
        if let systemd {
            services = [SystemdReports(systemd, heartbeat: heartbeat)] + services + [SystemdFarewell(systemd)]
        }
        try await ServiceGroup(
            services: services, gracefulShutdownSignals: [.sigterm, .sigint], logger: assembly.logger
        ).run()
    }
}

struct MetricsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "metrics", abstract: "The exposition, once.")

    @OptionGroup var global: GlobalOptions
    @Option(
        help: "Write it to this file, atomically, for the textfile collector of the node_exporter.", completion: .file()
    )
    var textfile: String?

    func run() async throws {
        let assembly = try await Assembly.make(global)
        let published = PublishedSnapshot()
        await SnapshotPublisher(
            context: assembly.engine.context, published: published, version: Product.version,
            more: assembly.jobFamilies
        ).publish()
        let text = published.current.metricsText
        guard let textfile else {
            Terminal.write(text, to: STDOUT_FILENO)
            return
        }
        let path = URL(fileURLWithPath: textfile).standardizedFileURL.path
        try await assembly.state.liveFiles.install(
            Secret(copying: text), at: path, attributes: FileAttributes(mode: 0o644, owner: geteuid(), group: getegid())
        )
    }
}
