import ArgumentParser
import CertsCore
import CertsEngine
import CertsStore
import Foundation

struct ScanCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "scan", abstract: "Discover the certificates in a directory into the inventory.",
        discussion: "What has not changed since the last scan is not read again. `certs status` shows what was found.")

    @OptionGroup var global: GlobalOptions
    @Argument(help: "The directory.", completion: .directory)
    var directory: String

    func run() async throws {
        let assembly = try await Assembly.make(global)
        let root = URL(fileURLWithPath: directory).standardizedFileURL.path
        let scanner = CertificateScanner(files: FileWalker(), inventory: assembly.database)
        let summary = try await scanner.scan(root)
        for problem in summary.problems { Terminal.note("not looked at: \(problem)") }
        Terminal.print(
            "\(root): \(summary.found) files, \(summary.read) read, \(summary.unreadable) without a readable certificate, "
                + "\(summary.removed) gone")
    }
}
