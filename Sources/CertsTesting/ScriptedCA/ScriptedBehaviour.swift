import CertsCore
package import Foundation

extension ScriptedCA {
    /// What the CA does with a request, instead of what is right.
    package enum Act: Sendable {
        case normal
        /// Nothing is done, and this is said.
        case reply(Reply)
        /// It is done, and the answer is changed.
        case change(@Sendable (inout Reply) -> Void)
        /// The connection breaks, and nothing is done.
        case drop
        /// It is done, and the connection breaks without an answer.
        case loseReply
        /// Nothing is done, nothing is said, and the connection stays open.
        case hang
    }

    /// How the CA behaves as long as no rule of the script says otherwise.
    package struct Behaviour: Sendable {
        // The directory (RFC 8555 §7.1.1).
        package var termsOfService: String?
        package var website: String?
        package var caaIdentities: [String] = []
        package var requiresExternalAccount = false
        /// Every member of `meta` is there, and `null`.
        package var hasNullMeta = false
        /// Name and explanation (draft-ietf-acme-profiles).
        package var profiles: [String: String] = [:]
        package var hasRenewalInformation = true

        // Orders and authorizations.
        package var challengeTypes = ["http-01", "dns-01", "tls-alpn-01"]
        /// Of every challenge; `nil`: 128 random bits.
        package var token: String?
        /// Authorizations are valid from the beginning.
        package var isAuthorized = false
        /// How often an authorization is asked for before it becomes valid.
        package var pollsBeforeValid = 0
        /// Challenges fail with this, as the CA says it in the authorization (RFC 8555 §6.7).
        package var challengeProblem: (type: String, detail: String)?
        /// How often an order is asked for after finalize before the certificate is there.
        package var pollsBeforeIssued = 0
        /// An order for the same names that is still open is returned again, as Boulder does.
        package var reusesOrders = false
        /// A new order is `valid` at once, with the last certificate for these names, or with one for a strange key.
        package var ordersAreValid = false
        package var reversesIdentifiers = false
        /// What new orders are said to be for, instead of what was asked for.
        package var otherIdentifiers: [String]?
        /// Sent with what is still pending or processing.
        package var retryAfter: String?
        package var orderLifetime: TimeInterval = 3600

        // The certificate.
        package var certificate = Issued.honest
        package var validity: TimeInterval = 90 * 86400
        package var honoursNotAfter = true

        // Renewal information (RFC 9773).
        /// `nil`: the last third of the lifetime.
        package var renewalWindow: DateInterval?
        package var renewalRetryAfter: String? = "21600"
        package var explanationURL: String?

        // Nonces.
        /// So many of the next signed requests are answered with `badNonce`.
        package var badNonces = 0

        package init() {}

        /// What stands in the certificate that is downloaded.
        package enum Issued: Sendable {
            case honest
            case otherKey
            case names([String])
            case expired
            case notYetValid
            /// The intermediate first.
            case wrongOrder
            case withoutIntermediate
            case withRoot
            /// Intermediates up to so many bytes.
            case huge(Int)
            case bytes(Data)
        }
    }
}

/// A rule of the script: what to do with some of the requests for a resource.
struct ScriptRule: Sendable {
    let resource: ScriptedCA.Resource
    /// Numbers of requests for the resource, from 1.
    let numbers: ClosedRange<Int>
    let act: @Sendable (ScriptedCA.Request) -> ScriptedCA.Act
}
