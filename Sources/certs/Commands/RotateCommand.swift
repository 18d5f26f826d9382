import ArgumentParser
import CertsCore
import CertsEngine
import Foundation

struct RotateCommand: AsyncParsableCommand, LoggingCommand {
    static let configuration = CommandConfiguration(
        commandName: "rotate",
        abstract: "Rotate what is due, or the named certificates now: issue, deploy, verify, or roll back.",
        discussion: "Without names: what is due, as the daily timer does. With names or --all: now, due or not.")

    @OptionGroup var global: GlobalOptions
    @OptionGroup var output: OutputOptions
    @Argument(help: "Certificates to rotate now.", completion: .certificates)
    var names: [String] = []
    @Flag(help: "Rotate every declared certificate now.")
    var all = false
    @Flag(help: "Print the plan and change nothing.")
    var dryRun = false

    func run() async throws {
        guard !(all && !names.isEmpty) else { throw ValidationError("give names or --all, not both") }
        Interruption.finishesFirst()
        let live = !dryRun && (all || names.count > 1) ? LiveProgress(global) : nil
        let reporter = RotationReporter(isJSON: global.logFormat.isJSON, live: live)
        defer { reporter.end() }
        let assembly = try await Assembly.make(global, progress: { reporter.report($0) })
        let wanted =
            all ? assembly.declarations.certificates.map(\.name) : try names.map { try assembly.declaration($0).name }
        live?.expect(wanted.count)
        if dryRun { return try await printPreview(assembly.engine, wanted) }
        try await assembly.tellingAtTheEnd {
            let recovered = try await assembly.engine.recover()
            let rotated =
                wanted.isEmpty && !all
                ? try await Self.rotateDue(assembly.engine) : await assembly.engine.rotate(wanted)
            // The CA is asked about a new certificate as soon as it is there.
            if rotated.contains(where: \.isRotated) { await assembly.engine.refreshHints() }
            reporter.end()
            let results = Self.merged(recovered, rotated)
            try RotationResults(results).print(output.output)
            let status = ExitStatus(results)
            if status != .done { throw status }
        }
    }

    private static func rotateDue(_ engine: RotationEngine) async throws -> [RotationEngine.Result] {
        try await engine.reconcile()
        await engine.refreshHints()
        return try await engine.rotateDue()
    }

    /// What an interrupted rotation came to is told too when it ended badly, unless its certificate was worked on again.
    private static func merged(
        _ recovered: [RotationEngine.Result], _ rotated: [RotationEngine.Result]
    ) -> [RotationEngine.Result] {
        let workedOn = Set(rotated.filter { !$0.isSkipped }.map(\.certificate))
        let failed = recovered.filter { $0.isFailure && !workedOn.contains($0.certificate) }
        let told = Set(failed.map(\.certificate))
        return failed + rotated.filter { !told.contains($0.certificate) }
    }

    private func printPreview(_ engine: RotationEngine, _ wanted: [Name]) async throws {
        let now = Date()
        var items = try await engine.plan(at: now, only: wanted.isEmpty ? nil : Set(wanted))
        if wanted.isEmpty {
            items = items.filter(\.due)
        } else {
            items = items.map { item in
                var forced = item
                if !item.due { (forced.due, forced.reason, forced.purpose) = (true, .requested, .issue) }
                return forced
            }
        }
        try DryRun(await engine.preview(items), at: now).print(output.output)
    }
}

struct DeployCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "deploy", abstract: "Deploy the newest issued revision again, verified.")

    @OptionGroup var global: GlobalOptions
    @OptionGroup var output: OutputOptions
    @Argument(help: "The certificate.", completion: .certificates)
    var name: String

    func run() async throws {
        try await runOne(global, output, name) { engine, name in
            await engine.deploy([name]).first ?? .failed(name, CertsError(.internal, "no result"))
        }
    }
}

struct RollbackCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rollback", abstract: "Deploy the previous revision, or the one given, verified.")

    @OptionGroup var global: GlobalOptions
    @OptionGroup var output: OutputOptions
    @Argument(help: "The certificate.", completion: .certificates)
    var name: String
    @Option(name: .customLong("to"), help: "The revision to go back to; `certs history NAME` lists them.")
    var revision: Int?

    func run() async throws {
        let revision = revision
        try await runOne(global, output, name) { engine, name in await engine.rollBack(name, to: revision) }
    }
}

/// One rotation of one named certificate, with its progress and its exit code.
func runOne(
    _ global: GlobalOptions, _ output: OutputOptions, _ name: String,
    _ body: (RotationEngine, Name) async -> RotationEngine.Result
) async throws {
    Interruption.finishesFirst()
    let reporter = RotationReporter(isJSON: global.logFormat.isJSON)
    let assembly = try await Assembly.make(global, progress: { reporter.report($0) })
    let certificate = try assembly.declaration(name).name
    try await assembly.tellingAtTheEnd {
        try await assembly.engine.recover()
        let result = await body(assembly.engine, certificate)
        try RotationResults([result]).print(output.output)
        let status = ExitStatus(result)
        if status != .done { throw status }
    }
}

extension RotationEngine.Result {
    var certificate: Name {
        switch self {
        case .rotated(let rotation), .waiting(let rotation): rotation.certificate
        case .skipped(let item): item.certificate
        case .failed(let name, _): name
        }
    }

    fileprivate var isSkipped: Bool {
        if case .skipped = self { true } else { false }
    }
}
