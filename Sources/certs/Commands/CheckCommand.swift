import ArgumentParser
import CertsCore
import CertsEngine
import CertsMaintenance
import Foundation

struct CheckCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check",
        abstract: "Validate the configuration; with --live also the state, sockets, endpoints and jobs.",
        discussion: "With --exit-code: 10 when a certificate is due, 11 when one has expired or is not served.")

    @OptionGroup var global: GlobalOptions
    @OptionGroup var output: OutputOptions
    @Flag(
        help: "Also open the state directory and every issuer, and look at every endpoint and at what each job needs.")
    var live = false
    @Flag(help: "Tell the state of the certificates by the exit code.")
    var exitCode = false
    @Flag(help: "One line and the exit code of a monitoring plugin: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN.")
    var nagios = false

    struct Document: Encodable {
        let schema = 1
        let findings: [SubjectFinding]
    }

    struct SubjectFinding: Encodable {
        let subject: String
        let id: String
        let severity: Finding.Severity
        let message: String
        let remedy: String

        init(_ subject: String, _ finding: Finding) {
            self.subject = subject
            id = finding.id
            severity = finding.severity
            message = finding.message
            remedy = finding.remedy
        }
    }

    func run() async throws {
        if nagios { return try await runAsPlugin() }
        let declarations = try ConfigurationFile.load(path: global.configurationPath)
        var findings: [SubjectFinding] = []
        var status: StatusReport?
        if live || exitCode {
            let assembly = try await Assembly.make(global)
            if live {
                try await assembly.engine.observe()
                findings = await lookAtIssuers(assembly) + lookAtTargets(assembly) + lookAtJobs(assembly)
            }
            status = try await assembly.engine.status(at: Date())
        }
        findings += await lookAtChannels(declarations, status)
        try Listing(
            document: Document(findings: findings), items: findings,
            columns: [
                Column("subject") { $0.subject }, Column("severity") { $0.severity.rawValue }, Column("id") { $0.id },
                Column("message") { $0.message }, Column("remedy") { $0.remedy },
            ]
        ).printUnlessEmptyTable(output.output)
        Terminal.note(
            "\(global.configurationPath): \(declarations.certificates.count) certificates, \(declarations.issuers.count) issuers, "
                + "\(declarations.targets.count) targets" + (findings.isEmpty ? ": ok" : ", \(findings.count) findings")
        )
        if exitCode, let status { try tell(status) }
        if findings.contains(where: { $0.severity == .error }) { throw ExitStatus.failed }
    }

    private func runAsPlugin() async throws {
        let result: PluginResult
        do {
            let assembly = try await Assembly.make(global, create: false)
            if live { try await assembly.engine.observe() }
            let now = Date()
            let down = try await assembly.engine.downSources()
            result = PluginResult(try await assembly.engine.status(at: now), downSources: down, at: now)
        } catch {
            result = PluginResult(unknown: CertsError.wrapping(error))
        }
        Terminal.print(result.line)
        if result.state != .ok { throw ExitStatus(rawValue: result.state.rawValue) }
    }

    private func tell(_ status: StatusReport) throws {
        let managed = status.certificates.filter(\.managed)
        if managed.contains(where: { $0.state == .expired || $0.isWronglyServed }) {
            throw ExitStatus.expiredOrWronglyServed
        }
        if managed.contains(where: \.isDue) { throw ExitStatus.due }
    }

    /// Channels that fail: known from the messages that they did not take.
    private func lookAtChannels(_ declarations: Declarations, _ status: StatusReport?) async -> [SubjectFinding] {
        guard !declarations.notifications.channels.isEmpty else { return [] }
        // Where nothing else needs the state, it may not be there yet.
        let known = status?.channels
        let channels =
            if let known { known } else {
                try? await Assembly.make(global, create: false).engine.channelStatus()
            }
        return (channels ?? []).filter { $0.consecutiveFailures > 0 }.map { channel in
            SubjectFinding(
                channel.channel,
                Finding(
                    id: "notification-failing", severity: .warning, message: channel.lastError ?? "it fails",
                    remedy: "mend it, then try `certs notify test \(channel.channel)`"))
        }
    }

    private func lookAtIssuers(_ assembly: Assembly) async -> [SubjectFinding] {
        var findings: [SubjectFinding] = []
        for (name, issuer) in assembly.engine.context.issuers.sorted(by: { $0.key < $1.key }) {
            do {
                _ = try await issuer.trustAnchors()
            } catch {
                findings.append(.init(name.rawValue, .init(error: CertsError.wrapping(error), id: "issuer-unusable")))
            }
            guard let inspectable = issuer as? any InspectableIssuer else { continue }
            let users = assembly.declarations.certificates.filter { $0.issuers.contains(name) }
            findings += await inspectable.inspect(users, now: Date()).map { SubjectFinding(name.rawValue, $0) }
        }
        return findings
    }

    /// Jobs whose next run could not even begin; what several have in common is told once.
    private func lookAtJobs(_ assembly: Assembly) async -> [SubjectFinding] {
        var subjects: [String: [String]] = [:]
        var findings: [(message: String, finding: Finding)] = []
        for job in assembly.declarations.maintenance.jobs {
            let control = JobControl(deadline: .now + .seconds(60), now: { Date() })
            guard let error = await assembly.jobs.executor.obstacle(to: job, control: control) else { continue }
            if subjects[error.message] == nil {
                findings.append((error.message, Finding(error: error, id: "job-unusable")))
            }
            subjects[error.message, default: []].append(job.name.rawValue)
        }
        return findings.map { SubjectFinding(subjects[$0.message, default: []].joined(separator: ", "), $0.finding) }
    }

    private func lookAtTargets(_ assembly: Assembly) async -> [SubjectFinding] {
        var findings: [SubjectFinding] = []
        for inspection in await assembly.engine.inspectTargets() {
            findings += inspection.findings.map { SubjectFinding(inspection.node.description, $0) }
        }
        for declaration in assembly.declarations.certificates {
            for node in assembly.declarations.nodes(of: declaration) {
                guard let target = assembly.engine.context.targets[node.id] else { continue }
                for seen in await target.observe(names: declaration.names) where seen.served == nil {
                    findings.append(
                        .init(
                            "\(node.id) \(seen.endpoint.address)",
                            Finding(
                                id: "endpoint-unreachable", severity: .error,
                                message: seen.problem ?? "nothing is served",
                                remedy: "start HAProxy, or correct the endpoint")))
                }
            }
        }
        return findings
    }
}

extension Listing {
    /// A table without a line is no news.
    func printUnlessEmptyTable(_ format: OutputFormat) throws {
        if format == .table, items.isEmpty { return }
        try print(format)
    }
}
