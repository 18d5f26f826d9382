import CertsCore
import CertsCrypto
import CertsEngine
import CertsIssuers
import Foundation

/// `certs import-from … -o json`.
struct ImportDocument: Encodable {
    var schema = 1
    let client: ForeignClient
    let directory: String
    /// Whether the declarations were written.
    let written: Bool
    let issuers: [Issuer]
    let certificates: [Certificate]
    let skipped: [Skipped]
    /// The declarations as YAML.
    let declarations: String

    struct Issuer: Encodable {
        let name: String
        @OrNull var directory: String?
        /// Whether it has to be declared.
        let new: Bool
        /// Whether there is an account to take over.
        let account: Bool
        @OrNull var accountURL: String?
        /// `adopted`, `known`, `other`.
        @OrNull var outcome: AccountAdoption.Outcome?
    }

    struct Certificate: Encodable {
        let name: String
        let label: String
        let path: String
        let names: [String]
        let keyAlgorithm: String
        let issuer: String
        @OrNull var server: String?
        let sha256: String
        let notAfter: Date
        /// Whether the configuration has it already.
        let declared: Bool
        /// `imported`, `known`.
        @OrNull var outcome: ImportWriter.Outcome?
    }

    struct Skipped: Encodable {
        let path: String
        let reason: String
        let remedy: String
    }

    init(
        _ plan: ImportPlan, _ report: ImportWriter.Report?, problems: [ForeignProblem], client: ForeignClient,
        folder: ForeignFolder
    ) {
        self.client = client
        directory = folder.root
        written = report != nil
        let names = Set(plan.issuers.map(\.name)).union(plan.certificates.map(\.issuer))
        issuers = names.sorted().map { name in
            let account = plan.accounts.first { $0.issuer == name }?.account
            return Issuer(
                name: name.rawValue,
                directory: plan.certificates.first { $0.issuer == name }?.found.settings.server,
                new: plan.issuers.contains { $0.name == name }, account: account != nil, accountURL: account?.url,
                outcome: report?.accounts[name])
        }
        certificates = plan.certificates.map { certificate in
            let record = certificate.found.leaf.record
            return Certificate(
                name: certificate.name.rawValue, label: certificate.found.label,
                path: folder.path(certificate.found.place), names: certificate.names.map(\.value),
                keyAlgorithm: certificate.algorithm.rawValue, issuer: certificate.issuer.rawValue,
                server: certificate.found.settings.server, sha256: record.sha256, notAfter: record.notAfter,
                declared: certificate.isDeclared, outcome: report?.certificates[certificate.name])
        }
        skipped = problems.map { Skipped(path: $0.place, reason: $0.message, remedy: $0.hint) }
        declarations = DeclarationText.text(plan)
    }
}
