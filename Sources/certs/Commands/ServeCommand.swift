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

struct ServeCommand: AsyncParsableCommand, LoggingCommand {
    static let configuration = CommandConfiguration(
        commandName: "serve", abstract: "The service: the planner's timer and the exporter.")

    @OptionGroup var global: GlobalOptions

    func run() async throws {
        Allocator.giveBackWhatIsFreed()
        let reporter = RotationReporter(isJSON: global.logFormat.isJSON)
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
        let notifier = assembly.notifier(pause: 60)
        let jobs = assembly.declarations.maintenance.jobs
        let timer = RenewalTimer(
            engine: assembly.engine, publisher: publisher, heartbeat: heartbeat, notifier: notifier,
            rotates: !jobs.contains { $0.work == .renewCertificates })
        var services: [any Service] = [server, timer]
        if notifier.hasChannels { services.append(NotificationService(notifier)) }
        if !assembly.declarations.watch.isEmpty {
            services.append(
                WatchService(
                    watch: try assembly.watch(), publisher: publisher, notifications: notifications(assembly.logger)))
        }
        if !jobs.isEmpty {
            let scheduler = JobScheduler(
                jobs, runner: assembly.jobs, logger: assembly.logger, host: Assembly.hostName,
                gate: assembly.windowGate)
            services.append(MaintenanceService(scheduler: scheduler))
        }
        await assembly.maintenanceMode.reconcile()
        if assembly.hasWindows { services.append(WindowService(watch: assembly.windowWatch)) }
        if let systemd {
            services = [SystemdReports(systemd, heartbeat: heartbeat)] + services + [SystemdFarewell(systemd)]
        }
        try await ServiceGroup(
            services: services, gracefulShutdownSignals: [.sigterm, .sigint], logger: assembly.logger
        ).run()
    }

    /// Without them changes are seen at the next scan.
    private func notifications(_ logger: Logger) -> DirectoryInotify? {
        do {
            return try DirectoryInotify()
        } catch {
            logger.warning("\(CertsError.wrapping(error))")
            return nil
        }
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
        let exposition = try await SnapshotPublisher(
            context: assembly.engine.context, published: PublishedSnapshot(), version: Product.version,
            more: assembly.jobFamilies
        ).rendered()
        guard let textfile else {
            return Terminal.write(try exposition.text(), to: STDOUT_FILENO)
        }
        // The node_exporter has these families of itself: a second sample of the same name is an error to it.
        let text = try exposition.without(prefix: "process_").text()
        let path = URL(fileURLWithPath: textfile).standardizedFileURL.path
        try await assembly.state.liveFiles.install(
            Secret(copying: text), at: path, attributes: FileAttributes(mode: 0o644, owner: geteuid(), group: getegid())
        )
    }
}
