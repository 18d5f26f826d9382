import CertsCore
import CertsCrypto
import Foundation

/// An account at the CA (RFC 8555 §7.1.2).
struct Account: Sendable, Decodable {
    var status: String
    var contact: [String]

    enum CodingKeys: String, CodingKey { case status, contact }

    init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        status = (try? container.decode(String.self, forKey: .status)) ?? "valid"
        contact = (try? container.decode([String].self, forKey: .contact)) ?? []
    }

    /// The body of newAccount (§7.3) and of updates (§7.3.2); what is `nil` is not sent.
    struct Request: Sendable, Encodable {
        var contact: [String]?
        var termsOfServiceAgreed: Bool?
        var onlyReturnExisting: Bool?
        var externalAccountBinding: WebSignature?
        var status: String?
    }
}

extension ACMESession {
    /// Creates the account of `key`, or finds it: the same key never gives two accounts (§7.3.1).
    /// - Returns: its URL, itself, and whether it is new.
    func newAccount(
        _ request: Account.Request, key: WebKey
    ) async throws -> (url: String, account: Account, isNew: Bool) {
        let reply = try await post(try await directory().newAccount, request, as: .key(key), isRepeatable: true)
        guard let url = reply.location else {
            throw CertsError(
                .issuerUnavailable, "the CA made an account and did not say where", subject: issuer.rawValue,
                hint: "try again: the account is found by its key", retry: .later)
        }
        return (url, try reply.decoded(Account.self, "an account"), reply.status == 201)
    }

    /// The URL of the account of `key`; `nil`: there is none.
    func findAccount(key: WebKey) async throws -> (url: String, account: Account)? {
        do {
            let found = try await newAccount(Account.Request(onlyReturnExisting: true), key: key)
            return (found.url, found.account)
        } catch let failure as ACMEFailure where failure.kind == .accountDoesNotExist {
            return nil
        }
    }

    func updateAccount(_ request: Account.Request, key: WebKey, url: String) async throws -> Account {
        try await post(url, request, as: .account(key, url: url), isRepeatable: true).decoded(
            Account.self, "an account")
    }
}

/// External account binding (RFC 8555 §7.3.4): the account's public key, authenticated with the key that the CA handed out.
enum ExternalAccountBinding {
    static func make(
        _ external: ACMEDeclaration.ExternalAccount, macKey: Secret, account: WebKey, newAccountURL: String
    ) throws -> WebSignature {
        let algorithm: MessageAuthentication =
            switch external.algorithm {
            case .hs256: .sha256
            case .hs384: .sha384
            case .hs512: .sha512
            }
        let header = WebSignature.Header(alg: external.algorithm.rawValue, url: newAccountURL, kid: external.keyID)
        return try WebSignature.authenticate(account.members, header, algorithm, key: macKey)
    }
}

/// Key rollover (RFC 8555 §7.3.5).
enum KeyChange {
    private struct Payload: Encodable {
        var account: String
        var oldKey: [String: String]
    }

    /// The inner signature, by the new key; it is the payload of a request that the old key signs.
    static func inner(account: String, from old: WebKey, to new: WebKey, url: String) throws -> WebSignature {
        let header = WebSignature.Header(alg: new.algorithm, url: url, jwk: new.members)
        return try WebSignature.sign(Payload(account: account, oldKey: old.members), header, with: new.key)
    }
}
