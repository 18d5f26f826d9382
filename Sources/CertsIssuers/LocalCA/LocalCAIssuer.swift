package import CertsCore
import CertsCrypto
package import Foundation

/// The embedded CA: a root that signs intermediates only, and an issuing intermediate that signs the leaves.
///
/// Files, below `authorities/ISSUER/`: `root.pem` (give it to the clients), `root-key.pem`, `issuing.pem`,
/// `issuing-key.pem` (the intermediate with its key), `revoked.json`, `crl.pem`.
package struct LocalCAIssuer: RevokingIssuer {
    package let name: Name
    let policy: LocalAuthorityPolicy
    let files: any IssuerFiles

    package init(name: Name, policy: LocalAuthorityPolicy, files: any IssuerFiles) {
        self.name = name
        self.policy = policy
        self.files = files
    }

    package func issue(_ request: IssuanceRequest) async throws -> IssuanceOutcome {
        let authority = try await authority(now: request.now, lasting: policy.validity)
        let validity = policy.validity
        return try await BlockingPool.shared.run {
            let leaf = try authority.issue(
                request: CertificateRequest(der: request.csr), subject: request.declaration.subject,
                names: request.declaration.names, validity: validity, now: request.now)
            return .issued(chain: [leaf.der, authority.issuing.der])
        }
    }

    package func trustAnchors() async throws -> [Data] {
        guard let root = try await read(File.root) else { return [] }
        return try CertificateReader.certificates(in: root.withBytes { Data($0) }).map(\.der)
    }

    /// Makes the CA now, if it does not exist yet.
    package func makeIfMissing(now: Date) async throws {
        _ = try await authority(now: now, lasting: policy.validity)
    }

    // MARK: The authority on disk

    /// Making a CA takes a second; two processes that start together wait for one another this long.
    static let lockDeadline: Duration = .seconds(30)

    enum File {
        static let root = "root.pem"
        static let rootKey = "root-key.pem"
        static let issuing = "issuing.pem"
        static let issuingKey = "issuing-key.pem"
        static let revoked = "revoked.json"
        static let crl = "crl.pem"
    }

    /// The CA as it is on disk; made, or given a new intermediate, where it cannot sign for `lasting` seconds.
    func authority(now: Date, lasting: TimeInterval) async throws -> LocalAuthority {
        if let existing = try await load(), existing.canIssue(validity: lasting, now: now) { return existing }
        // Two processes that start together must not make two CAs: look again under the lock.
        let lock = try await files.lock(name, in: .authorities, deadline: Self.lockDeadline)
        defer { lock.release() }
        if let existing = try await load() {
            if existing.canIssue(validity: lasting, now: now) { return existing }
            let renewed = try await BlockingPool.shared.run { try existing.renewedIssuing(now: now) }
            try await saveIssuing(renewed)
            return renewed
        }
        let policy = policy
        let made = try await BlockingPool.shared.run { try LocalAuthority.make(policy: policy, now: now) }
        try await saveIssuing(made)
        if let rootKey = made.rootKey { try await write(rootKey.pem(), to: File.rootKey) }
        // The root is written last: it exists only when everything else does.
        try await write(Secret(copying: made.root.pem.utf8), to: File.root)
        return made
    }

    func load() async throws -> LocalAuthority? {
        guard let root = try await read(File.root) else { return nil }
        guard let rootKey = try await read(File.rootKey), let issuing = try await read(File.issuingKey) else {
            throw CertsError(
                .stateCorrupt, "the local CA '\(name)' is incomplete: a file beside root.pem is missing",
                subject: name.rawValue,
                hint: "restore authorities/\(name) from a backup")
        }
        return try LocalAuthority(
            rootPEM: root.withBytes { Data($0) }, issuingPEM: issuing.withBytes { Data($0) },
            issuingKey: PrivateKey(pem: issuing), rootKey: PrivateKey(pem: rootKey))
    }

    private func saveIssuing(_ authority: LocalAuthority) async throws {
        // Key and certificate must change together, so one file holds both; `issuing.pem` is a copy to hand out.
        let pair = try authority.issuingKey.pem().withBytes { Secret(copying: Array(authority.issuing.pem.utf8) + $0) }
        try await write(pair, to: File.issuingKey)
        try await write(Secret(copying: authority.issuing.pem.utf8), to: File.issuing)
    }

    func read(_ file: String) async throws -> Secret? { try await files.read(file, of: name, in: .authorities) }

    func write(_ contents: Secret, to file: String) async throws {
        try await files.write(contents, to: file, of: name, in: .authorities)
    }
}
