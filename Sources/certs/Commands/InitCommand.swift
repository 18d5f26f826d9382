import ArgumentParser
import CertsCore
import CertsEngine
import CertsIssuers
import CertsStore
import Foundation

struct InitCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "init", abstract: "Write a starter configuration, make the state directory and the local CA.")

    @OptionGroup var global: GlobalOptions
    @Flag(help: "Begin with an ACME CA (Let's Encrypt, its staging environment first) instead of a local CA.")
    var acme = false

    func run() async throws {
        let path = global.configurationPath
        if FileManager.default.fileExists(atPath: path) {
            Terminal.note("\(path) is there already and is kept")
        } else {
            try write(acme ? StarterConfiguration.acme : StarterConfiguration.text, to: path)
            Terminal.note("wrote \(path): declare your names, issuer and targets there")
        }
        let assembly = try await Assembly.make(global)
        Terminal.note("state directory: \(assembly.state.path)")
        for (name, issuer) in assembly.engine.context.issuers.sorted(by: { $0.key < $1.key }) {
            guard let local = issuer as? LocalCAIssuer else { continue }
            try await local.makeIfMissing(now: Date())
            Terminal.note("local CA '\(name)': give \(assembly.state.path)/authorities/\(name)/root.pem to the clients")
        }
        let look = acme ? "certs check --live" : "certs check"
        Terminal.print("next: edit \(path), then `\(look)`, then `certs rotate --all`")
    }

    private func write(_ text: String, to path: String) throws {
        let directory = (path as NSString).deletingLastPathComponent
        do {
            if !directory.isEmpty {
                try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
            }
            try Data(text.utf8).write(to: URL(fileURLWithPath: path), options: .withoutOverwriting)
        } catch {
            throw CertsError(
                .fileUnwritable, "\(path) cannot be written", hint: "choose another place with --config", cause: error)
        }
    }
}
