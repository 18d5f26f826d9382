import CertsCore
import Foundation
import Yams

extension ConfigurationReader {
    private static let certificateKeys = [
        "name", "subject", "dnsNames", "ipAddresses", "emailAddresses", "uris", "key", "keys", "issuer", "renew",
        "targets", "staple", "window",
    ]

    mutating func readCertificates(_ top: ConfigurationBlock) {
        for (index, node) in top.list("certificates", "'- name: …'").enumerated() {
            let what = Self.what(node, "certificate", index)
            guard let block = ConfigurationBlock(node, what, keys: Self.certificateKeys, problems) else { continue }
            readCertificate(block)
        }
    }

    private mutating func readCertificate(_ block: ConfigurationBlock) {
        let nameText = block.requiredText("name", "give it a name such as 'messenger'")
        let name = declare(nameText, "certificate", in: \.certificateNames)
        let subject = subject(block)
        let problemsBefore = problems.count
        let names = names(block)
        // With a wrong name in the list the common name may well be meant to be that one.
        if problems.count == problemsBefore { checkCommonName(subject, names, block) }
        let key = keyPolicy(block)
        let issuers = issuerReferences(block)
        checkIssuers(issuers, names, key, block)
        var renewal = RenewalPolicy()
        if let before = block.block("renew", keys: ["before"])?.duration("before", 60...3650 * 86400) {
            renewal.before = before
        }
        let targets = targetReferences(block)
        guard let name, let issuer = issuers.first?.value, !names.isEmpty else { return }
        let declaration = CertificateDeclaration(
            name: name, subject: subject, names: names, key: key, issuer: issuer,
            otherIssuers: issuers.dropFirst().map(\.value), renewal: renewal, targets: targets.map(\.value),
            staple: block.flag("staple") ?? false)
        certificates.append(
            CertificateSource(
                declaration: declaration, mark: block.mark, targetMarks: targets.map(\.mark),
                window: block.text("window")))
    }

    private func subject(_ block: ConfigurationBlock) -> Subject {
        let keys = ["commonName", "organization", "organizationalUnit", "locality", "state", "country"]
        guard let block = block.block("subject", keys: keys) else { return Subject() }
        func attribute(_ key: String, _ bound: Int) -> String? {
            guard let text = block.text(key) else { return nil }
            checkLength(text, key, bound)
            return text.value
        }
        let country = block.text("country")
        if let country, country.value.utf8.count != 2 || !country.value.allSatisfy({ ("A"..."Z").contains($0) }) {
            problems.add(
                country.mark, "'\(country.value)' is not a country code",
                "write the two capital letters of ISO 3166, like US or DE")
        }
        return Subject(
            commonName: attribute("commonName", 64), organization: attribute("organization", 64),
            organizationalUnit: attribute("organizationalUnit", 64), locality: attribute("locality", 128),
            state: attribute("state", 128), country: country?.value)
    }

    /// All names in the order of the file, canonical; a name that is written twice counts once.
    private func names(_ block: ConfigurationBlock) -> [AlternativeName] {
        var result: [AlternativeName] = []
        var written = 0
        func collect(_ key: String, _ convert: (String) throws(CertsError) -> AlternativeName) {
            for text in block.texts(key) {
                written += 1
                do {
                    let name = try convert(text.value)
                    if !result.contains(name) { result.append(name) }
                } catch {
                    problems.add(text.mark, error.message, error.hint ?? "correct it")
                }
            }
        }
        collect("dnsNames") { (text) throws(CertsError) in .dns(try DNSName.canonical(text)) }
        collect("ipAddresses") { (text) throws(CertsError) in
            guard let address = IPAddress(text) else {
                throw CertsError(
                    .nameInvalid, "'\(text)' is not an IP address",
                    hint: "write it like 192.0.2.1 or 2001:db8::1, without port or prefix")
            }
            return .ip(address)
        }
        collect("emailAddresses") { (text) throws(CertsError) in .email(try ConfigurationValue.email(text)) }
        collect("uris") { (text) throws(CertsError) in .uri(try ConfigurationValue.uri(text)) }
        let lists = ["dnsNames", "ipAddresses", "emailAddresses", "uris"].compactMap { block.node($0) }
        if written == 0, lists.allSatisfy({ $0.sequence?.isEmpty ?? false }) {
            problems.add(
                block.mark, "\(block.what) has no names",
                "add 'dnsNames: [www.example.com]' (or ipAddresses, emailAddresses, uris)")
        }
        return result
    }

