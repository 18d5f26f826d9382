import Foundation

/// The schema as `pg_dump --schema-only` writes it, as a set of lines that can be compared.
struct SchemaText: Sendable {
    private let lines: [String: Int]

    /// - Parameter owners: whether owners and rights count.
    init(_ text: String, owners: Bool) {
        var lines: [String: Int] = [:]
        for line in text.split(separator: "\n") where Self.counts(line, owners: owners) {
            lines[String(line), default: 0] += 1
        }
        self.lines = lines
    }

    private static func counts(_ line: Substring, owners: Bool) -> Bool {
        // Comments name versions; `\restrict` has a word that is different each time.
        if line.hasPrefix("--") || line.hasPrefix("\\restrict") || line.hasPrefix("\\unrestrict") { return false }
        if owners { return true }
        if line.hasPrefix("ALTER "), line.contains(" OWNER TO ") { return false }
        return !["GRANT ", "REVOKE ", "ALTER DEFAULT PRIVILEGES ", "SET SESSION AUTHORIZATION "].contains {
            line.hasPrefix($0)
        }
    }

    /// What `other` has otherwise; the first of many.
    func differences(in other: SchemaText, limit: Int = 5) -> [String] {
        func surplus(_ left: [String: Int], _ right: [String: Int]) -> [String] {
            left.filter { right[$0.key, default: 0] < $0.value }.keys.sorted()
        }
        let missing = surplus(lines, other.lines).map { "the schema lacks: \($0)" }
        let more = surplus(other.lines, lines).map { "the schema has more: \($0)" }
        let all = missing + more
        return Array(all.prefix(limit))
            + (all.count > limit ? ["and \(all.count - limit) more lines of the schema"] : [])
    }
}
