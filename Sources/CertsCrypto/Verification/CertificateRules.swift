internal import COpenSSL
import CertsCore
import Foundation

extension Finding {
    static func error(_ id: String, _ message: String, _ remedy: String) -> Finding {
        Finding(id: id, severity: .error, message: message, remedy: remedy)
    }

    static func warning(_ id: String, _ message: String, _ remedy: String) -> Finding {
        Finding(id: id, severity: .warning, message: message, remedy: remedy)
    }
}

/// What a certificate must be by itself to take a place in a path (RFC 5280 §4.1, §4.2; BR 7.1).
struct CertificateRules {
    enum Role {
        case leaf, intermediate, anchor
    }

    let certificate: PathCertificate
    let role: Role
    let purpose: ChainVerifier.Purpose
    /// Seconds since 1970; a validity counts whole seconds.
    let time: Int64

    /// Findings about the form of a certificate, see ``ChainVerifier/ignoresForm``.
    static let formal: Set<String> = [
        "authority-key-id", "common-name", "extended-key-usage", "extension-criticality", "root-purpose", "serial",
        "subject-key-id", "validity-form",
    ]

    private var extensions: PathCertificate.Extensions { certificate.extensions }
    private var who: String {
        switch role {
        case .leaf: "the certificate (\(certificate.description))"
        case .intermediate: "the intermediate (\(certificate.description))"
        case .anchor: "the root (\(certificate.description))"
        }
    }
    /// The remedy for what only the one who made a certificate can put right.
    private var reissue: String {
        role == .leaf ? "have the certificate issued again, without this fault" : "use another chain, or another issuer"
    }

    func findings() -> [Finding] {
        var result = validity() + structure() + keyAndSignature() + keyIdentifiers()
        switch role {
        case .leaf: result += leafUsage() + names()
        case .intermediate, .anchor: result += authority()
        }
        return result
    }

    // MARK: - For every role

    func validity() -> [Finding] {
        guard let notBefore = certificate.notBefore, let notAfter = certificate.notAfter else {
            return [.error("validity-malformed", "\(who) has a validity that is no date", reissue)]
        }
        let prefix = role == .leaf ? "" : "issuer-"
        if time > notAfter.seconds {
            return [
                .error(
                    prefix + "expired", "\(who) expired on \(Self.day(notAfter.seconds))",
                    role == .leaf ? "renew it" : "ask the issuer for its current chain")
            ]
        }
        if time < notBefore.seconds {
            return [
                .error(
                    prefix + "not-yet-valid", "\(who) is valid only from \(Self.day(notBefore.seconds))",
                    "check the clock of this host, or wait")
            ]
        }
        if role != .anchor, !notBefore.isStrict || !notAfter.isStrict {
            return [
                .error(
                    "validity-form", "\(who) writes its validity in another form than RFC 5280 §4.1.2.5 demands",
                    reissue)
            ]
        }
        return []
    }

    private func structure() -> [Finding] {
        var result: [Finding] = []
        if certificate.version != 3 {
            result.append(.error("version", "\(who) is X.509 version \(certificate.version), not 3", reissue))
        }
        for name in extensions.malformed {
            result.append(.error("extension-malformed", "\(who) has a \(name) extension that does not decode", reissue))
        }
        for name in extensions.duplicates {
            result.append(.error("extension-duplicate", "\(who) has the extension \(name) twice", reissue))
        }
        for name in extensions.unprocessed {
            result.append(
                .error(
                    "extension-unknown-critical", "\(who) has the critical extension \(name), which is not known here",
                    reissue))
        }
        for problem in extensions.wrongCriticality {
            result.append(.error("extension-criticality", "in \(who), \(problem)", reissue))
        }
        if certificate.issuer.isEmpty {
            result.append(.error("issuer-empty", "\(who) names no issuer", reissue))
        }
        // Some roots in every trust store have the serial 0, and nothing depends on it there.
        if role != .anchor, let problem = Self.problem(inSerial: certificate.serial) {
            result.append(.error("serial", "\(who) has a serial number that \(problem)", reissue))
        }
        return result
    }

