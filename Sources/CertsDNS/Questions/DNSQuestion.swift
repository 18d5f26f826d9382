/// What is asked: the records of one type at one name.
package struct DNSQuestion: Sendable, Hashable, CustomStringConvertible {
    package var name: String
    package var type: DNSRecordType

    package init(_ name: String, _ type: DNSRecordType) {
        self.name = DomainText.canonical(name)
        self.type = type
    }

    package var description: String { "\(name.isEmpty ? "." : name) \(type.rawValue)" }
}

/// What one server answered.
package struct DNSAnswer: Sendable, Hashable {
    /// What a server says about the name that was asked for, or about the last one of its chain of aliases.
    package enum Outcome: Sendable, Hashable {
        /// There is an answer section.
        case records
        /// The name exists, with records of other types only, or only below it.
        case noData
        /// Neither the name nor anything below it exists (NXDOMAIN, RFC 8020).
        case noSuchName
    }

    package var outcome: Outcome
    package var records: [DNSRecord]
    /// The authority section: where a zone is delegated to, or which zone says that there is nothing.
    package var authority: [DNSRecord]
    package var isAuthoritative: Bool

    /// The records of `type` at `name`.
    package func records(_ type: DNSRecordType, at name: String) -> [DNSRecord] {
        records.filter { $0.type == type && $0.name == name }
    }

    /// Where `name` points to.
    package func alias(of name: String) -> String? {
        for record in records where record.name == name {
            if case .alias(let target) = record.value { return target }
        }
        return nil
    }
}
