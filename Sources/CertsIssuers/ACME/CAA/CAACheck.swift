import CertsCore
import CertsDNS

/// A name that the CA will refuse because of CAA records, or because they cannot be read.
struct CAARefusal: Sendable, Hashable {
    /// As it would stand in the certificate: `example.com` or `*.example.com`.
    var name: String
    /// Where the records are; `nil`: they could not be asked for.
    var recordsAt: String?
    var reason: String
    var remedy: String

    /// A lookup may succeed later, a record says no until somebody changes it.
    var isPassing: Bool { recordsAt == nil }

    var message: String {
        guard let recordsAt else { return "the CAA records for \(name) cannot be looked up: \(reason)" }
        return "the CAA records of \(recordsAt) do not let the CA issue for \(name): \(reason)"
    }

    var finding: Finding {
        Finding(
            id: isPassing ? "caa-unknown" : "caa-refuses", severity: isPassing ? .warning : .error,
            message: TerminalText.sanitized(message, limit: 800), remedy: TerminalText.sanitized(remedy, limit: 400))
    }

    /// All of them as the error that an order would end with.
    static func error(_ refusals: [CAARefusal], issuer: String) -> CertsError? {
        guard let worst = refusals.first(where: { !$0.isPassing }) ?? refusals.first else { return nil }
        return CertsError(
            worst.isPassing ? .dnsFailed : .issuerRefused, worst.message, subject: issuer, hint: worst.remedy,
            details: refusals.count > 1 ? refusals.map(\.message) : [], retry: worst.isPassing ? .later : .never)
    }
}

extension CAARefusal {
    /// The records cannot be looked up.
    init(name: String, _ error: CertsError) {
        self.init(
            name: name, recordsAt: nil, reason: error.message,
            remedy: "mend the DNS first: a CA that cannot look them up must not issue; \(error.hint ?? "")")
    }
}

/// Asks, before an order, whether the CA may issue (RFC 8659): a refusal then costs no order and no failed validation.
struct CAACheck: Sendable {
    let resolver: Resolver

    /// How many names are looked up side by side.
    private static let width = 8

    /// Every name that would be refused, in the order of `names`; names that are no DNS names have no CAA records.
    ///
    /// - Parameters:
    ///   - issuerDomains: `caaIdentities` of the directory; empty: any CA that a record names is taken for this one.
    ///   - accountURL: `nil`: not known yet, `accounturi` is not looked at.
    ///   - methods: the challenges that can be answered for a name.
    func findings(
        for names: [AlternativeName], issuerDomains: [String], accountURL: String?,
        methods: @escaping @Sendable (AlternativeName) -> Set<ChallengeType>
    ) async -> [CAARefusal] {
        let check = self
        let domains = names.compactMap { name -> String? in
            guard case .dns(let domain) = name else { return nil }
            return domain
        }
        return await concurrently(domains, width: Self.width) { name in
            await check.refusal(of: name, issuerDomains, accountURL, methods(.dns(name)))
        }.compactMap { $0 }
    }

    private func refusal(
        of name: String, _ issuerDomains: [String], _ accountURL: String?, _ methods: Set<ChallengeType>
    ) async -> CAARefusal? {
        let isWildcard = name.hasPrefix("*.")
        let domain = isWildcard ? String(name.dropFirst(2)) : name
        do {
            guard let found = try await resolver.relevantCAA(for: domain) else { return nil }
            let verdict = CAAPolicy.verdict(
                found.records, domain: domain, isWildcard: isWildcard, issuerDomains: issuerDomains,
                accountURL: accountURL, methods: methods)
            guard case .refused(let reason) = verdict else { return nil }
            return CAARefusal(
                name: name, recordsAt: found.name, reason: reason,
                remedy: Self.remedy(found.name, isWildcard, issuerDomains))
        } catch {
            return CAARefusal(name: name, error)
        }
    }

    private static func remedy(_ place: String, _ isWildcard: Bool, _ issuerDomains: [String]) -> String {
        guard let issuer = issuerDomains.first else {
            return "change the CAA records of \(place), or use another issuer"
        }
        let tag = isWildcard ? "issuewild" : "issue"
        return "add the record `\(place). CAA 0 \(tag) \"\(issuer)\"`, or use another issuer"
    }
}
