/// One subject alternative name (RFC 5280 §4.2.1.6), in its canonical form.
package enum AlternativeName: Hashable, Sendable, Comparable, CustomStringConvertible {
    /// Lower-case A-labels, at most one `*` and only as the whole left-most label.
    case dns(String)
    case ip(IPAddress)
    case email(String)
    case uri(String)

    /// `dns:example.com`, `ip:192.0.2.1`, `email:…`, `uri:…`.
    package var description: String {
        switch self {
        case .dns(let name): "dns:\(name)"
        case .ip(let address): "ip:\(address)"
        case .email(let address): "email:\(address)"
        case .uri(let uri): "uri:\(uri)"
        }
    }

    /// The name alone, without its kind.
    package var value: String {
        switch self {
        case .dns(let name), .email(let name), .uri(let name): name
        case .ip(let address): address.description
        }
    }

    package static func < (left: AlternativeName, right: AlternativeName) -> Bool {
        left.description < right.description
    }

    /// The inverse of ``description``.
    package init?(description: String) {
        guard let colon = description.firstIndex(of: ":") else { return nil }
        let value = String(description[description.index(after: colon)...])
        switch description[..<colon] {
        case "dns": self = .dns(value)
        case "email": self = .email(value)
        case "uri": self = .uri(value)
        case "ip":
            guard let address = IPAddress(value) else { return nil }
            self = .ip(address)
        default: return nil
        }
    }
}

extension AlternativeName: Codable {
    package init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        guard let value = AlternativeName(description: try container.decode(String.self)) else {
            throw DecodingError.dataCorruptedError(in: container, debugDescription: "not an alternative name")
        }
        self = value
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(description)
    }
}
