import ArgumentParser
import CertsCore
import CertsCrypto
import CertsEngine
import Foundation

struct InspectCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "inspect", abstract: "Explain the certificates in a file, on standard input, or of a server.")

    @OptionGroup var output: OutputOptions
    @Argument(help: "FILE (PEM, DER or PKCS#12), - for standard input, or HOST:PORT.", completion: .file())
    var source: String
    @Option(help: "A private key file that must belong to the first certificate.", completion: .file())
    var key: String?
    @Option(help: "A file with the passphrase of the key or of the PKCS#12.", completion: .file())
    var passphraseFile: String?
    @Option(help: "The server name to send to HOST:PORT. [default: HOST]")
    var serverName: String?

    struct Document: Encodable {
        let schema = 1
        let certificates: [CertificateEntry]
        let findings: [Finding]
    }

    func run() async throws {
        let passphrase = try InputFile.passphrase(passphraseFile)
        let certificates = try await load(passphrase)
        let privateKey = try key.map { path in
            let pem = Secret(copying: try InputFile.read(path))
            return try InputFile.naming(path) { () throws(CertsError) in
                try PrivateKey(pem: pem, passphrase: passphrase)
            }
        }
        let findings = BundleChecks.findings(
            chain: certificates, keySPKI: privateKey?.publicKeyDER, names: [], anchors: [], keyAlgorithm: nil,
            now: Date())
        let entries = certificates.map { CertificateEntry($0.record, at: Date()) }
        let document = Document(certificates: entries, findings: findings)
        if output.output == .table {
            Terminal.print(entries.map(\.explanation).joined(separator: "\n\n"))
            for finding in findings {
                Terminal.print(
                    "\n\(finding.severity.rawValue): \(TerminalText.sanitized(finding.message)) [\(finding.id)]\n  → \(finding.remedy)"
                )
            }
        } else {
            try Listing(document: document, items: entries, columns: CertificateEntry.columns).print(output.output)
        }
    }

    private func load(_ passphrase: Secret?) async throws -> [Certificate] {
        if source != "-", !FileManager.default.fileExists(atPath: source), let endpoint = Endpoint(address: source) {
            let probe = TLSProbe(
                host: endpoint.host, port: endpoint.port, serverName: serverName ?? endpoint.host,
                deadline: .seconds(10))
            return try await BlockingPool.network.run { try probe.run().chain }
        }
        let bytes = try InputFile.read(source)
        return try InputFile.naming(source) { () throws(CertsError) in try Self.parse(bytes, passphrase) }
    }

    private static func parse(_ bytes: Data, _ passphrase: Secret?) throws(CertsError) -> [Certificate] {
        do {
            return try CertificateReader.certificates(in: bytes)
        } catch  where bytes.first == 0x30 {
            // DER that is no certificate may be PKCS#12; if it is neither, the first answer is the better one.
            guard let contents = try? PKCS12.read(bytes, passphrase: passphrase), !contents.certificates.isEmpty else {
                if passphrase != nil { return try PKCS12.read(bytes, passphrase: passphrase).certificates }
                throw error
            }
            return contents.certificates
        }
    }
}
