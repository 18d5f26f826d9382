import CertsCore
import CertsCrypto
import CertsHAProxy
import CertsIssuers
import CertsStore
import Foundation

/// Takes over what a plan says: accounts and revisions into the state directory, then declarations into the file.
struct ImportWriter {
    let plan: ImportPlan
    let client: ForeignClient
    let configuration: String
    let now: Date

    /// What became of one certificate.
    enum Outcome: String, Sendable, Codable {
        /// Stored as revision 1.
        case imported
        /// It was imported before.
        case known
    }

    struct Report: Sendable {
        var certificates: [Name: Outcome] = [:]
        var accounts: [Name: AccountAdoption.Outcome] = [:]
        var problems: [ForeignProblem] = []
    }

    /// Keeps a second import out of the same file. To be held from before the plan is made: it depends on the file.
    static func lock(_ configuration: String) async throws -> any HeldLock {
        let directory = (absolute(configuration) as NSString).deletingLastPathComponent
        return try await DiskFiles().lockDirectory(directory, deadline: .seconds(30))
    }

    private static func absolute(_ path: String) -> String { URL(fileURLWithPath: path).standardizedFileURL.path }

    /// The configuration file is written last: what comes before changes nothing that is declared.
    func write() async throws -> Report {
        let path = Self.absolute(configuration)
        let files = DiskFiles()
        let existing = try await files.read(path, limit: ConfigurationFile.maximumSize)
        let text =
            existing?.contents.withBytes { String(decoding: $0, as: UTF8.self) } ?? ConfigurationAddition.emptyFile
        let old = try ConfigurationFile.parse(Array(text.utf8), path: path)
        let new = try declarations(plan, text, old, path).declarations

        let state = try await StateDirectory.open(at: new.stateDirectory, create: true)
        let database = try await Database.open(in: state)
        var report = Report()
        try await giveAccounts(state, new, &report)
        for certificate in plan.certificates {
            do {
                report.certificates[certificate.name] = try await store(certificate, new, state, database)
            } catch {
                let failure = CertsError.wrapping(error)
                report.problems.append(
                    ForeignProblem(
                        place: certificate.found.place, message: failure.message,
                        hint: failure.hint ?? "try again"))
            }
        }
        let stored = Set(report.certificates.keys)
        let added = try declarations(plan.keeping(stored), text, old, path).text
        if added != text {
            let attributes = existing == nil ? FileAttributes(mode: 0o644, owner: geteuid(), group: getegid()) : nil
            try await files.install(Secret(copying: added.utf8), at: path, attributes: attributes)
        }
        return report
    }

    private func declarations(
        _ plan: ImportPlan, _ text: String, _ old: Declarations, _ path: String
    ) throws(CertsError) -> (text: String, declarations: Declarations) {
        let added = try ConfigurationAddition.adding(plan, to: text, path: path)
        return (added, try ConfigurationAddition.check(added, adds: plan, to: old, path: path))
    }

    private func giveAccounts(_ state: StateDirectory, _ declarations: Declarations, _ report: inout Report)
        async throws
    {
        for (issuer, account) in plan.accounts {
            guard let declared = declarations.issuers.first(where: { $0.name == issuer }),
                case .acme(let acme) = declared.kind, acme.directory == account.server
            else { continue }
            do {
                let adoption = try AccountAdoption(
                    key: account.key, url: account.url, contact: account.contact, directory: acme.directory)
                report.accounts[issuer] = try await adoption.give(to: issuer, files: state)
            } catch let error as CertsError where error.code == .keyUnsupported {
                report.problems.append(
                    ForeignProblem(
                        place: account.place, message: error.message,
                        hint: "a new account is made at the first renewal"))
            }
        }
    }

    /// Revision 1, current and not deployed; its manifest is written last, so that a crash leaves nothing half.
    private func store(
        _ certificate: ImportedCertificate, _ declarations: Declarations, _ state: StateDirectory, _ database: Database
    ) async throws -> Outcome {
        guard let declaration = declarations.certificates.first(where: { $0.name == certificate.name }) else {
            throw CertsError(.internal, "'\(certificate.name)' is not declared")
        }
        let lock = try await state.lock(certificate.name)
        defer { lock.release() }
        let leaf = certificate.found.leaf
        if let known = try await knownOutcome(certificate.name, leaf, state, database) { return known }
        guard try await database.openRotation(of: certificate.name) == nil else {
            throw CertsError(
                .issuerPending, "a rotation of '\(certificate.name)' is under way", subject: certificate.name.rawValue,
                hint: "let it end with `certs rotate \(certificate.name)`: that gets a certificate of its own")
        }
        let revision = 1
        func write(_ contents: Secret, _ file: RevisionFile) async throws {
            try await state.write(contents, to: file, of: certificate.name, revision: revision)
        }
        let chain = Array(certificate.found.chain.dropFirst())
        let key = try certificate.found.key.pem()
        try await write(key, .key(nil))
        try await write(Secret(copying: chain.map(\.pem).joined().utf8), .chain(nil))
        try await write(Secret(copying: leaf.pem.utf8), .certificate(nil))
        try await write(try CanonicalBundle.make(leaf: leaf, chain: chain, key: key), .bundle(nil))
        let manifest = RevisionManifest(
            certificate: certificate.name, revision: revision, requested: declaration.requested, records: [leaf.record],
            issuedAt: leaf.record.notBefore)
        try await write(try manifest.encoded(), .manifest)
        try await state.makeCurrent(revision, of: certificate.name)
        try await database.save(inventoryState(manifest, declaration, declarations))
        return .imported
    }

    /// `nil`: there is no issued revision yet.
    private func knownOutcome(
        _ name: Name, _ leaf: Certificate, _ state: StateDirectory, _ database: Database
    ) async throws -> Outcome? {
        let (current, row) = (try await state.currentRevision(of: name), try await database.state(of: name))
        let isWhole = current != nil && row?.record != nil
        for revision in try await state.revisions(of: name).reversed() {
            guard let manifest = try await state.read(.manifest, of: name, revision: revision) else { continue }
            if try RevisionManifest(decoding: manifest).records.contains(where: { $0.sha256 == leaf.record.sha256 }) {
                if isWhole { return .known }
                // An import that was cut short is done again.
                continue
            }
            throw CertsError(
                .nameInvalid, "'\(name)' has a certificate in the state directory already, and it is another one",
                subject: name.rawValue,
                hint: "nothing was taken over for it; `certs history \(name)` shows what there is")
        }
        return nil
    }

    private func inventoryState(
        _ manifest: RevisionManifest, _ declaration: CertificateDeclaration, _ declarations: Declarations
    ) -> CertificateState {
        var state = CertificateState(name: manifest.certificate)
        state.revision = manifest.revision
        state.issuedRevision = manifest.revision
        state.record = manifest.record
        state.currentRecord = manifest.record
        state.requested = manifest.requested
        let planner = Planner(timerInterval: declarations.schedule.timerInterval, targets: declarations.targets)
        let item = planner.item(for: declaration, state: state, at: now)
        (state.dueAt, state.dueReason) = (item.dueAt, item.reason)
        return state
    }
}
