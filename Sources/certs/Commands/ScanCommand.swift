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
            What has not changed since the last scan is not read again. `certs status` and the metrics show what was found; \
            of a directory named here they show it as it was, until it is scanned again.
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
        try await Self.tellUnreadable(below: [root], except: summary.problems, assembly)
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
        try await Self.tellUnreadable(
            below: look.summaries.filter { $0.1.failure == nil }.map(\.0.path),
            except: look.summaries.flatMap(\.1.problems), assembly)
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

    /// So many files are named; `certs status` has all.
    private static let most = 20

    /// Names the files without a readable certificate, those of earlier scans as well, each with its reason.
    ///
    /// - Parameter told: what has been said of directories already.
    private static func tellUnreadable(
        below roots: [String], except told: [String], _ assembly: Assembly
    ) async throws {
        let bad = try await assembly.database.knownFiles().compactMap { key, file -> (path: String, why: String)? in
            let path = key.path
            guard let problem = file.problem, roots.contains(where: { path == $0 || path.path(below: $0) != nil }),
                !told.contains(where: { $0.hasPrefix("\(path): ") })
            else { return nil }
            return (path, problem.rawValue.replacing("_", with: " "))
        }.sorted { $0.path < $1.path }
        for file in bad.prefix(most) {
            Terminal.note("not readable: \(TerminalText.sanitized(file.path)): \(file.why)")
        }
        if bad.count > most {
            Terminal.note("and \(bad.count - most) more; `certs status -o json` has all, as `problem`")
        }
    }
}
