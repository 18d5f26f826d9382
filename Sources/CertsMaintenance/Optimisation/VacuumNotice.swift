/// What VACUUM (VERBOSE) says of a table, as far as it could be read: a server may speak another language.
struct VacuumNotice: Sendable, Hashable {
    var indexScans: Int?
    /// Dead rows that a transaction may still see.
    var unremovable: Int?

    /// - Parameter notices: of one statement; those about toast tables come after that of the table itself.
    init(_ notices: [String], table: String) {
        guard let text = notices.first(where: { $0.hasPrefix("finished vacuuming") && $0.contains(".\(table)\"") })
        else { return }
        indexScans = Self.number(in: text, after: "index scans: ")
        unremovable = Self.number(in: text, before: " are dead but not yet removable")
    }

    private static func number(in text: String, after mark: String) -> Int? {
        guard let found = text.firstRange(of: mark) else { return nil }
        return Int(text[found.upperBound...].prefix(while: \.isNumber))
    }

    private static func number(in text: String, before mark: String) -> Int? {
        guard let found = text.firstRange(of: mark) else { return nil }
        let digits = text[..<found.lowerBound].reversed().prefix(while: \.isNumber)
        return Int(String(digits.reversed()))
    }
}
