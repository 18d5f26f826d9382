import CertsCore
import CertsCrypto
import Foundation

/// The files of the inventory: P-256 server certificates, each with its own key and names, as a public CA fills them.
enum Fixtures {
    static func write(to directory: String, count: Int) throws {
        let now = Date()
        let authority = try LocalAuthority.make(policy: LocalAuthorityPolicy(commonName: "Benchmark CA"), now: now)
        let window = CertificateTemplate.window(validity: 90 * 86400, now: now)
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        for index in 0..<count {
            let host = "host-\(index).benchmark.example.com"
            var template = CertificateTemplate(
                subject: Subject(commonName: host, organization: "SilentRelay", country: "US"),
                names: [.dns(host), .dns("www.\(host)")], notBefore: window.notBefore, notAfter: window.notAfter)
            template.extraExtensions = [accessLocations, distributionPoint]
            let key = try PrivateKey.generate(.ecdsaP256)
            let leaf = try template.sign(
                publicKey: key.publicKeyDER, issuer: authority.issuing, key: authority.issuingKey)
            let name = String(format: "%05d.pem", index)
            try Data(leaf.pem.utf8).write(to: URL(fileURLWithPath: directory).appendingPathComponent(name))
        }
    }

    /// authorityInfoAccess: the OCSP responder and the issuer's certificate (RFC 5280 §4.2.2.1).
    private static var accessLocations: CertificateTemplate.RawExtension {
        let ocsp = sequence(
            [0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01] + uri("http://ocsp.benchmark.example.com"))
        let issuer = sequence(
            [0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x02] + uri("http://ca.benchmark.example.com/i.crt"))
        return .init(oid: "1.3.6.1.5.5.7.1.1", critical: false, der: Data(sequence(ocsp + issuer)))
    }

    /// cRLDistributionPoints with one URL (RFC 5280 §4.2.1.13).
    private static var distributionPoint: CertificateTemplate.RawExtension {
        let name = tagged(0xa0, tagged(0xa0, uri("http://crl.benchmark.example.com/i.crl")))
        return .init(oid: "2.5.29.31", critical: false, der: Data(sequence(sequence(name))))
    }

    private static func sequence(_ content: [UInt8]) -> [UInt8] { tagged(0x30, content) }
    private static func uri(_ text: String) -> [UInt8] { tagged(0x86, Array(text.utf8)) }

    /// A DER value of up to 255 bytes.
    private static func tagged(_ tag: UInt8, _ content: [UInt8]) -> [UInt8] {
        let length = UInt8(truncatingIfNeeded: content.count)
        return (content.count < 128 ? [tag, length] : [tag, 0x81, length]) + content
    }
}
