import CertsCore
import Foundation
import Yams

// Issuers of type `acme`.
extension ConfigurationReader {
    static let acmeKeys = [
        "type", "directory", "caFile", "anchors", "contact", "acceptTerms", "accountKey", "externalAccount", "profile",
        "preferredChain", "validity", "renewalInfo", "limits", "challenge", "challenges",
    ]
    /// Those that have a signature in RFC 7518 §3.1 that every ACME server takes: ES256 and RS256.
    private static let accountKeys: [KeyAlgorithm] = [.ecdsaP256, .rsa2048, .rsa3072, .rsa4096]

    /// `nil` where there was a problem: what refers to the issuer is then not checked against half of a declaration.
    func acme(_ block: ConfigurationBlock) -> IssuerDeclaration.Kind? {
        let problemsBefore = problems.count
        let directory = directory(block)
        if block.node("acceptTerms") == nil {
            block.missing(
                "acceptTerms",
                "read the CA's terms of service, then write 'acceptTerms: true'; with 'acceptTerms: false' `certs acme "
                    + "directory` shows where they are")
        }
        let declaration = ACMEDeclaration(
            directory: directory?.url ?? "", caFile: file(block, "caFile"), anchorsFile: file(block, "anchors"),
            contact: contact(block), acceptTerms: block.flag("acceptTerms") ?? false,
            accountKey: accountKey(block) ?? .ecdsaP256, externalAccount: externalAccount(block),
            profile: profile(block), preferredChain: preferredChain(block),
            validity: block.duration("validity", 3600...3650 * 86400), challenges: challenges(block),
            limits: limits(block, directory?.known), usesRenewalInfo: block.flag("renewalInfo") ?? true)
        return problems.count == problemsBefore ? .acme(declaration) : nil
    }

    private func directory(_ block: ConfigurationBlock) -> (url: String, known: KnownDirectory?)? {
        let words = KnownDirectory.allCases.map(\.rawValue)
        let remedy = "write one of \(words.joined(separator: ", ")), or the https address of the CA's directory"
        guard let text = block.requiredText("directory", remedy) else { return nil }
        if let known = KnownDirectory(rawValue: text.value) { return (known.url, known) }
        guard text.value.contains("/") || text.value.contains(":") else {
            let hint = Spelling.nearest(to: text.value, in: words).map { "did you mean '\($0)'?" } ?? remedy
            problems.add(text.mark, "'\(text.value)' is no CA that certs knows by a word", hint)
            return nil
        }
        guard let url = secureURL(text, "the directory of \(block.what)") else { return nil }
        return (url, KnownDirectory(url: url))
    }