    private static func problem(inSerial serial: String) -> String? {
        if serial.hasPrefix("-") { return "is negative" }
        if serial.allSatisfy({ $0 == "0" }) { return "is zero" }
        // 20 octets with a sign bit: 159 bits.
        let isTooLong = serial.count > 40 || (serial.count == 40 && (serial.first?.hexDigitValue ?? 0) >= 8)
        return isTooLong ? "is longer than 20 octets" : nil
    }

    private func keyAndSignature() -> [Finding] {
        var result: [Finding] = []
        if let problem = KeyRules.problem(in: certificate) {
            result.append(
                .error(
                    "weak-key", "\(who) has a key that \(problem)",
                    "use RSA 2048 or more, P-256, P-384, P-521 or Ed25519"))
        }
        // The signature of an anchor proves nothing: it is trusted because it was given.
        if role != .anchor, let problem = KeyRules.problem(inSignatureOf: certificate) {
            result.append(
                .error(
                    "weak-signature", "\(who) is signed with \(problem)", "have it issued again with SHA-256 or better")
            )
        }
        return result
    }

    private func keyIdentifiers() -> [Finding] {
        var result: [Finding] = []
        let remedy = reissue
        if let authority = extensions.authorityKey {
            if authority.keyID == nil {
                result.append(
                    .error("authority-key-id", "\(who) has an authority key identifier without a key", remedy))
            }
            if role == .anchor, certificate.isSelfIssued {
                if authority.hasIssuer || authority.hasSerial {
                    result.append(
                        .error(
                            "authority-key-id", "\(who) has an authority key identifier with issuer or serial", remedy))
                }
                if let own = extensions.subjectKeyID, let keyID = authority.keyID, own != keyID {
                    result.append(
                        .error(
                            "authority-key-id", "\(who) is self-signed, but names another key as its issuer's", remedy))
                }
            } else if authority.hasIssuer != authority.hasSerial {
                result.append(
                    .error(
                        "authority-key-id", "\(who) has an authority key identifier with only one of issuer and serial",
                        remedy))
            }
        } else if role == .intermediate
            || !(certificate.isSelfIssued || (role == .anchor && certificate.isSigned(by: certificate)))
        {
            // RFC 5280 §4.2.1.1 lets only self-signed certificates leave it out.
            result.append(.error("authority-key-id", "\(who) has no authority key identifier", remedy))
        }
        if role != .leaf, extensions.subjectKeyID == nil {
            result.append(.error("subject-key-id", "\(who) has no subject key identifier", remedy))
        }
        return result
    }

    // MARK: - Authorities

    private func authority() -> [Finding] {
        var result: [Finding] = []
        if certificate.subject.isEmpty {
            result.append(.error("subject-empty", "\(who) has no subject", reissue))
        }
        if let constraints = extensions.constraints, constraints.isCA {
            if !constraints.isCritical {
                result.append(.error("extension-criticality", "in \(who), basicConstraints must be critical", reissue))
            }
            if let length = constraints.pathLength, length < 0 {
                result.append(.error("path-length", "\(who) has a negative path length", reissue))
            }
        } else {
            result.append(
                .error(
                    "not-a-ca", "\(who) is not a certificate authority",
                    "use the chain that the issuer gave for this certificate"))
        }
        if let usage = extensions.keyUsage, !usage.contains(.keyCertSign) {
            result.append(
                .error(
                    "not-a-ca", "\(who) may not sign certificates (keyUsage)",
                    "use the chain that the issuer gave for this certificate"))
        }
        if let purposes = extensions.purposes {
            if role == .anchor, certificate.isSelfIssued {
                result.append(
                    .error(
                        // Where the purpose is among them it is only a matter of form.
                        purposes.contains(purpose.word) ? "root-purpose" : "issuer-purpose",
                        "\(who) is limited by an extended key usage, which BR 7.1.2.1.2 forbids", reissue))
            } else if !purposes.contains(purpose.word), !purposes.contains("anyExtendedKeyUsage") {
                result.append(.error("issuer-purpose", "\(who) may not issue for \(purpose.word)", reissue))
            }
        }
        if let problem = extensions.nameConstraints?.problem {
            result.append(
                .error(
                    "name-constraints-malformed", "\(who) has name constraints that are malformed: \(problem)", reissue)
            )
        }
        return result
    }

