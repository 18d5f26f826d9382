import CertsCore
import CertsCrypto
import Foundation

/// How a survey becomes declarations: a pure function of what was found, of what is declared, and of time.
struct ImportPlan: Sendable {
    /// Issuers to declare.
    var issuers: [ImportedIssuer] = []
    /// Certificates to take over.
    var certificates: [ImportedCertificate] = []
    /// Accounts, and the issuers that get them.
    var accounts: [(issuer: Name, account: ForeignAccount)] = []
    var problems: [ForeignProblem] = []

    struct Options: Sendable {
        /// An issuer that is declared already, for everything.
        var issuer: Name?
        /// For new issuers.
        var caFile: String?
        var now: Date
    }

    init(
        _ survey: ForeignSurvey, client: ForeignClient, folder: ForeignFolder, declared: Declarations?,
        options: Options
    ) throws(CertsError) {
        problems = survey.problems
        var fit: [ForeignCertificate] = []
        for certificate in survey.certificates {
            if let problem = Self.rejection(of: certificate, folder, options.now) {
                problems.append(problem)
            } else {
                fit.append(certificate)
            }
        }
        var names = NameChoice(declared)
        for group in Self.groups(fit, survey.accounts) {
            let issuer = try Self.issuer(for: group, client, declared, options, &names)
            add(group, issuer, declared, folder, &names)
        }
    }

    /// Without the certificates that are not named, and the issuers that nothing is left for.
    func keeping(_ names: Set<Name>) -> ImportPlan {
        var plan = self
        plan.certificates.removeAll { !names.contains($0.name) }
        let used = Set(plan.certificates.map(\.issuer))
        plan.issuers.removeAll { !used.contains($0.name) }
        return plan
    }

    // MARK: What is fit

    /// Why a certificate is not taken over; `nil`: it is.
    private static func rejection(
        of certificate: ForeignCertificate, _ folder: ForeignFolder, _ now: Date
    ) -> ForeignProblem? {
        func problem(_ message: String, _ hint: String) -> ForeignProblem {
            ForeignProblem(place: folder.path(certificate.place), message: message, hint: hint)
        }
        guard let server = certificate.settings.server, URLComponents(string: server)?.scheme == "https" else {
            return problem(
                "it is not known from which CA it comes", "declare it by hand, and import it with `certs import`")
        }
        guard let algorithm = certificate.key.algorithm else {
            return problem(
                "its key is of the type \(TerminalText.sanitized(certificate.key.algorithmName)), which certs does not make",
                "declare the certificate by hand: it gets a new key of another type")
        }
        let blocking = BundleChecks.findings(
            chain: certificate.chain, keySPKI: certificate.key.publicKeyDER, names: [], anchors: [],
            keyAlgorithm: algorithm, now: now
        ).filter(\.isBlocking)
        guard let first = blocking.first else { return nil }
        return problem(blocking.map { "\($0.message) [\($0.id)]" }.joined(separator: "; "), first.remedy)
    }

    // MARK: Issuers

    /// The certificates of one account at one CA.
    struct Group {
        let server: String
        let account: ForeignAccount?
        var certificates: [ForeignCertificate]
    }

    /// In the order of servers and accounts.
    private static func groups(_ certificates: [ForeignCertificate], _ accounts: [ForeignAccount]) -> [Group] {
        var groups: [Group] = []
        for certificate in certificates {
            guard let server = certificate.settings.server else { continue }
            let candidates = accounts.filter { $0.server == server }
            let account = candidates.first { $0.id == certificate.settings.account } ?? candidates.first
            if let index = groups.firstIndex(where: { $0.server == server && $0.account?.id == account?.id }) {
                groups[index].certificates.append(certificate)
            } else {
                groups.append(Group(server: server, account: account, certificates: [certificate]))
            }
        }
        return groups.sorted { ($0.server, $0.account?.id ?? "") < ($1.server, $1.account?.id ?? "") }
    }

    /// The declared issuer to use, or a new one.
    private static func issuer(
        for group: Group, _ client: ForeignClient, _ declared: Declarations?, _ options: Options,
        _ names: inout NameChoice
    ) throws(CertsError) -> (name: Name, new: ImportedIssuer?) {
        if let wanted = options.issuer {
            guard let found = declared?.issuers.first(where: { $0.name == wanted }) else {
                let known = declared?.issuers.map(\.name.rawValue).joined(separator: ", ") ?? ""
                throw CertsError(
                    .nameUnknown, "no issuer named '\(wanted)' is declared",
                    hint: known.isEmpty ? "leave --issuer out, and one is declared" : "declared: \(known)")
            }
            guard case .acme = found.kind else {
                throw CertsError(
                    .usage, "the issuer '\(wanted)' is of type \(found.typeName), not acme",
                    hint: "name an issuer of type acme, or leave --issuer out")
            }
            return (wanted, nil)
        }
        let existing = declared?.issuers.first {
            if case .acme(let acme) = $0.kind { acme.directory == group.server } else { false }
        }
        if let existing, names.use(issuer: existing.name) { return (existing.name, nil) }
        let known = KnownDirectory(url: group.server)?.rawValue
        let base = known ?? URLComponents(string: group.server)?.host ?? "acme"
        let name = try names.issuer(base)
        let issuer = ImportedIssuer(
            name: name, directory: known ?? group.server, caFile: options.caFile,
            contact: group.account?.contact ?? [], client: client, hasAccount: group.account != nil,
            settings: group.certificates.first?.settings ?? .init(),
            challenges: ImportedIssuer.challenges(of: group.certificates, client: client))
        return (name, issuer)
    }

