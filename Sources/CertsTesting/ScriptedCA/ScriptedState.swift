import CertsCrypto
import Foundation

extension ScriptedCA {
    /// Everything that the CA remembers.
    struct State: Sendable {
        var behaviour: Behaviour
        var rules: [ScriptRule] = []
        var counts: [Resource: Int] = [:]
        var requests: [Request] = []
        var violations: [String] = []
        /// Given out and not used yet.
        var nonces: Set<String> = []
        var usedNonces: Set<String> = []

        var accounts: [Int: Account] = [:]
        var orders: [Int: Order] = [:]
        var authorizations: [Int: Authorization] = [:]
        var certificates: [Int: [Certificate]] = [:]
        var issued: [Certificate] = []
        var revoked: [String: Int] = [:]
        private var last = 0

        struct Account: Sendable {
            var key: String
            var contact: [String]
            var status = "valid"
            var hasAgreed = false
        }

        struct Identifier: Sendable, Hashable {
            var type: String
            var value: String

            var json: [String: any Sendable] { ["type": type, "value": value] }
        }

        struct Order: Sendable {
            var account: Int
            var identifiers: [Identifier]
            var authorizations: [Int]
            var expires: Date
            var notAfter: Date?
            var profile: String?
            var replaces: String?
            /// Set by finalize; `nil`: it follows from the authorizations.
            var isFinal = false
            var pollsLeft = 0
            var certificate: Int?
            var error: [String: any Sendable]?
        }

        struct Authorization: Sendable {
            var account: Int
            var identifier: Identifier
            var isWildcard: Bool
            var status: String
            var token: String
            /// The challenge that was answered.
            var answered: String?
            var pollsLeft = 0
            var problem: [String: any Sendable]?
        }

        init(behaviour: Behaviour) { self.behaviour = behaviour }

        /// A number that nothing else has.
        mutating func newNumber() -> Int {
            last += 1
            return last
        }

        mutating func newNonce() -> String {
            let nonce = ScriptedCA.randomText()
            nonces.insert(nonce)
            return nonce
        }

        mutating func wipe() {
            accounts = [:]
            orders = [:]
            authorizations = [:]
            certificates = [:]
        }

        /// RFC 8555 §7.1.6.
        func status(of order: Order) -> String {
            if order.error != nil { return "invalid" }
            if order.isFinal { return order.pollsLeft > 0 ? "processing" : "valid" }
            let parts = order.authorizations.compactMap { authorizations[$0]?.status }
            if parts.contains(where: { $0 != "pending" && $0 != "valid" }) { return "invalid" }
            return parts.allSatisfy { $0 == "valid" } ? "ready" : "pending"
        }
    }

    static func randomText() -> String {
        encodeBase64URL(Data((0..<16).map { _ in UInt8.random(in: 0...255) }))
    }
}