    // MARK: - The leaf

    private func leafUsage() -> [Finding] {
        var result: [Finding] = []
        if extensions.constraints?.isCA == true || extensions.keyUsage?.contains(.keyCertSign) == true {
            result.append(
                .error(
                    "leaf-is-ca", "\(who) is a certificate authority",
                    "use a certificate that was issued for a \(purpose.rawValue)"))
        }
        if extensions.nameConstraints != nil {
            result.append(
                .error(
                    "leaf-name-constraints", "\(who) has name constraints, which only an authority may have", reissue))
        }
        if let usage = extensions.keyUsage,
            usage.isDisjoint(with: [.digitalSignature, .keyEncipherment, .keyAgreement])
        {
            result.append(.error("key-usage", "\(who) may be used for neither signatures nor key exchange", reissue))
        }
        let missing = purpose == .server ? "missing-server-auth" : "missing-client-auth"
        let remedy = "have it issued with the extended key usage \(purpose.word)"
        guard let purposes = extensions.purposes else {
            return result + [.error(missing, "\(who) has no extended key usage", remedy)]
        }
        if !purposes.contains(purpose.word) {
            result.append(.error(missing, "\(who) is not made for \(purpose.word)", remedy))
        }
        if purposes.contains("anyExtendedKeyUsage") {
            result.append(
                .error("extended-key-usage", "\(who) is made for any purpose, which BR 7.1.2.7.10 forbids", remedy))
        }
        if extensions.purposesAreCritical {
            result.append(.error("extension-criticality", "in \(who), extendedKeyUsage must not be critical", reissue))
        }
        return result
    }

    private func names() -> [Finding] {
        guard let names = extensions.names, !names.isEmpty else {
            return [
                .error(
                    "san-missing",
                    "\(who) has no subject alternative name, and a common name does not count (RFC 9525)",
                    "have it issued with its names as subjectAltName")
            ]
        }
        var result: [Finding] = []
        // RFC 5280 §4.2.1.6 for an empty subject, BR 7.1.2.7.12 for the other case.
        if extensions.namesAreCritical != certificate.subject.isEmpty {
            let must =
                certificate.subject.isEmpty ? "must be critical, because the subject is empty" : "must not be critical"
            result.append(.error("extension-criticality", "in \(who), subjectAltName \(must)", reissue))
        }
        let hosts = Set(
            names.compactMap { name -> [UInt8]? in
                if case .dns(let bytes) = name { NameSyntax.lowercased(bytes) } else { nil }
            })
        for name in names where result.count < 8 {
            if let problem = name.syntaxProblem {
                result.append(
                    .error(
                        "name-malformed", "\(who) has the name '\(name.text)': \(problem)",
                        "have it issued without that name"))
            } else if let suffix = PublicSuffix.covered(by: name, among: hosts) {
                result.append(
                    .error(
                        "name-malformed",
                        "\(who) has the name '\(name.text)', which covers the public suffix '\(suffix)'",
                        "have it issued without that name"))
            }
        }
        if purpose == .server, let common = CommonNameRule.stray(in: certificate.subject, names: names) {
            result.append(
                .error(
                    "common-name",
                    "\(who) has the common name '\(TerminalText.sanitized(common, limit: 128))', which is none of its alternative names (BR 7.1.4.3)",
                    "have it issued with a common name that is one of its names, or without one"))
        }
        return result
    }

    static func day(_ seconds: Int64) -> String {
        Date(timeIntervalSince1970: TimeInterval(seconds)).formatted(.iso8601)
    }
}

extension ChainVerifier.Purpose {
    /// The name of the extended key usage.
    var word: String { self == .server ? "serverAuth" : "clientAuth" }
}
