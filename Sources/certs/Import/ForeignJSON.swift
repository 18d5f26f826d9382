import CertsCore
import CertsCrypto
import CertsIssuers
import Foundation

/// A JSON object of another client.
struct ForeignJSON {
    private let object: [String: Any]

    /// `nil`: this is no JSON object.
    init?(_ text: Secret) {
        let object = text.withBytes { try? JSONSerialization.jsonObject(with: Data($0)) as? [String: Any] }
        guard let object else { return nil }
        self.object = object
    }

    private init(_ object: [String: Any]) { self.object = object }

    func text(_ name: String) -> String? { object[name] as? String }
    func texts(_ name: String) -> [String] { object[name] as? [String] ?? [] }
    subscript(name: String) -> ForeignJSON? { (object[name] as? [String: Any]).map { ForeignJSON($0) } }

    /// The key in a file with a private JSON Web Key (RFC 7517).
    static func webKey(_ file: Secret) throws(CertsError) -> PrivateKey {
        guard let json = ForeignJSON(file), let type = json.text("kty") else {
            throw CertsError(
                .keyMalformed, "the file holds no JSON Web Key", hint: "restore it, or let a new account be made")
        }
        var numbers: [String: Secret] = [:]
        for (name, value) in json.object {
            guard let text = value as? String, let bytes = Base64URL.decode(text) else { continue }
            numbers[name] = Secret(copying: bytes)
        }
        return try PrivateKey(webKeyOfType: type, curve: json.text("crv"), numbers: numbers)
    }
}
