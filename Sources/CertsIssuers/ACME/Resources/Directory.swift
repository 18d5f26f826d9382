import CertsCore
import Foundation

/// What the server offers and where (RFC 8555 §7.1.1).
struct Directory: Sendable, Decodable {
    var newNonce: String
    var newAccount: String
    var newOrder: String
    var revokeCert: String?
    var keyChange: String?
    /// RFC 9773 §4.
    var renewalInfo: String?
    var meta: Metadata?

    struct Metadata: Sendable, Decodable {
        var termsOfService: String?
        var website: String?
        var caaIdentities: [String]
        var externalAccountRequired: Bool
        /// Names with their descriptions (draft-ietf-acme-profiles); empty: the server has none.
        var profiles: [String: String]

        enum CodingKeys: String, CodingKey {
            case termsOfService, website, caaIdentities, externalAccountRequired, profiles
        }

        /// Servers send `null` and worse for what they do not have: a member of the wrong type counts as absent.
        init(from decoder: any Decoder) throws {
            let container = try decoder.container(keyedBy: CodingKeys.self)
            termsOfService = try? container.decode(String.self, forKey: .termsOfService)
            website = try? container.decode(String.self, forKey: .website)
            caaIdentities = (try? container.decode([String].self, forKey: .caaIdentities)) ?? []
            externalAccountRequired = (try? container.decode(Bool.self, forKey: .externalAccountRequired)) ?? false
            profiles = (try? container.decode([String: String].self, forKey: .profiles)) ?? [:]
        }
    }

    init(_ reply: HTTPReply) throws(CertsError) {
        self = try reply.decoded(Directory.self, "an ACME directory")
    }
}
