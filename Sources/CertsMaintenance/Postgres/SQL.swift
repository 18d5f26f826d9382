package import CertsCore

/// A statement that cannot be put together from outside text: literal SQL, identifiers that the server's library
/// quotes, and parameters that travel apart from it.
///
/// `"SELECT \(name: column) FROM \(table: table) WHERE id = \(value: 7)"`; a bare `\(text)` does not compile.
package struct SQL: ExpressibleByStringInterpolation, Sendable {
    enum Part: Sendable {
        case text(String)
        case identifier(String)
        case value(String?)
        case literal(String)
    }

    private(set) var parts: [Part]

    package init(stringLiteral value: StaticString) { parts = [.text("\(value)")] }
    package init(stringInterpolation: StringInterpolation) { parts = stringInterpolation.parts }
    private init(parts: [Part]) { self.parts = parts }

    package struct StringInterpolation: StringInterpolationProtocol {
        var parts: [Part] = []

        package init(literalCapacity: Int, interpolationCount: Int) { parts.reserveCapacity(interpolationCount * 2) }
        package mutating func appendLiteral(_ literal: StaticString) { parts.append(.text("\(literal)")) }
        /// A column or another identifier, quoted.
        package mutating func appendInterpolation(name: String) { parts.append(.identifier(name)) }
        /// A text that the server's library quotes: utility statements (COMMENT ON …) take no parameters.
        package mutating func appendInterpolation(literal: String) { parts.append(.literal(literal)) }
        package mutating func appendInterpolation(number: Int) { parts.append(.text(String(number))) }
        package mutating func appendInterpolation(table: TableName) {
            parts += [.identifier(table.schema), .text("."), .identifier(table.name)]
        }
        /// A parameter.
        package mutating func appendInterpolation(value: String?) { parts.append(.value(value)) }
        package mutating func appendInterpolation(value: Int) { parts.append(.value(String(value))) }
        package mutating func appendInterpolation(value: Double) { parts.append(.value("\(value)")) }
        package mutating func appendInterpolation(_ sql: SQL) { parts += sql.parts }
        package mutating func appendInterpolation(array: [String]) { parts.append(.value(SQL.array(array))) }
    }

    package static func + (left: SQL, right: SQL) -> SQL { SQL(parts: left.parts + right.parts) }

    /// The conditions, all of which must hold; never empty.
    package static func all(_ conditions: [SQL]) -> SQL {
        conditions.dropFirst().reduce(conditions.first ?? "true") { $0 + " AND " + $1 }
    }

    static func list(_ items: [SQL]) -> SQL {
        items.dropFirst().reduce(items.first ?? "") { $0 + ", " + $1 }
    }

    /// The text form of an array of texts (PostgreSQL manual, "Array Input and Output Syntax").
    static func array(_ elements: [String]) -> String {
        "{"
            + elements.map { element in
                "\"" + element.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"") + "\""
            }.joined(separator: ",") + "}"
    }
}
