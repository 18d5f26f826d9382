import ArgumentParser
import CertsCore
import CertsCrypto
import CertsEngine
import CertsIssuers
import Foundation

struct RevokeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "revoke", abstract: "Revoke a revision at its CA. It stays deployed: rotate first.")

    @OptionGroup var global: GlobalOptions
    @Argument(help: "The certificate.")
    var name: String
    @Option(help: "The revision. [default: the newest one that is not the current]")
    var revision: Int?
    @Option(
        help: "unspecified, keyCompromise, affiliationChanged, superseded or cessationOfOperation.",
        transform: { word in
            guard let reason = RevocationReason(word: word) else { throw ValidationError("'\(word)' is no reason") }
            return reason
        })
    var reason: RevocationReason = .unspecified

    func run() async throws {
        let assembly = try await Assembly.make(global)
        let context = assembly.engine.context
        let declaration = try assembly.declaration(name)
        guard let issuer = context.issuers[declaration.issuer] as? any RevokingIssuer else {
            throw CertsError(
                .usage, "the issuer '\(declaration.issuer)' cannot revoke", subject: name,
                hint: "revoke at the CA itself")
        }
        let current = try await context.revisions.currentRevision(of: declaration.name)
        let known = try await context.revisions.revisions(of: declaration.name)
        guard let wanted = revision ?? known.last(where: { $0 != current }) else {
            throw CertsError(
                .certificateMissing, "'\(name)' has no revision besides the current one", subject: name,
                hint: "rotate first, or name the current one with --revision \(current ?? 1)")
        }
        let manifest = try await context.manifest(of: declaration.name, revision: wanted)
        for member in KeyPolicy.members(of: manifest.requested.keyAlgorithms) {
            guard let leaf = try await context.storedChain(declaration.name, wanted, member.slot).first else {
                continue
            }
            try await issuer.revoke(
                RevocationTarget(record: leaf.record, der: leaf.der), reason: reason, now: Date())
        }
        Terminal.print("revoked \(name) revision \(wanted), serial \(manifest.record.serial)")
        if wanted == current { Terminal.note("this revision is still served: rotate now with `certs rotate \(name)`") }
    }
}