    /// An `https` address without a user and without a fragment.
    func secureURL(_ text: Located<String>, _ what: String) -> String? {
        func refuse(_ why: String, _ remedy: String) -> String? {
            problems.add(text.mark, "'\(TerminalText.sanitized(text.value, limit: 200))' \(why)", remedy)
            return nil
        }
        guard text.value.utf8.count <= 2048, text.value.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f }),
            let parts = URLComponents(string: text.value), let scheme = parts.scheme, let host = parts.host,
            !host.isEmpty
        else { return refuse("is not an address (\(what))", "write it like https://ca.example.com/acme/directory") }
        guard scheme.lowercased() == "https" else {
            return refuse("is not an https address (\(what))", "write https://…: anybody could answer for http://")
        }
        guard parts.user == nil, parts.password == nil, parts.fragment == nil else {
            return refuse("has a user or a fragment in it (\(what))", "write the address alone")
        }
        return text.value
    }

    /// The absolute path of a file that is named by `key`.
    func file(_ block: ConfigurationBlock, _ key: String) -> String? { block.text(key).flatMap { path($0) } }

    private func contact(_ block: ConfigurationBlock) -> [String] {
        var result: [String] = []
        for text in block.texts("contact", "[ops@example.com]") {
            let address = text.value.lowercased().hasPrefix("mailto:") ? String(text.value.dropFirst(7)) : text.value
            do {
                let url = "mailto:\(try ConfigurationValue.email(address))"
                if !result.contains(url) { result.append(url) }
            } catch {
                problems.add(text.mark, error.message, error.hint ?? "correct it")
            }
        }
        return result
    }

    private func accountKey(_ block: ConfigurationBlock) -> KeyAlgorithm? {
        guard let text = block.text("accountKey"), let key = word(text, "a key algorithm", KeyAlgorithm.self) else {
            return nil
        }
        guard Self.accountKeys.contains(key) else {
            problems.add(
                text.mark, "'\(key.rawValue)' is not for account keys: not every CA can verify what it signs",
                "write one of \(Self.accountKeys.map(\.rawValue).joined(separator: ", ")), or leave accountKey out")
            return nil
        }
        return key
    }

    private func externalAccount(_ block: ConfigurationBlock) -> ACMEDeclaration.ExternalAccount? {
        guard let block = block.block("externalAccount", keys: ["keyID", "keyFile", "algorithm"]) else { return nil }
        let keyID = block.requiredText("keyID", "write the key identifier that the CA gave you")
        let keyFile = block.requiredText(
            "keyFile", "put the MAC key that the CA gave you into a file with mode 0600, and name it here")
        var algorithm = ACMEDeclaration.ExternalAccount.Algorithm.hs256
        if let text = block.text("algorithm") {
            guard let known = word(text, "an algorithm", ACMEDeclaration.ExternalAccount.Algorithm.self) else {
                return nil
            }
            algorithm = known
        }
        guard let keyID, let keyFile, let path = path(keyFile) else { return nil }
        return .init(keyID: keyID.value, keyFile: path, algorithm: algorithm)
    }

    /// `profile: shortlived`, or the block `profile: { name: shortlived, required: true }`.
    private func profile(_ block: ConfigurationBlock) -> ACMEDeclaration.Profile? {
        guard case .mapping? = block.node("profile") else {
            return block.text("profile").map { .init(name: $0.value) }
        }
        guard let block = block.block("profile", keys: ["name", "required"]),
            let name = block.requiredText("name", "write a profile that `certs acme directory` lists")
        else { return nil }
        return .init(name: name.value, isRequired: block.flag("required") ?? false)
    }

    /// `preferredChain: ISRG Root X1`, or the block `preferredChain: { fingerprint: "AB:…" }`.
    private func preferredChain(_ block: ConfigurationBlock) -> ACMEDeclaration.PreferredChain? {
        guard case .mapping? = block.node("preferredChain") else {
            return block.text("preferredChain").map { .rootName($0.value) }
        }
        guard let block = block.block("preferredChain", keys: ["name", "fingerprint"]) else { return nil }
        let (name, fingerprint) = (block.text("name"), block.text("fingerprint"))
        switch (name, fingerprint) {
        case (let name?, nil): return .rootName(name.value)
        case (nil, let text?):
            if let fingerprint = Fingerprint(hex: text.value) { return .fingerprint(fingerprint) }
            problems.add(
                text.mark, "'\(TerminalText.sanitized(text.value, limit: 120))' is not a SHA-256 fingerprint",
                "write 64 hexadecimal digits, as `certs inspect` prints them")
        case (.some, .some):
            problems.add(block.mark, "\(block.what) has a name and a fingerprint", "leave one of them out")
        case (nil, nil):
            block.missing("fingerprint", "write 'name: ISRG Root X1' or 'fingerprint: \"AB:…\"'")
        }
        return nil
    }
}

// Limits.
extension ConfigurationReader {
    private static let limitKeys = ["newOrders", "newAccounts", "perDomain", "perNameSet", "failedValidations"]

    /// `limits: letsencrypt`, `limits: none`, or a block of rates; what the CA is known for where nothing is said.
    private func limits(_ block: ConfigurationBlock, _ known: KnownDirectory?) -> IssuanceLimits {
        guard let node = block.node("limits") else { return known?.limits ?? .none }
        guard case .mapping = node else {
            switch block.text("limits")?.value {
            case "letsencrypt": return .letsEncrypt
            case "none", nil: return .none
            case let other?:
                problems.add(
                    node.mark, "'\(TerminalText.sanitized(other, limit: 80))' is not a set of limits",
                    "write letsencrypt, none, or a block like { newOrders: 300/3h, perDomain: 50/7d }")
                return .none
            }
        }
        guard let rates = block.block("limits", keys: Self.limitKeys) else { return .none }
        return IssuanceLimits(
            newOrders: rate(rates, "newOrders"), newAccounts: rate(rates, "newAccounts"),
            perDomain: rate(rates, "perDomain"), perNameSet: rate(rates, "perNameSet"),
            failedValidations: rate(rates, "failedValidations"))
    }

    private func rate(_ block: ConfigurationBlock, _ key: String) -> IssuanceLimits.Rate? {
        guard let text = block.text(key) else { return nil }
        if let rate = ConfigurationValue.rate(text.value) { return rate }
        problems.add(
            text.mark, "'\(TerminalText.sanitized(text.value, limit: 80))' is not a rate ('\(key)' of \(block.what))",
            "write NUMBER/DURATION: 300/3h means 300 in 3 hours")
        return nil
    }
}
