/// A value of JSON of which not every field is known here: what an engine says of a container is given back to it as it
/// was, with fields that are newer than this program.
package enum JSONValue: Sendable, Hashable {
    case null
    case bool(Bool)
    case integer(Int64)
    case number(Double)
    case string(String)
    case array([JSONValue])
    case object([String: JSONValue])

    /// The member of an object; setting `nil` takes it out. Of anything else `nil`, and setting makes an object of it.
    package subscript(key: String) -> JSONValue? {
        get { if case .object(let members) = self { members[key] } else { nil } }
        set {
            var members: [String: JSONValue] = if case .object(let members) = self { members } else { [:] }
            members[key] = newValue
            self = .object(members)
        }
    }

    package var text: String? { if case .string(let text) = self { text } else { nil } }
    package var flag: Bool { if case .bool(let flag) = self { flag } else { false } }
    package var elements: [JSONValue] { if case .array(let elements) = self { elements } else { [] } }
    package var members: [String: JSONValue] { if case .object(let members) = self { members } else { [:] } }
    package var isNull: Bool { if case .null = self { true } else { false } }
}

extension JSONValue: Codable {
    package init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        if container.decodeNil() {
            self = .null
        } else if let value = try? container.decode(Bool.self) {
            self = .bool(value)
        } else if let value = try? container.decode(Int64.self) {
            self = .integer(value)
        } else if let value = try? container.decode(Double.self) {
            self = .number(value)
        } else if let value = try? container.decode(String.self) {
            self = .string(value)
        } else if let value = try? container.decode([JSONValue].self) {
            self = .array(value)
        } else {
            self = .object(try container.decode([String: JSONValue].self))
        }
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        switch self {
        case .null: try container.encodeNil()
        case .bool(let value): try container.encode(value)
        case .integer(let value): try container.encode(value)
        case .number(let value): try container.encode(value)
        case .string(let value): try container.encode(value)
        case .array(let value): try container.encode(value)
        case .object(let value): try container.encode(value)
        }
    }
}