    /// A common name that is a host must be among the names (CA/Browser Forum BR 7.1.4.3).
    private func checkCommonName(_ subject: Subject, _ names: [AlternativeName], _ block: ConfigurationBlock) {
        guard let commonName = subject.commonName else { return }
        let mark = block.node("subject")?.mapping?.first { $0.key.scalar?.string == "commonName" }?.value.mark
        let list: String
        if let address = IPAddress(commonName) {
            if names.contains(.ip(address)) { return }
            list = "ipAddresses"
        } else {
            guard commonName.contains("."), !commonName.contains(" "), let dns = try? DNSName.canonical(commonName),
                !names.contains(.dns(dns))
            else { return }
            list = "dnsNames"
        }
        problems.add(
            mark, "the commonName '\(commonName)' is not one of the names of \(block.what)",
            "add it to \(list), or leave commonName out: clients look at the names only")
    }

    private func keyPolicy(_ block: ConfigurationBlock) -> KeyPolicy {
        var policy = KeyPolicy()
        let several = severalKeys(block)
        if !several.isEmpty { policy.algorithms = several }
        guard let key = block.block("key", keys: ["algorithm", "reuse"]) else { return policy }
        if let text = key.text("algorithm"), let algorithm = word(text, "a key algorithm", KeyAlgorithm.self) {
            if !several.isEmpty {
                problems.add(text.mark, "\(block.what) has 'keys' and 'key.algorithm'", "leave one of them out")
            }
            policy.algorithms = [algorithm]
        }
        if let reuse = key.flag("reuse") { policy.reuse = reuse }
        return policy
    }

    /// One leaf for each key type: HAProxy serves each client the one that it can verify.
    private func severalKeys(_ block: ConfigurationBlock) -> [KeyAlgorithm] {
        var algorithms: [KeyAlgorithm] = []
        if let keys = block.node("keys")?.sequence, keys.isEmpty {
            problems.add(
                block.mark("keys"), "'keys' of \(block.what) is empty",
                "name one algorithm of each type, like [ecdsa-p256, rsa-2048]")
        }
        for text in block.texts("keys", "[ecdsa-p256, rsa-2048]") {
            guard let algorithm = word(text, "a key algorithm", KeyAlgorithm.self) else { continue }
            if let other = algorithms.first(where: { $0.keyType == algorithm.keyType }) {
                problems.add(
                    text.mark,
                    "'\(algorithm.rawValue)' and '\(other.rawValue)' are of one type: a client takes both or none",
                    "name one of each type, like [ecdsa-p256, rsa-2048]")
                continue
            }
            algorithms.append(algorithm)
        }
        if algorithms.count > 1, algorithms.contains(where: { $0.keyType.bundleSuffix == nil }) {
            problems.add(
                block.mark("keys"), "HAProxy has no file for an ed25519 certificate beside others",
                "name ecdsa and rsa algorithms only, or write 'key: { algorithm: ed25519 }'")
        }
        return algorithms
    }

    /// `issuer: local`, or several in order of preference: `issuer: [letsencrypt, zerossl]`.
    private func issuerReferences(_ block: ConfigurationBlock) -> [Located<Name>] {
        let known = issuerNames.keys.sorted()
        let remedy = "name one of the issuers: \(known.joined(separator: ", "))"
        guard case .sequence(let list)? = block.node("issuer") else {
            guard let text = block.requiredText("issuer", remedy), let name = reference(text, "issuer", known) else {
                return []
            }
            return [Located(value: name, mark: text.mark)]
        }
        if list.isEmpty { problems.add(block.mark("issuer"), "'issuer' of \(block.what) is empty", remedy) }
        var result: [Located<Name>] = []
        for text in block.texts("issuer") {
            guard let name = reference(text, "issuer", known) else { continue }
            guard !result.contains(where: { $0.value == name }) else {
                problems.add(text.mark, "issuer '\(name)' is named twice", "name it once")
                continue
            }
            result.append(Located(value: name, mark: text.mark))
        }
        return result
    }

    private func targetReferences(_ block: ConfigurationBlock) -> [Located<Name>] {
        var result: [Located<Name>] = []
        for text in block.texts("targets") {
            guard let name = reference(text, "target", targetNames.keys.sorted()) else { continue }
            guard !result.contains(where: { $0.value == name }) else {
                problems.add(text.mark, "target '\(name)' is named twice", "name it once")
                continue
            }
            result.append(Located(value: name, mark: text.mark))
        }
        return result
    }

    private func reference(_ text: Located<String>, _ what: String, _ known: [String]) -> Name? {
        guard known.contains(text.value) else {
            problems.add(text.mark, "there is no \(what) '\(text.value)'", remedy(for: text.value, known))
            return nil
        }
        // A name that is known and invalid was reported where it is declared.
        return try? Name(text.value)
    }
}
