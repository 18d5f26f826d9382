import CertsCore

/// RFC 8555 §7.1.3 `dns`, RFC 8738 §3 `ip`.
struct Identifier: Sendable, Hashable, Codable {
    var type: String
    var value: String

    /// `nil` for kinds of names that ACME does not know.
    init?(_ name: AlternativeName) {
        switch name {
        case .dns(let value): (type, self.value) = ("dns", value)
        case .ip(let address): (type, value) = ("ip", address.description)
        case .email, .uri: return nil
        }
    }

    /// As we write it; `nil` for what we did not ask for in any case.
    var name: AlternativeName? {
        switch type {
        case "dns": .dns(value.lowercased())
        case "ip": IPAddress(value).map { .ip($0) }
        default: nil
        }
    }
}
