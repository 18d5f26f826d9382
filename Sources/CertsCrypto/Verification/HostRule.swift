import CertsCore

/// Whether a certificate is for the host that was asked for (RFC 9525 §6).
enum HostRule {
    static func findings(host: String, certificate: PathCertificate) -> [Finding] {
        let names = certificate.extensions.names ?? []
        let shown = TerminalText.sanitized(host, limit: 128)
        let remedy = "have the certificate issued for '\(shown)', or ask for one of its names"
        if let address = IPAddress(host) {
            let matches = names.contains { if case .ip(let bytes) = $0 { bytes == address.bytes } else { false } }
            return matches ? [] : [.error("name-mismatch", "the certificate is not for the address \(shown)", remedy)]
        }
        guard !host.contains("*"), let canonical = try? DNSName.canonical(host) else {
            return [
                .error(
                    "host-invalid", "'\(shown)' is neither a DNS name nor an IP address",
                    "write it like www.example.com or 192.0.2.1")
            ]
        }
        let matches = names.contains { name in
            guard case .dns(let bytes) = name, NameSyntax.problem(inDNSName: bytes, allowsWildcard: true) == nil else {
                return false
            }
            return DNSName.covers(String(decoding: NameSyntax.lowercased(bytes), as: UTF8.self), host: canonical)
        }
        return matches ? [] : [.error("name-mismatch", "the certificate is not for \(shown)", remedy)]
    }
}
