import CertsCore
import CertsDNS

/// What CAA records allow (RFC 8659 §4, RFC 8657), read as the CA will read them.
enum CAAPolicy {
    enum Verdict: Sendable, Hashable {
        case allowed
        /// In words, for a person.
        case refused(String)
    }

    /// Tags that CAs know (IANA, "Certification Authority Restriction Properties"): critical or not, they stop nobody.
    private static let knownTags: Set<String> = [
        "issue", "issuewild", "iodef", "contactemail", "contactphone", "issuevmc", "issuemail",
    ]

    /// - Parameters:
    ///   - records: the relevant record set of `domain` (RFC 8659 §3).
    ///   - domain: without `*.`, for messages.
    ///   - isWildcard: whether the certificate is for `*.domain`.
    ///   - issuerDomains: the names by which the CA knows itself (`caaIdentities`); empty: any name is taken for its.
    ///   - accountURL: `nil`: `accounturi` is not looked at.
    ///   - methods: the challenges that we can answer for this name.
    static func verdict(
        _ records: [CAARecord], domain: String, isWildcard: Bool, issuerDomains: [String], accountURL: String?,
        methods: Set<ChallengeType>
    ) -> Verdict {
        if let unknown = records.first(where: { $0.isCritical && !knownTags.contains($0.tag) }) {
            return .refused(
                "a critical property '\(TerminalText.sanitized(unknown.tag, limit: 100))' that CAs do not know")
        }
        // §4.3: `issuewild` counts alone for wildcards, where there is one.
        let wild = isWildcard ? records.filter { $0.tag == "issuewild" } : []
        let properties = wild.isEmpty ? records.filter { $0.tag == "issue" } : wild
        guard !properties.isEmpty else { return .allowed }
        let reasons = properties.map {
            refusal(by: CAAProperty(parsing: $0.value), issuerDomains, accountURL, methods)
        }
        // One property that authorizes is enough (§4.2).
        if reasons.contains(nil) { return .allowed }
        let tag = wild.isEmpty ? "issue" : "issuewild"
        let values = zip(properties, reasons).map { property, reason in
            "\(tag) \"\(TerminalText.sanitized(property.value, limit: 200))\" \(reason ?? "")"
        }
        return .refused(values.prefix(8).joined(separator: "; "))
    }

    /// Why the property does not authorize us; `nil`: it does.
    private static func refusal(
        by property: CAAProperty?, _ issuerDomains: [String], _ accountURL: String?, _ methods: Set<ChallengeType>
    ) -> String? {
        // §4.2: what does not follow the grammar names no issuer.
        guard let property else { return "cannot be read and so names nobody" }
        guard !property.issuer.isEmpty else { return "names nobody" }
        let names = Set(issuerDomains.map { DomainText.canonical($0) })
        if !names.isEmpty, !names.contains(property.issuer) {
            return "names another CA than \(names.sorted().joined(separator: ", "))"
        }
        // RFC 8657 §3: one URI at most, compared as it is.
        let accounts = property.values(of: "accounturi")
        if accounts.count > 1 { return "has several accounts, which fits none" }
        if let account = accounts.first, let accountURL, account != accountURL {
            return "is for another account than \(TerminalText.sanitized(accountURL, limit: 200))"
        }
        // RFC 8657 §4.
        let lists = property.values(of: "validationmethods")
        if lists.count > 1 { return "has several lists of methods, which fits none" }
        if let list = lists.first {
            let allowed = Set(list.split(separator: ",").map(String.init))
            if methods.allSatisfy({ !allowed.contains($0.rawValue) }) {
                let ours = methods.map(\.rawValue).sorted().joined(separator: ", ")
                return "allows none of the challenges that are configured (\(ours.isEmpty ? "none" : ours))"
            }
        }
        return nil
    }
}

/// The value of an `issue` or `issuewild` property (RFC 8659 §4.2).
struct CAAProperty: Sendable, Hashable {
    /// Lower case; empty: nobody may issue.
    var issuer: String
    /// Tags in lower case.
    var parameters: [(tag: String, value: String)]

    func values(of tag: String) -> [String] { parameters.filter { $0.tag == tag }.map(\.value) }

    /// `nil` if the value does not follow the grammar.
    init?(parsing value: String) {
        let parts = value.split(separator: ";", omittingEmptySubsequences: false).map { Self.trimmed($0) }
        let issuer = parts[0]
        guard issuer.isEmpty || issuer.split(separator: ".", omittingEmptySubsequences: false).allSatisfy(Self.isLabel)
        else { return nil }
        self.issuer = issuer.lowercased()
        parameters = []
        // `;` alone at the end begins no parameter.
        if parts.count == 2, parts[1].isEmpty { return }
        for part in parts.dropFirst() {
            guard let equals = part.firstIndex(of: "=") else { return nil }
            let tag = Self.trimmed(part[..<equals])
            let text = Self.trimmed(part[part.index(after: equals)...])
            guard Self.isLabel(Substring(tag)),
                text.utf8.allSatisfy({ (0x21...0x7e).contains($0) && $0 != UInt8(ascii: ";") })
            else { return nil }
            parameters.append((tag.lowercased(), text))
        }
    }

    private static func trimmed(_ text: Substring) -> String {
        var rest = text
        while let first = rest.first, first == " " || first == "\t" { rest.removeFirst() }
        while let last = rest.last, last == " " || last == "\t" { rest.removeLast() }
        return String(rest)
    }

    /// Letters, digits and hyphens, beginning and ending with one of the first two.
    private static func isLabel(_ label: Substring) -> Bool {
        func isAlphanumeric(_ byte: UInt8) -> Bool {
            (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
                || (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20) && byte < 0x80
        }
        let bytes = label.utf8
        guard let first = bytes.first, let last = bytes.last, isAlphanumeric(first), isAlphanumeric(last) else {
            return false
        }
        return bytes.allSatisfy { isAlphanumeric($0) || $0 == UInt8(ascii: "-") }
    }

    static func == (left: CAAProperty, right: CAAProperty) -> Bool {
        left.issuer == right.issuer && left.parameters.elementsEqual(right.parameters, by: ==)
    }

    func hash(into hasher: inout Hasher) { hasher.combine(issuer) }
}
