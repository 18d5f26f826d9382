import ArgumentParser
import CertsCore
import CertsCrypto
import CertsEngine
import Foundation

struct RevokeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "revoke", abstract: "Revoke a revision at the CA that signed it.",
        discussion: """
            What is revoked stays deployed: rotate first, or use --replace, which renews, deploys and verifies first, and \
            revokes the old revision then.
            """)

    @OptionGroup var global: GlobalOptions
    @OptionGroup var output: OutputOptions
    @Argument(help: "The certificate.", completion: .certificates)
    var name: String
    @Option(help: "The revision. [default: the newest one that is not the current; with --replace the current]")
    var revision: Int?
    @Flag(help: "Replace it first: renew, deploy, verify.")
    var replace = false
    @Flag(help: "Prove the right to revoke with the certificate's own key, not with the account.")
    var byKey = false
    @Option(
        help: "unspecified, keyCompromise, affiliationChanged, superseded or cessationOfOperation.",
        transform: { word in
            guard let reason = RevocationReason(word: word) else { throw ValidationError("'\(word)' is no reason") }
            return reason
        })
    var reason: RevocationReason = .unspecified

    func run() async throws {
        Interruption.finishesFirst()
        let reporter = RotationReporter(isJSON: global.logFormat.isJSON)
        let assembly = try await Assembly.make(global, progress: { reporter.report($0) })
        let certificate = try assembly.declaration(name).name
        if replace { return try await replaceFirst(assembly.engine, certificate) }
        let revoked = try await assembly.engine.revoke(certificate, revision: revision, reason: reason, byKey: byKey)
        Terminal.print("revoked \(name) revision \(revoked.revision)")
        if revoked.isCurrent {
            Terminal.note("this revision is still served: rotate now with `certs rotate \(name)`")
        }
    }

    private func replaceFirst(_ engine: RotationEngine, _ certificate: Name) async throws {
        try await engine.recover()
        let done = try await engine.replaceAndRevoke(certificate, revision: revision, reason: reason, byKey: byKey)
        try RotationResults([done.rotation]).print(output.output)
        for revoked in done.revoked { Terminal.note("revoked \(name) revision \(revoked)") }
        if done.revoked.isEmpty {
            Terminal.note(
                "nothing is revoked, because the new certificate is not seen served; later: "
                    + "`certs revoke \(name) --revision REVISION`")
        }
        let status = ExitStatus(done.rotation)
        if status != .done { throw status }
    }
}
