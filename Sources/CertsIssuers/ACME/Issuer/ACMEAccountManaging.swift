package import CertsCore
package import Foundation

/// An issuer with an account that can be looked at and changed by `certs acme`.
package protocol ACMEAccountManaging: Issuer {
    /// The account of the key on disk, asked for at the CA (`onlyReturnExisting`, RFC 8555 §7.3.1); `nil`: there is none.
    /// Makes neither a key nor an account.
    func account() async throws -> ACMEAccountView?

    /// Makes the account, or finds the one of the key on disk.
    /// - Throws: `issuer.termsNotAccepted` where the configuration does not agree to the CA's terms.
    func createAccount() async throws -> ACMEAccountView

    /// Replaces the account's key by a new one (RFC 8555 §7.3.5).
    func rollOverKey() async throws -> ACMEAccountView

    /// Deactivates the account for ever (RFC 8555 §7.3.6): the CA takes nothing from it any longer.
    func deactivateAccount() async throws

    /// Tells the CA the contacts of the configuration (RFC 8555 §7.3.2), and the agreement to its current terms.
    func updateAccount(acceptingTerms: Bool) async throws -> ACMEAccountView

    /// What the CA offers (RFC 8555 §7.1.1), read now.
    func directoryView() async throws -> ACMEDirectoryView
}

/// An account at a CA, as people and scripts see it. Texts come from the CA: they are sanitized where they are shown.
package struct ACMEAccountView: Sendable, Hashable, Codable {
    /// The `kid` of requests.
    package var url: String
    /// `valid`, `deactivated` or `revoked` (RFC 8555 §7.1.6).
    package var status: String
    package var contact: [String]
    /// The terms that were agreed to; `nil`: the CA had none, or the account was made elsewhere.
    package var termsOfService: AcceptedTerms?
    /// RFC 7638, base64url: what a `http-01` answer ends with.
    package var keyThumbprint: String
    /// The URL of the directory that it belongs to.
    package var directory: String

    package struct AcceptedTerms: Sendable, Hashable, Codable {
        package var url: String
        package var acceptedAt: Date

        package init(url: String, acceptedAt: Date) {
            self.url = url
            self.acceptedAt = acceptedAt
        }
    }

    package init(
        url: String, status: String, contact: [String], termsOfService: AcceptedTerms?, keyThumbprint: String,
        directory: String
    ) {
        self.url = url
        self.status = status
        self.contact = contact
        self.termsOfService = termsOfService
        self.keyThumbprint = keyThumbprint
        self.directory = directory
    }
}

/// The directory of a CA, as people and scripts see it.
package struct ACMEDirectoryView: Sendable, Hashable, Codable {
    package var url: String
    package var termsOfService: String?
    package var website: String?
    /// What CAA records may call this CA (RFC 8659 §4.2).
    package var caaIdentities: [String]
    package var externalAccountRequired: Bool
    /// Names with their descriptions (draft-ietf-acme-profiles).
    package var profiles: [String: String]
    /// Whether it says when to renew (RFC 9773).
    package var offersRenewalInfo: Bool
    /// Whether an account can get a new key (RFC 8555 §7.3.5).
    package var offersKeyChange: Bool

    package init(
        url: String, termsOfService: String? = nil, website: String? = nil, caaIdentities: [String] = [],
        externalAccountRequired: Bool = false, profiles: [String: String] = [:], offersRenewalInfo: Bool = false,
        offersKeyChange: Bool = false
    ) {
        self.url = url
        self.termsOfService = termsOfService
        self.website = website
        self.caaIdentities = caaIdentities
        self.externalAccountRequired = externalAccountRequired
        self.profiles = profiles
        self.offersRenewalInfo = offersRenewalInfo
        self.offersKeyChange = offersKeyChange
    }
}
