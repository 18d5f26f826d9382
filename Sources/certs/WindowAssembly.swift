import CertsCore
import CertsEngine
import CertsIssuers
import CertsMaintenance
import Foundation
import ServiceLifecycle

extension Assembly {
    /// As ``make(_:logLevel:create:progress:pulse:)``, and a maintenance mode that nobody holds any more is off.
    static func forMaintenance(_ options: GlobalOptions) async throws -> Assembly {
        let assembly = try await make(options)
        await assembly.maintenanceMode.reconcile()
        return assembly
    }

    var maintenanceMode: MaintenanceMode {
        let admin = declarations.maintenance.admin.map { admin in
            AdminClient(admin) { try SecretFile.read(admin.tokenFile, what: "the token of the admin API") }
        }
        return MaintenanceMode(admin: admin, ledger: database, locks: state, logger: logger, now: { Date() })
    }

    var windowGate: WindowGate { WindowGate(declarations.maintenance, windows: database, jobs: database) }

    var hasWindows: Bool { !declarations.maintenance.windows.isEmpty || declarations.maintenance.admin != nil }

    var windowWatch: WindowWatch {
        WindowWatch(
            declarations.maintenance, mode: maintenanceMode, jobs: database, host: Self.hostName, logger: logger)
    }

    /// - Parameter report: told of each step.
    func windowProcedure(report: @escaping @Sendable (WindowEvent) -> Void) -> WindowProcedure {
        WindowProcedure(
            declarations.maintenance, runner: jobs, mode: maintenanceMode, faults: engine.context.faults,
            certificates: { await servedState() }, report: report)
    }

    /// Whether each certificate that has been deployed is served, by a fresh handshake with each endpoint.
    private func servedState() async -> [WindowProcedure.Check] {
        var checks: [WindowProcedure.Check] = []
        for declaration in declarations.certificates where !declaration.targets.isEmpty {
            let subject = "certificate \(declaration.name)"
            do {
                guard let state = try await engine.context.inventory.state(of: declaration.name),
                    !state.intendedFingerprints.isEmpty
                else { continue }
                checks.append(await servedState(of: declaration, state, subject))
            } catch {
                checks.append(
                    .init(subject: subject, holds: false, detail: CertsError.wrapping(error).description))
            }
        }
        return checks
    }

    private func servedState(
        of declaration: CertificateDeclaration, _ state: CertificateState, _ subject: String
    ) async -> WindowProcedure.Check {
        var until: Date?
        var problems: [String] = []
        var count = 0
        for node in declarations.nodes(of: declaration).map(\.id) {
            for seen in await engine.context.targets[node]?.observe(names: declaration.names) ?? [] {
                count += 1
                if let served = seen.served, state.intendedFingerprints.contains(served) {
                    until = [until, seen.servedNotAfter].compactMap(\.self).min()
                } else {
                    problems.append("\(seen.endpoint.address): \(seen.problem ?? "another certificate is served")")
                }
            }
        }
        guard problems.isEmpty, count > 0 else {
            let detail = problems.isEmpty ? "no endpoint tells" : problems.joined(separator: "; ")
            return .init(subject: subject, holds: false, detail: TerminalText.sanitized(detail))
        }
        let end = until.map { "valid until \(Time.text($0).prefix(10))" } ?? "served"
        return .init(subject: subject, holds: true, detail: "\(end), served by \(count) of \(count) endpoints")
    }

    /// `USER@HOST` of who gives the command, also through sudo.
    static var operatorName: String {
        let environment = ProcessInfo.processInfo.environment
        let user = environment["SUDO_USER"] ?? ProcessInfo.processInfo.userName
        return TerminalText.sanitized("\(user.isEmpty ? "uid \(getuid())" : user)@\(hostName)", limit: 200)
    }
}

/// The windows as a service.
struct WindowService: Service {
    let watch: WindowWatch

    func run() async throws {
        await cancelWhenGracefulShutdown { await watch.run() }
    }
}
