package import Foundation

extension ScriptedCA {
    /// What a path stands for (RFC 8555 §7.1).
    package enum Resource: String, Sendable, Hashable, CaseIterable {
        case directory
        case newNonce = "nonce"
        case newAccount = "new-account"
        case account
        case newOrder = "new-order"
        case order
        case authorization
        case challenge
        case finalize
        case certificate
        case revokeCertificate = "revoke"
        case keyChange = "key-change"
        case renewalInformation = "renewal-info"
        /// A path that the CA never named.
        case unknown
    }

    /// A request as it came, with what its JWS says (RFC 8555 §6.2); the signature is not verified.
    package struct Request: Sendable {
        package let method: String
        /// With the query, as it came.
        package let path: String
        /// Names in lower case.
        package let headers: [String: String]
        package let body: Data
        package let resource: Resource
        /// The parts of the path after the resource.
        package let arguments: [String]
        /// The number of this request among those for the resource, from 1.
        package let number: Int
        package let received: Date
        package let message: SignedMessage?

        /// The members of the payload; empty for POST-as-GET and for what is not signed.
        package var payload: [String: Any] { message?.payloadObject ?? [:] }
        package var isPostAsGet: Bool { message?.payload.isEmpty == true }
        /// The `kid` or `nil`.
        package var keyID: String? { message?.protected["kid"] as? String }
        package var nonce: String? { message?.protected["nonce"] as? String }
    }

    /// A JWS in its flattened JSON serialization (RFC 7515 §7.2.2), taken apart.
    package struct SignedMessage: Sendable {
        /// The JSON of the protected header.
        package let protectedData: Data
        package let payload: Data
        package let signature: Data

        package init?(_ body: Data) {
            guard let object = try? JSONSerialization.jsonObject(with: body) as? [String: Any],
                let protected = (object["protected"] as? String).flatMap(ScriptedCA.decodeBase64URL),
                let payload = (object["payload"] as? String).flatMap(ScriptedCA.decodeBase64URL),
                let signature = (object["signature"] as? String).flatMap(ScriptedCA.decodeBase64URL)
            else { return nil }
            protectedData = protected
            self.payload = payload
            self.signature = signature
        }

        package var protected: [String: Any] { Self.object(protectedData) }
        package var payloadObject: [String: Any] { Self.object(payload) }

        /// The public key of the header as canonical text, to compare and to look up; `nil`: there is none.
        var keyText: String? { (protected["jwk"] as? [String: Any]).map(Self.keyText) }

        static func keyText(_ key: [String: Any]) -> String {
            let members = key.compactMapValues { $0 as? String }
            return members.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }.joined(separator: "&")
        }

        /// What is wrong with the form of the signature (RFC 7518 §3).
        var shapeProblem: String? {
            switch protected["alg"] as? String {
            case "ES256": signature.count == 64 ? nil : "an ES256 signature of \(signature.count) bytes"
            case "ES384": signature.count == 96 ? nil : "an ES384 signature of \(signature.count) bytes"
            case "ES512": signature.count == 132 ? nil : "an ES512 signature of \(signature.count) bytes"
            case "RS256": signature.count >= 256 ? nil : "an RS256 signature of \(signature.count) bytes"
            case "EdDSA": signature.count == 64 ? nil : "an EdDSA signature of \(signature.count) bytes"
            case let other: "the algorithm \(other ?? "none")"
            }
        }

        private static func object(_ data: Data) -> [String: Any] {
            (try? JSONSerialization.jsonObject(with: data) as? [String: Any]) ?? [:]
        }
    }

    /// RFC 4648 §5, without padding; `nil` for anything else.
    package static func decodeBase64URL(_ text: String) -> Data? {
        guard text.utf8.allSatisfy({ $0 != UInt8(ascii: "+") && $0 != UInt8(ascii: "/") && $0 != UInt8(ascii: "=") })
        else { return nil }
        let standard = text.replacing("-", with: "+").replacing("_", with: "/")
        return Data(base64Encoded: standard + String(repeating: "=", count: (4 - standard.utf8.count % 4) % 4))
    }

    static func encodeBase64URL(_ data: Data) -> String {
        data.base64EncodedString().replacing("+", with: "-").replacing("/", with: "_").replacing("=", with: "")
    }
}
