package import CertsCore
package import Foundation

/// The checks of what an issuer returned, before anything is staged. Errors block; warnings are only reported.
///
/// A private authority is allowed everything that does no harm: Ed25519, long validities, names that no public authority
/// would certify. Rules for public certificates alone are not applied here.
package enum BundleChecks {
    /// - Parameters:
    ///   - chain: leaf first, as it would be deployed.
    ///   - keySPKI: the SubjectPublicKeyInfo (DER) of the private key that will be deployed with it.
    ///   - names: what was declared; empty for whatever the certificate says.
    ///   - anchors: where the chain must end; empty where that is not known. For a self-signed leaf, the leaf itself.
    package static func findings(
        chain: [Certificate], keySPKI: Data?, names: [AlternativeName], anchors: [Certificate],
        keyAlgorithm: KeyAlgorithm?, now: Date
    ) -> [Finding] {
        guard let leaf = chain.first else {
            return [
                .error("bundle-empty", "there is no certificate in the bundle", "have the certificate issued again")
            ]
        }
        guard chain.count <= 16 else {
            return [
                .error(
                    "chain-too-long", "there are \(chain.count) certificates in the bundle",
                    "leave only the leaf and its intermediates")
            ]
        }
        let path = chain.map { PathCertificate($0) }
        let time = Int64(exactly: now.timeIntervalSince1970.rounded(.down)) ?? .max
        var result = key(leaf, keySPKI, keyAlgorithm)
        result += self.names(leaf, path[0], declared: names)
        result += validity(path[0], now: now, time: time)
        result += usage(path[0])
        result += form(path[0], time: time)
        result += strength(path)
        result += order(path, anchors: anchors)
        result += authorities(path, anchors: anchors, time: time)
        if !anchors.isEmpty, !result.contains(where: \.isBlocking) {
            result += trust(chain, anchors: anchors, now: now)
        }
        return result
    }

    // MARK: - Key and names

    private static func key(_ leaf: Certificate, _ keySPKI: Data?, _ algorithm: KeyAlgorithm?) -> [Finding] {
        var result: [Finding] = []
        if let keySPKI, keySPKI != leaf.publicKeyDER {
            result.append(
                .error(
                    "key-mismatch", "the certificate is for another key than the one it would be deployed with",
                    "import the certificate that was issued for the last request, or make a new request"))
        }
        if let algorithm, leaf.record.keyAlgorithm != algorithm.rawValue {
            result.append(
                .error(
                    "key-algorithm-mismatch",
                    "the certificate has a key of the type \(TerminalText.sanitized(leaf.record.keyAlgorithm)), and \(algorithm.rawValue) is declared",
                    "make a new request, or declare the type of this key"))
        }
        return result
    }

    private static func names(_ leaf: Certificate, _ path: PathCertificate, declared: [AlternativeName]) -> [Finding] {
        guard let present = path.extensions.names, !present.isEmpty else {
            return [
                .error(
                    "san-missing", "the certificate has no subject alternative name", "have it issued with its names")
            ]
        }
        var result: [Finding] = []
        for name in present where result.count < 8 {
            if let problem = name.syntaxProblem {
                result.append(
                    .error(
                        "name-malformed", "the certificate has the name '\(name.text)': \(problem)",
                        "have it issued without that name"))
            }
        }
        guard !declared.isEmpty else { return result }
        let issued = Set(present.compactMap(AlternativeName.init(_:)))
        // A wildcard covers the hosts below it, but a declared wildcard needs that very name.
        let missing = declared.filter { name in
            if issued.contains(name) { return false }
            guard case .dns(let host) = name, !host.hasPrefix("*.") else { return true }
            return !issued.contains {
                if case .dns(let pattern) = $0 { DNSName.covers(pattern, host: host) } else { false }
            }
        }
        if !missing.isEmpty {
            result.append(
                .error(
                    "names-missing", "the certificate does not cover \(list(missing))",
                    "have it issued for all declared names"))
        }
        let extra = issued.subtracting(declared)
        if !extra.isEmpty {
            result.append(
                .warning(
                    "names-extra", "the certificate also covers \(list(extra.sorted()))",
                    "declare these names, or have it issued without them"))
        }
        return result
    }

    private static func list(_ names: [AlternativeName]) -> String {
        let shown = names.prefix(5).map { TerminalText.sanitized($0.value, limit: 128) }.joined(separator: ", ")
        return names.count > 5 ? "\(shown) and \(names.count - 5) more" : shown
    }

    // MARK: - The leaf by itself

    private static func validity(_ leaf: PathCertificate, now: Date, time: Int64) -> [Finding] {
        var result = CertificateRules(certificate: leaf, role: .leaf, purpose: .server, time: time).validity()
        let record = leaf.certificate.record
        let left = record.notAfter.timeIntervalSince(now)
        if result.isEmpty, record.lifetime > 0, left < min(86_400, record.lifetime / 3) {
            result.append(
                .warning(
                    "validity-too-short", "the certificate expires on \(record.notAfter.formatted(.iso8601))",
                    "ask the issuer for a longer validity"))
        }
        return result
    }

    private static func usage(_ leaf: PathCertificate) -> [Finding] {
        var result: [Finding] = []
        if leaf.extensions.constraints?.isCA == true || leaf.extensions.keyUsage?.contains(.keyCertSign) == true {
            result.append(
                .error(
                    "leaf-is-ca", "the certificate is a certificate authority", "have it issued as a server certificate"
                ))
        }
        if leaf.extensions.purposes?.contains("serverAuth") != true {
            result.append(
                .error(
                    "missing-server-auth", "the certificate is not made for servers",
                    "have it issued with the extended key usage serverAuth"))
        }
        return result
    }

    /// What a strict client may stumble over; a private authority does not change for that.
    private static func form(_ leaf: PathCertificate, time: Int64) -> [Finding] {
        CertificateRules(certificate: leaf, role: .leaf, purpose: .server, time: time).findings()
            .filter { CertificateRules.formal.contains($0.id) }
            .map { .warning($0.id, $0.message, $0.remedy) }
    }

    private static func strength(_ path: [PathCertificate]) -> [Finding] {
        var result: [Finding] = []
        for certificate in path {
            if let problem = KeyRules.problem(in: certificate) {
                result.append(
                    .error(
                        "weak-key", "\(certificate.description) has a key that \(problem)",
                        "use RSA 2048 or more, P-256, P-384, P-521 or Ed25519"))
            }
            let isRoot = certificate.certificate.record.selfSigned && path.count > 1
            if !isRoot, let problem = KeyRules.problem(inSignatureOf: certificate) {
                result.append(
                    .error(
                        "weak-signature", "\(certificate.description) is signed with \(problem)",
                        "have it issued again with SHA-256 or better"))
            }
        }
        return result
    }
}

extension AlternativeName {
    /// The canonical form of a name in a certificate; `nil` for forms that are never declared.
    init?(_ name: GeneralName) {
        switch name {
        case .dns(let bytes): self = .dns(String(decoding: NameSyntax.lowercased(bytes), as: UTF8.self))
        case .email(let bytes): self = .email(String(decoding: bytes, as: UTF8.self))
        case .uri(let bytes): self = .uri(String(decoding: bytes, as: UTF8.self))
        case .ip(let bytes):
            guard let address = IPAddress(bytes: bytes) else { return nil }
            self = .ip(address)
        case .directory, .other: return nil
        }
    }
}
