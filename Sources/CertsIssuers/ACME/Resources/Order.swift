import CertsCore
import Foundation

/// An order (RFC 8555 §7.1.3).
struct Order: Sendable, Decodable {
    var status: Status
    var identifiers: [Identifier]
    var authorizations: [String]
    var finalize: String
    var certificate: String?
    var expires: String?
    var error: Problem?
    /// As the server understood it (draft-ietf-acme-profiles); one that does not know profiles says nothing.
    var profile: String?

    /// §7.1.6.
    enum Status: String, Sendable, Decodable {
        case pending, ready, processing, valid, invalid
    }

    /// The body of newOrder (§7.4, RFC 9773 §5); what is `nil` is not sent.
    struct Request: Sendable, Encodable {
        var identifiers: [Identifier]
        var notAfter: String?
        var profile: String?
        var replaces: String?
    }

    struct Finalization: Sendable, Encodable {
        /// DER, base64url.
        var csr: String
    }
}

extension ACMESession {
    /// - Returns: the order, and where it is.
    func newOrder(_ request: Order.Request, as signer: Signer) async throws -> (url: String, order: Order) {
        let reply = try await post(try await directory().newOrder, request, as: signer, isRepeatable: true)
        guard let url = reply.location else {
            throw CertsError(
                .issuerUnavailable, "the CA made an order and did not say where", subject: issuer.rawValue,
                hint: "try again", retry: .later)
        }
        return (url, try reply.decoded(Order.self, "an order"))
    }

    /// - Returns: the order, and when the server wants to be asked again.
    func order(_ url: String, as signer: Signer) async throws -> (order: Order, retryAt: Date?) {
        let reply = try await read(url, as: signer)
        return (try reply.decoded(Order.self, "an order"), reply.retryAt(within: 0...86400))
    }

    /// Hands in the request. Not to be repeated without reading the order first: a second one is refused (§7.4).
    func finalize(_ order: Order, csr: Data, as signer: Signer) async throws -> (order: Order, retryAt: Date?) {
        let reply = try await post(order.finalize, Order.Finalization(csr: Base64URL.encode(csr)), as: signer)
        return (try reply.decoded(Order.self, "an order"), reply.retryAt(within: 0...86400))
    }
}
