import CertsCore
import Foundation

/// Declarations as a person would write them into the configuration file.
enum DeclarationText {
    /// The blocks below `issuers:`, two blanks deep.
    static func issuers(_ issuers: [ImportedIssuer]) -> [String] { issuers.flatMap(lines) }

    /// The items below `certificates:`, two blanks deep.
    static func certificates(_ certificates: [ImportedCertificate]) -> [String] {
        certificates.filter { !$0.isDeclared }.flatMap(lines)
    }

    /// Both, as a part of a file.
    static func text(_ plan: ImportPlan) -> String {
        var lines: [String] = []
        let issuers = issuers(plan.issuers)
        let certificates = certificates(plan.certificates)
        if !issuers.isEmpty { lines += ["issuers:"] + issuers }
        if !certificates.isEmpty { lines += ["certificates:"] + certificates }
        return lines.joined(separator: "\n")
    }

    private static func lines(_ issuer: ImportedIssuer) -> [String] {
        var lines = ["  \(YAMLText.scalar(issuer.name.rawValue)):"]
        func add(_ key: String, _ value: String, _ remark: String? = nil) {
            lines.append("    \(key): \(value)" + (remark.map { "  # \($0)" } ?? ""))
        }
        add("type", "acme")
        add("directory", YAMLText.scalar(issuer.directory))
        if let caFile = issuer.caFile { add("caFile", YAMLText.scalar(caFile)) }
        let contact = issuer.contact.filter { $0.hasPrefix("mailto:") }.map { String($0.dropFirst(7)) }
        if !contact.isEmpty { add("contact", YAMLText.list(contact)) }
        if issuer.hasAccount {
            add("acceptTerms", "true", "agreed to with \(issuer.client.rawValue)")
        } else {
            add("acceptTerms", "false", "no account was found: read the CA's terms, then write true")
        }
        if let profile = issuer.settings.profile {
            let name = YAMLText.scalar(profile)
            add("profile", issuer.settings.isProfileRequired ? "{ name: \(name), required: true }" : name)
        }
        if let chain = issuer.settings.preferredChain { add("preferredChain", YAMLText.scalar(chain)) }
        if issuer.challenges.count == 1 {
            add("challenge", text(issuer.challenges[0]), issuer.challenges[0].remark)
        } else {
            lines.append("    challenges:")
            for challenge in issuer.challenges {
                lines.append("      - \(text(challenge))" + (challenge.remark.map { "  # \($0)" } ?? ""))
            }
        }
        return lines
    }

    private static func text(_ challenge: ImportedIssuer.Challenge) -> String {
        let names = challenge.names.isEmpty ? "" : ", names: \(YAMLText.list(challenge.names))"
        switch challenge.method {
        case .directory(let path): return "{ type: http-01\(names), directory: \(YAMLText.scalar(path)) }"
        case .listen(let address): return "{ type: http-01\(names), listen: \(YAMLText.scalar(address)) }"
        case .tlsALPN(let address): return "{ type: tls-alpn-01\(names), listen: \(YAMLText.scalar(address)) }"
        case .hook: return "{ type: dns-01\(names), provider: { type: command, run: [/etc/certs/dns-hook] } }"
        }
    }

    private static func lines(_ certificate: ImportedCertificate) -> [String] {
        var lines = ["  - name: \(YAMLText.scalar(certificate.name.rawValue))"]
        func add(_ key: String, _ value: String) { lines.append("    \(key): \(value)") }
        if !certificate.dnsNames.isEmpty { add("dnsNames", YAMLText.list(certificate.dnsNames)) }
        if !certificate.addresses.isEmpty {
            add("ipAddresses", YAMLText.list(certificate.addresses.map(\.description)))
        }
        let reuse = certificate.found.settings.reusesKey ? ", reuse: true" : ""
        add("key", "{ algorithm: \(certificate.algorithm.rawValue)\(reuse) }")
        add("issuer", YAMLText.scalar(certificate.issuer.rawValue))
        if let before = certificate.found.settings.renewBefore, (60...3650 * 86400).contains(before) {
            add("renew", "{ before: \(ConfigurationValue.words(before.rounded(.down))) }")
        }
        return lines
    }
}

/// Values in YAML that are read as the text that they were.
enum YAMLText {
    /// Plain where nothing in it means something to YAML, in quotes otherwise.
    static func scalar(_ text: String) -> String {
        let isPlain =
            text.utf8.allSatisfy {
                switch $0 {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "/"),
                    UInt8(ascii: "-"), UInt8(ascii: "@"):
                    true
                default: false
                }
            } && text.first.map { $0.isLetter || $0 == "/" } == true
        let words: Set = ["null", "true", "false", "yes", "no", "on", "off", "y", "n"]
        if isPlain, !words.contains(text.lowercased()) { return text }
        return quoted(text)
    }

    static func list(_ texts: [String]) -> String { "[\(texts.map(scalar).joined(separator: ", "))]" }

    /// Double quotes with the escapes that YAML shares with JSON.
    private static func quoted(_ text: String) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": result += "\\\""
            case "\\": result += "\\\\"
            case _ where scalar.value < 0x20 || (0x7f..<0xa0).contains(scalar.value):
                let digits = String(scalar.value, radix: 16)
                result += "\\x" + String(repeating: "0", count: 2 - digits.count) + digits
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result + "\""
    }
}
