package import CertsCore
package import CertsCrypto
import Foundation

/// An account that another ACME client has made at the same CA.
package struct AccountAdoption: Sendable {
    package let key: PrivateKey
    /// `nil`: not known; it is found by the key at the first use.
    package let url: String?
    package let contact: [String]
    /// The URL of the directory that it was made at.
    package let directory: String

    /// - Throws: `key.unsupported` for a key that signs no ACME request.
    package init(key: PrivateKey, url: String?, contact: [String], directory: String) throws(CertsError) {
        _ = try WebKey(key)
        self.key = key
        self.url = url
        self.contact = contact
        self.directory = directory
    }

    /// What became of an account that was offered to an issuer.
    package enum Outcome: String, Sendable, Codable {
        case adopted
        /// The issuer has this account already.
        case known
        /// The issuer has another account, and keeps it.
        case other
    }

    /// Gives the account to `issuer`, unless that has one.
    package func give(to issuer: Name, files: any IssuerFiles) async throws -> Outcome {
        let lock = try await files.lock(issuer, in: .accounts, deadline: AccountKeeper.lockDeadline)
        defer { lock.release() }
        let stem = AccountKeeper.stem(directory: directory)
        let keyFile = AccountKeeper.keyFile(stem)
        if let existing = try await files.read(keyFile, of: issuer, in: .accounts) {
            return try PrivateKey(pem: existing).publicKeyDER == key.publicKeyDER ? .known : .other
        }
        let record = AccountRecord(url: url, directory: directory, contact: contact)
        // The key last: without it the record says nothing.
        try await files.write(
            Secret(copying: try StoredJSON.encode(record, readable: true)), to: AccountKeeper.recordFile(stem),
            of: issuer,
            in: .accounts)
        try await files.write(try key.pem(), to: keyFile, of: issuer, in: .accounts)
        return .adopted
    }
}
