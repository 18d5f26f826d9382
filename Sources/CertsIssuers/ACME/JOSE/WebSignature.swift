import CertsCore
import CertsCrypto
import Foundation

/// A JSON Web Signature in the flattened form (RFC 7515 §7.2.2), as RFC 8555 §6.2 wants it.
struct WebSignature: Sendable, Encodable {
    let protected: String
    let payload: String
    let signature: String

    /// The protected header; what is `nil` is left out.
    struct Header: Encodable {
        var alg: String
        var nonce: String?
        var url: String
        /// The account's URL, or the CA's identifier in an external account binding.
        var kid: String?
        var jwk: [String: String]?
    }

    /// - Parameter payload: `nil` for POST-as-GET (RFC 8555 §6.3), which is not the same as `{}`.
    static func sign(_ payload: (any Encodable)?, _ header: Header, with key: PrivateKey) throws -> WebSignature {
        try make(payload, header) { try key.webSignature(over: $0) }
    }

    /// The same with a secret that both sides know (RFC 7518 §3.2).
    static func authenticate(
        _ payload: any Encodable, _ header: Header, _ algorithm: MessageAuthentication, key: Secret
    ) throws -> WebSignature {
        try make(payload, header) { try algorithm.code(of: $0, key: key) }
    }

    private static func make(
        _ payload: (any Encodable)?, _ header: Header, _ sign: (Data) throws -> Data
    ) throws -> WebSignature {
        let protected = Base64URL.encode(try ProtocolJSON.encode(header))
        let body = try payload.map { Base64URL.encode(try ProtocolJSON.encode($0)) } ?? ""
        let signature = try sign(Data("\(protected).\(body)".utf8))
        return WebSignature(protected: protected, payload: body, signature: Base64URL.encode(signature))
    }
}

/// The JSON of the protocol. Unknown members are ignored, as RFC 8555 §7.1 asks.
enum ProtocolJSON {
    static func encode(_ value: any Encodable) throws -> Data {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return try encoder.encode(value)
    }

    static func decode<Value: Decodable>(_ type: Value.Type, from body: Data) throws -> Value {
        try JSONDecoder().decode(type, from: body)
    }
}
