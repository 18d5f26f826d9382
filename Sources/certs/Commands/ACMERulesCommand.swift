import ArgumentParser
import CertsCore
import CertsIssuers

struct ACMERulesCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "haproxy-rules",
        abstract: "Print the lines for haproxy.cfg that lead a CA's questions to certs; changes nothing.")

    @OptionGroup var global: GlobalOptions
    @Argument(help: "The issuer; its type is acme.")
    var issuer: String

    func run() async throws {
        let declarations = try ConfigurationFile.load(path: global.configurationPath)
        guard let declared = declarations.issuers.first(where: { $0.name.rawValue == issuer }) else {
            throw CertsError.unknownIssuer(issuer, declarations)
        }
        guard case .acme(let acme) = declared.kind else { throw CertsError.notACME(issuer) }
        Terminal.print(HAProxyChallengeRules.text(for: acme))
    }
}
