internal import COpenSSL
package import CertsCore
package import Foundation

/// The certificate of `tls-alpn-01` (RFC 8737 §3): self-signed, for one identifier, with the digest of the key
/// authorization in an extension of its own.
package enum ChallengeCertificate {
    /// The protocol of the handshake that shows it.
    package static let applicationProtocol = "acme-tls/1"
    /// id-pe-acmeIdentifier.
    static let extensionOID = "1.3.6.1.5.5.7.1.31"
    /// In seconds. A CA looks at no date; others need not believe in it for long.
    static let validity: TimeInterval = 7 * 86400

    /// - Parameter digest: SHA-256 of the key authorization, 32 bytes.
    /// - Throws: `name.invalid`, `openssl`.
    package static func make(
        for identifier: AlternativeName, digest: Data, key: PrivateKey, now: Date
    ) throws(CertsError) -> Certificate {
        let (notBefore, notAfter) = CertificateTemplate.window(validity: validity, now: now)
        var template = CertificateTemplate(
            subject: Subject(commonName: "ACME challenge"), names: [identifier], notBefore: notBefore,
            notAfter: notAfter)
        template.hasKeyIdentifiers = false
        // OCTET STRING; the digest is far below the 128 bytes from which a length takes more than one.
        let value = Data([UInt8(V_ASN1_OCTET_STRING), UInt8(truncatingIfNeeded: digest.count)]) + digest
        template.extraExtensions = [.init(oid: extensionOID, critical: true, der: value)]
        return try template.sign(publicKey: key.publicKeyDER, issuer: nil, key: key)
    }

    /// The server name under which a CA asks for it: the name, or the reverse name of an address (RFC 8738 §6); `nil` for
    /// what no CA asks for.
    package static func serverName(for identifier: AlternativeName) -> String? {
        switch identifier {
        case .dns(let name): name.lowercased()
        case .ip(let address): reverseName(of: address)
        case .email, .uri: nil
        }
    }

    private static func reverseName(of address: IPAddress) -> String {
        guard address.isIPv6 else {
            return address.bytes.reversed().map(String.init).joined(separator: ".") + ".in-addr.arpa"
        }
        let digits = Hex.encode(address.bytes).reversed().map(String.init)
        return digits.joined(separator: ".") + ".ip6.arpa"
    }

    /// Why a CA would not take `certificate` as the proof; `nil`: it would.
    package static func objection(
        to certificate: Certificate, for identifier: AlternativeName, digest: Data
    ) -> String? {
        let record = certificate.record
        let names =
            record.dnsNames.map { AlternativeName.dns($0.lowercased()) }
            + record.ipAddresses.compactMap { IPAddress($0).map(AlternativeName.ip) }
        guard let shown = digestShown(by: certificate) else {
            return "it has no acmeIdentifier extension: it is an ordinary certificate"
        }
        let wanted: AlternativeName =
            if case .dns(let name) = identifier { .dns(name.lowercased()) } else { identifier }
        if names != [wanted] {
            return "it is for \(names.map(\.value).joined(separator: ", "))"
        }
        if !shown.isCritical { return "its acmeIdentifier extension is not critical" }
        return shown.digest == digest ? nil : "it answers another challenge"
    }

    /// The digest in the acmeIdentifier extension; `nil`: there is none, or it cannot be read.
    package static func digestShown(by certificate: Certificate) -> (digest: Data, isCritical: Bool)? {
        certificate.withX509 { x509 in
            for index in 0..<max(0, X509_get_ext_count(x509)) {
                guard let found = ExtensionValue(X509_get_ext(x509, index)), ASN1.dotted(found.object) == extensionOID
                else { continue }
                let digest = found.decoded(d2i_ASN1_OCTET_STRING, ASN1_OCTET_STRING_free) { octets in
                    Data(ASN1.bytes(octets))
                }
                return digest.map { ($0, found.critical) }
            }
            return nil
        }
    }
}
