import ArgumentParser
import CertsCore
import CertsCrypto
import CertsEngine
import CertsIssuers
import Foundation

struct CSRCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "csr", abstract: "Print the request that waits for an external CA, as PEM.")

    @OptionGroup var global: GlobalOptions
    @Argument(help: "The certificate; its issuer is of type hand-off.", completion: .certificates)
    var name: String

    func run() async throws {
        let assembly = try await Assembly.make(global)
        let declaration = try assembly.declaration(name)
        let issuer = try assembly.handOffIssuer(of: declaration)
        try await assembly.engine.recover()
        if try await !assembly.isWaiting(declaration.name) {
            // Asking for the request is what begins the rotation.
            _ = await assembly.engine.rotate([declaration.name])
        }
        guard let request = try await issuer.pendingRequest(of: declaration.name) else {
            throw CertsError(
                .issuerPending, "no request of '\(name)' waits for a certificate", subject: name,
                hint: "`certs history \(name)` says what became of the last rotation")
        }
        Terminal.print(request.pem.trimmingCharacters(in: .newlines))
    }
}

struct ImportCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "import", abstract: "Take the answer of an external CA, then deploy and verify it.")

    @OptionGroup var global: GlobalOptions
    @OptionGroup var output: OutputOptions
    @Argument(help: "The certificate.", completion: .certificates)
    var name: String
    @Option(help: "The answer: leaf and intermediates, PEM, DER or PKCS#12.", completion: .file())
    var certificate: String
    @Option(help: "The intermediates, where they come in a file of their own.", completion: .file())
    var chain: String?

    func run() async throws {
        Interruption.finishesFirst()
        let reporter = RotationReporter(isJSON: global.logFormat.isJSON)
        let assembly = try await Assembly.make(global, progress: { reporter.report($0) })
        let declaration = try assembly.declaration(name)
        let issuer = try assembly.handOffIssuer(of: declaration)
        guard try await assembly.isWaiting(declaration.name) else {
            throw CertsError(
                .issuerPending, "'\(name)' does not wait for a certificate", subject: name,
                hint: "begin with `certs csr \(name)`, and have the request signed that it prints")
        }
        var certificates = try InputFile.certificates(certificate)
        if let chain { certificates += try InputFile.certificates(chain) }
        try await issuer.accept(certificates, for: declaration, now: Date())
        let results = await assembly.engine.rotate([declaration.name])
        try RotationResults(results).print(output.output)
        let status = ExitStatus(results)
        if status != .done { throw status }
        try await issuer.forget(declaration.name)
    }
}

extension Assembly {
    /// Whether a rotation of the certificate is open: only its request can be answered.
    func isWaiting(_ certificate: Name) async throws -> Bool {
        try await engine.context.journal.openRotations().contains { $0.certificate == certificate }
    }

    func handOffIssuer(of declaration: CertificateDeclaration) throws -> HandOffIssuer {
        let issuers = declaration.issuers.compactMap { engine.context.issuers[$0] as? HandOffIssuer }
        guard let issuer = issuers.first else {
            throw CertsError(
                .usage, "the issuer '\(declaration.issuer)' of '\(declaration.name)' is not of type hand-off",
                hint: "use `certs rotate \(declaration.name)`")
        }
        return issuer
    }
}
