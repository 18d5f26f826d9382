import CertsCore
import Foundation

/// An authorization (RFC 8555 §7.1.4).
struct Authorization: Sendable, Decodable {
    var identifier: Identifier
    var status: Status
    var challenges: [Challenge]
    var wildcard: Bool?

    /// §7.1.6; what a server adds to it is waited for like `pending`, until the deadline.
    enum Status: Sendable, Hashable, Decodable {
        case pending, valid, invalid, deactivated, expired, revoked
        case other(String)

        init(from decoder: any Decoder) throws {
            let word = try decoder.singleValueContainer().decode(String.self)
            self =
                switch word {
                case "pending": .pending
                case "valid": .valid
                case "invalid": .invalid
                case "deactivated": .deactivated
                case "expired": .expired
                case "revoked": .revoked
                default: .other(word)
                }
        }

        var isDecided: Bool {
            switch self {
            case .pending, .other: false
            default: true
            }
        }
    }

    /// One way to prove control (§8).
    struct Challenge: Sendable, Decodable {
        var type: String
        var url: String
        var status: String?
        var token: String?
        var error: Problem?
        /// `dns-persist-01`: the names by which the CA knows itself.
        var issuerDomainNames: [String]?

        /// Whether the CA has been told to look (§7.1.6).
        var isBeingLookedAt: Bool { status == "processing" || status == "valid" }

        enum CodingKeys: String, CodingKey {
            case type, url, status, token, error
            case issuerDomainNames = "issuer-domain-names"
        }
    }

    /// The name as it was ordered: with `*.` where the authorization is for a wildcard.
    var orderedName: AlternativeName? {
        guard wildcard == true, identifier.type == "dns" else { return identifier.name }
        return .dns("*.\(identifier.value.lowercased())")
    }
}

extension ACMESession {
    private struct Empty: Encodable, Sendable {}
    private struct Deactivation: Encodable, Sendable {
        let status = "deactivated"
    }

    /// - Returns: the authorization, and when the server wants to be asked again.
    func authorization(_ url: String, as signer: Signer) async throws -> (Authorization, retryAt: Date?) {
        let reply = try await read(url, as: signer)
        return (try reply.decoded(Authorization.self, "an authorization"), reply.retryAt(within: 0...86400))
    }

    /// Tells the server to look (§7.5.1): the payload is `{}`.
    func answer(_ challenge: Authorization.Challenge, as signer: Signer) async throws {
        _ = try await post(challenge.url, Empty(), as: signer, isRepeatable: true)
    }

    /// §7.5.2.
    func deactivateAuthorization(_ url: String, as signer: Signer) async throws {
        _ = try await post(url, Deactivation(), as: signer, isRepeatable: true)
    }
}
