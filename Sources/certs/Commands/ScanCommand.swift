import ArgumentParser
import CertsCore
import CertsEngine
import CertsStore
import Foundation

struct ScanCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "scan",
        abstract: "Look at the certificates that are only watched, in directories and at endpoints.",
        discussion: """
            Without a directory: those of `watch:` and `endpoints:` in the configuration, as `certs serve` does by itself. \
            What has not changed since the last scan is not read again. `certs status` shows what was found.
            """)

    @OptionGroup var global: GlobalOptions
    @Argument(help: "A directory that need not be declared. [default: what is declared]", completion: .directory)
    var directory: String?

    func run() async throws {
        let assembly = try await Assembly.make(global)
        guard let directory else { return try await scanDeclared(assembly) }
        let root = URL(fileURLWithPath: directory).standardizedFileURL.path
        let scanner = CertificateScanner(files: FileWalker(), inventory: assembly.database)
        let summary = try await scanner.scan(root)
        if let failure = summary.failure {
            throw CertsError(
                failure.reason == .notFound ? .fileMissing : .fileUnreadable, failure.message, subject: root)
        }
        Self.tell(root, summary)
    }

    private func scanDeclared(_ assembly: Assembly) async throws {
        let declared = assembly.declarations.watch
        guard !declared.isEmpty else {
            throw CertsError(
                .usage, "nothing is declared to be watched",
                hint: "name a directory, or declare some with `watch:` or `endpoints:` in the configuration")
        }
        let watch = try assembly.watch()
        try await watch.forget()
        let look = await watch.scan()
        var isWhole = look.isRecorded
        for (directory, summary) in look.summaries {
            if let failure = summary.failure {
                Terminal.note("not looked at: \(TerminalText.sanitized(failure.message))")
                isWhole = false
            } else {
                Self.tell(directory.path, summary)
            }
        }
        if !declared.endpoints.isEmpty {
            if await !watch.probe() { isWhole = false }
            let seen = try await assembly.database.sightings()
            for one in seen {
                guard let problem = one.facts.problem else { continue }
                Terminal.note("not seen: \(one.label): \(problem.rawValue)")
            }
            Terminal.print("endpoints: \(seen.count { $0.facts.problem == nil }) of \(seen.count) seen")
        }
        if !isWhole { throw ExitStatus.failed }
    }

    private static func tell(_ root: String, _ summary: CertificateScanner.Summary) {
        for problem in summary.problems { Terminal.note("not looked at: \(TerminalText.sanitized(problem))") }
        Terminal.print(
            "\(root): \(summary.found) files, \(summary.read) read, \(summary.unreadable) without a readable certificate, "
                + "\(summary.removed) gone")
    }
}