    private static func isACME(_ issuer: Name, at server: String, _ declared: Declarations?) -> Bool {
        declared?.issuers.contains {
            if case .acme(let acme) = $0.kind { $0.name == issuer && acme.directory == server } else { false }
        } ?? false
    }

    // MARK: Certificates

    private mutating func add(
        _ group: Group, _ issuer: (name: Name, new: ImportedIssuer?), _ declared: Declarations?,
        _ folder: ForeignFolder, _ names: inout NameChoice
    ) {
        var used: Set<Name> = []
        for certificate in group.certificates.sorted(by: { $0.label < $1.label }) {
            let record = certificate.leaf.record
            let all = record.dnsNames.compactMap { try? DNSName.canonical($0) }
            let addresses = record.ipAddresses.compactMap { IPAddress($0) }
            let set = Set(all.map(AlternativeName.dns) + addresses.map(AlternativeName.ip))
            guard let algorithm = certificate.key.algorithm else { continue }
            let same = declared?.certificates.first {
                Set($0.names) == set && $0.key.algorithms == [algorithm]
            }
            if let same, same.issuer != issuer.name, !Self.isACME(same.issuer, at: group.server, declared) {
                problems.append(
                    ForeignProblem(
                        place: folder.path(certificate.place),
                        message: "its names are declared already, as '\(same.name)' of the issuer '\(same.issuer)'",
                        hint: "give that an issuer with the directory \(group.server) to take the certificate over, or "
                            + "leave it with the other client"))
                continue
            }
            guard let name = same?.name ?? names.certificate(certificate.label, type: algorithm.keyType) else {
                continue
            }
            certificates.append(
                ImportedCertificate(
                    name: name, isDeclared: same != nil, dnsNames: all, addresses: addresses, algorithm: algorithm,
                    issuer: same?.issuer ?? issuer.name, found: certificate))
            used.insert(same?.issuer ?? issuer.name)
        }
        if let new = issuer.new, used.contains(new.name) { issuers.append(new) }
        if let account = group.account { accounts += used.sorted().map { ($0, account) } }
    }
}

/// A certificate as it is going to be declared.
struct ImportedCertificate: Sendable {
    let name: Name
    /// The configuration has it already.
    let isDeclared: Bool
    let dnsNames: [String]
    let addresses: [IPAddress]
    let algorithm: KeyAlgorithm
    let issuer: Name
    let found: ForeignCertificate

    var names: [AlternativeName] {
        var result: [AlternativeName] = []
        for name in dnsNames.map(AlternativeName.dns) + addresses.map(AlternativeName.ip) where !result.contains(name) {
            result.append(name)
        }
        return result
    }
}

/// Names for what is declared, each used once.
struct NameChoice {
    private var issuers: Set<String>
    private var certificates: Set<String>
    private var used: Set<Name> = []

    init(_ declared: Declarations?) {
        issuers = Set(declared?.issuers.map(\.name.rawValue) ?? [])
        certificates = Set(declared?.certificates.map(\.name.rawValue) ?? [])
    }

    /// Whether a declared issuer is still free: it has one account.
    mutating func use(issuer: Name) -> Bool { used.insert(issuer).inserted }

    mutating func issuer(_ base: String) throws(CertsError) -> Name {
        let text = Self.free(Self.plain(base), suffixes: [], in: issuers)
        issuers.insert(text)
        return try Name(text)
    }

    /// Another certificate of the same label is told apart by its type of key first.
    mutating func certificate(_ label: String, type: KeyType) -> Name? {
        let text = Self.free(Self.plain(label), suffixes: ["-\(type.rawValue)"], in: certificates)
        certificates.insert(text)
        return try? Name(text)
    }

    private static func free(_ base: String, suffixes: [String], in taken: Set<String>) -> String {
        let numbers = (2...taken.count + 2).map { "-\($0)" }
        return ([""] + suffixes + numbers).map { base.prefix(63 - $0.count) + $0 }.first { !taken.contains($0) } ?? base
    }

    /// `*.example.com` as `wildcard.example.com`; what no name may have, as `-`.
    static func plain(_ label: String) -> String {
        let words = label.hasPrefix("*.") ? "wildcard\(label.dropFirst())" : label
        let allowed = words.lowercased().map { character in
            character.isASCII && (character.isLetter || character.isNumber || "._-".contains(character))
                ? character : Character("-")
        }
        let text = String(String(allowed).drop { !$0.isLetter && !$0.isNumber }.prefix(63))
        return text.isEmpty ? "certificate" : text
    }
}
