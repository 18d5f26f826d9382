import ArgumentParser
import CertsCore
import CertsCrypto
import Foundation

struct VerifyCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "verify", abstract: "Verify a certificate against roots, as strictly as RFC 5280 and RFC 9525.",
        discussion: "Exit code 0 if it is valid and 1 if it is not, for whatever the files hold.")

    @OptionGroup var output: OutputOptions
    @Argument(help: "The certificate, PEM or DER; the first one in the file.", completion: .file())
    var leaf: String
    @Option(help: "The trust anchors, PEM or DER.", completion: .file())
    var roots: String
    @Option(help: "Intermediates that may be used.", completion: .file())
    var untrusted: String?
    @Option(help: "The DNS name or IP address that the certificate must be for.")
    var hostname: String?
    @Option(help: "server or client.")
    var purpose: Purpose = .server
    @Option(help: "Verify as if it were this time. [default: now]")
    var at: String?
    @Option(help: "Certificate revocation lists, PEM or DER.", completion: .file())
    var crls: String?
    @Option(help: "How many intermediates there may be at most.")
    var maxDepth: Int?

    /// How many certificates a file of roots or intermediates may hold: the store of a system has hundreds.
    private static let poolLimit = 10_000

    enum Purpose: String, ExpressibleByArgument, CaseIterable { case server, client }

    struct Document: Encodable {
        let schema = 1
        let valid: Bool
        let findings: [Finding]
        let chain: [CertificateEntry]
    }

    func run() async throws {
        let verdict = try await BlockingPool.shared.run { judge() }
        let chain = verdict.chain.map { CertificateEntry($0.record, at: Date()) }
        if output.output == .table {
            Terminal.print(verdict.valid ? "valid" : "not valid")
            for finding in verdict.findings {
                Terminal.print(
                    "  \(finding.severity.rawValue): \(TerminalText.sanitized(finding.message)) [\(finding.id)]\n    → \(finding.remedy)"
                )
            }
            for (depth, entry) in chain.enumerated() {
                Terminal.print("  \(depth): \(TerminalText.sanitized(entry.subject))")
            }
        } else {
            try Listing(
                document: Document(valid: verdict.valid, findings: verdict.findings, chain: chain), items: chain,
                columns: CertificateEntry.columns
            ).print(output.output)
        }
        if !verdict.valid { throw ExitStatus.failed }
    }

    /// A file that cannot be read makes the certificate not valid, with the reason as a finding.
    private func judge() -> ChainVerdict {
        do {
            let candidates = try InputFile.certificates(leaf)
            let anchors = try InputFile.certificates(roots, limit: Self.poolLimit)
            let intermediates = try untrusted.map { try Self.lenient($0) } ?? []
            let lists = try crls.map { [try InputFile.read($0)] } ?? []
            guard let certificate = candidates.first else {
                throw CertsError(.certificateMissing, "\(leaf) holds no certificate")
            }
            let verifier = ChainVerifier(
                roots: anchors, untrusted: intermediates, host: hostname,
                purpose: purpose == .server ? .server : .client,
                time: try at.map { text in try Time.parse(text) } ?? Date(), crls: lists, maxDepth: maxDepth)
            return verifier.verify(certificate)
        } catch {
            let failure = CertsError.wrapping(error)
            return ChainVerdict(valid: false, findings: [Finding(error: failure, id: failure.code.rawValue)], chain: [])
        }
    }

    /// No intermediates at all is a file without a certificate, and no reason to refuse.
    private static func lenient(_ path: String) throws -> [Certificate] {
        let bytes = try InputFile.read(path, allowsEmpty: true)
        let isBlank = bytes.allSatisfy { $0 == 0x20 || (0x09...0x0d).contains($0) }
        return isBlank
            ? []
            : try InputFile.naming(path) { () throws(CertsError) in
                try CertificateReader.certificates(in: bytes, limit: poolLimit)
            }
    }
}
