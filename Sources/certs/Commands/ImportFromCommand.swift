import ArgumentParser
import CertsCore
import CertsCrypto
import CertsIssuers
import Foundation

struct ImportFromCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "import-from",
        abstract: "Take over certificates, keys and accounts of another ACME client.",
        discussion: """
            Prints what would be declared; with --write it is added to the configuration file, each certificate becomes \
            revision 1, and the account goes on being used. Nothing in the directory of the other client is changed.
            """)

    @OptionGroup var global: GlobalOptions
    @Argument(help: "certbot, lego, acme.sh, caddy, uacme or dehydrated.")
    var client: ForeignClient
    @Argument(help: "The directory of that client, for certbot usually /etc/letsencrypt.", completion: .directory)
    var directory: String
    @Flag(help: "Write the declarations, and store certificates, keys and accounts.")
    var write = false
    @Option(help: "An issuer of the configuration to use for everything, instead of new ones.")
    var issuer: String?
    @Option(help: "The address of the CA's directory, for clients that do not keep it (lego, Caddy, uacme).")
    var server: String?
    @Option(help: "The CA file that a private ACME server needs; written into new issuers.", completion: .file())
    var caFile: String?
    @Option(name: [.customShort("o"), .long], help: "yaml or json.")
    var output: ImportOutput = .yaml

    enum ImportOutput: String, ExpressibleByArgument, CaseIterable { case yaml, json }

    func run() async throws {
        let now = Date()
        let (folder, survey) = try await look()
        let lock = write ? try await ImportWriter.lock(global.configurationPath) : nil
        defer { lock?.release() }
        let plan = try ImportPlan(
            survey, client: client, folder: folder, declared: try declared(),
            options: .init(
                issuer: try issuer.map { (name) throws(CertsError) in try Name(name) },
                caFile: caFile.map { URL(fileURLWithPath: $0).standardizedFileURL.path }, now: now))
        guard !plan.certificates.isEmpty || !plan.problems.isEmpty else {
            throw CertsError(
                .certificateMissing, "\(folder.root) has no certificate of \(client.rawValue)",
                hint: "name the directory that \(client.rawValue) keeps: usually \(client.usualPlace)")
        }
        var report: ImportWriter.Report?
        if write, !plan.certificates.isEmpty {
            let writer = ImportWriter(
                plan: plan, client: client, configuration: global.configurationPath, now: now)
            report = try await writer.write()
        }
        let problems = plan.problems + (report?.problems ?? [])
        let done = report.map { plan.keeping(Set($0.certificates.keys)) } ?? plan
        try show(done, report, problems, folder)
        if !problems.isEmpty { throw done.certificates.isEmpty ? ExitStatus.failed : ExitStatus.partly }
    }

    private func look() async throws -> (ForeignFolder, ForeignSurvey) {
        let (client, directory, server) = (client, directory, server)
        if let server, URLComponents(string: server)?.scheme != "https" {
            throw CertsError(
                .usage, "'\(TerminalText.sanitized(server, limit: 200))' is not an https address",
                hint: "name the CA's directory: --server https://…")
        }
        return try await BlockingPool.shared.run {
            let folder = try ForeignFolder(directory)
            return (folder, client.survey(folder, server: server))
        }
    }

    /// What is declared; a file that is not there yet declares nothing.
    private func declared() throws(CertsError) -> Declarations? {
        do {
            return try ConfigurationFile.load(path: global.configurationPath)
        } catch  where error.code == .fileMissing {
            return nil
        }
    }

    private func show(
        _ plan: ImportPlan, _ report: ImportWriter.Report?, _ problems: [ForeignProblem], _ folder: ForeignFolder
    ) throws {
        switch output {
        case .json:
            let document = ImportDocument(plan, report, problems: problems, client: client, folder: folder)
            Terminal.print(try JSON.encode(document, pretty: true))
        case .yaml:
            let text = DeclarationText.text(plan)
            if !text.isEmpty { Terminal.print(text) }
        }
        for problem in problems {
            Terminal.note("skipped \(TerminalText.sanitized(problem.place)): \(problem.message); \(problem.hint)")
        }
        for certificate in plan.certificates { Terminal.note(sentence(certificate, report)) }
        for (issuer, outcome) in (report?.accounts ?? [:]).sorted(by: { $0.key < $1.key }) {
            switch outcome {
            case .adopted: Terminal.note("the issuer '\(issuer)' goes on with the account of \(client.rawValue)")
            case .known: break
            case .other: Terminal.note("the issuer '\(issuer)' has an account of its own already, and keeps it")
            }
        }
        guard !plan.certificates.isEmpty else { return }
        Terminal.note(
            report == nil
                ? "nothing was written: look at the declarations, then say it again with --write"
                : "next: stop the renewals of \(client.rawValue), give the certificates their targets, then `certs check --live`"
        )
    }

    private func sentence(_ certificate: ImportedCertificate, _ report: ImportWriter.Report?) -> String {
        let record = certificate.found.leaf.record
        let what = "\(certificate.name): \(certificate.names.map(\.value).joined(separator: ", "))"
        let until = "until \(Time.text(record.notAfter))"
        switch report?.certificates[certificate.name] {
        case .imported: return "imported \(what), \(until), as revision 1"
        case .known: return "known \(what), \(until)"
        case nil: return "found \(what), \(until)"
        }
    }
}
