import CertsCore
import CertsEngine
import Foundation

/// One certificate as `inspect -o json` prints it; the field names are frozen (DESIGN §7).
struct CertificateEntry: Encodable {
    let subject: String
    let issuer: String
    let serial: String
    let version: Int
    let dnsNames: [String]
    let ipAddresses: [String]
    let emailAddresses: [String]
    let uris: [String]
    let notBefore: Date
    let notAfter: Date
    let daysLeft: Double
    let keyAlgorithm: String
    let keyBits: Int
    let signatureAlgorithm: String
    let keyUsage: [String]
    let extendedKeyUsage: [String]
    let isCA: Bool
    @OrNull var pathLength: Int?
    let selfSigned: Bool
    @OrNull var subjectKeyID: String?
    @OrNull var authorityKeyID: String?
    let caIssuersURLs: [String]
    let ocspURLs: [String]
    let crlURLs: [String]
    let mustStaple: Bool
    let sha1: String
    let sha256: String
    let spkiSha256: String

    init(_ record: CertificateRecord, at now: Date) {
        subject = record.subject
        issuer = record.issuer
        serial = record.serial
        version = record.version
        dnsNames = record.dnsNames
        ipAddresses = record.ipAddresses
        emailAddresses = record.emailAddresses
        uris = record.uris
        notBefore = record.notBefore
        notAfter = record.notAfter
        daysLeft = record.daysLeft(at: now)
        keyAlgorithm = record.keyAlgorithm
        keyBits = record.keyBits
        signatureAlgorithm = record.signatureAlgorithm
        keyUsage = record.keyUsage
        extendedKeyUsage = record.extendedKeyUsage
        isCA = record.isCA
        _pathLength = OrNull(wrappedValue: record.pathLength)
        selfSigned = record.selfSigned
        _subjectKeyID = OrNull(wrappedValue: record.subjectKeyID)
        _authorityKeyID = OrNull(wrappedValue: record.authorityKeyID)
        caIssuersURLs = record.caIssuersURLs
        ocspURLs = record.ocspURLs
        crlURLs = record.crlURLs
        mustStaple = record.mustStaple
        sha1 = record.sha1
        sha256 = record.sha256
        spkiSha256 = record.spkiSHA256
    }

    static let columns: [Column<CertificateEntry>] = [
        Column("sha256") { $0.sha256 }, Column("subject") { $0.subject }, Column("issuer") { $0.issuer },
        Column("not before") { Time.text($0.notBefore) }, Column("not after") { Time.text($0.notAfter) },
        Column("names") { ($0.dnsNames + $0.ipAddresses).joined(separator: " ") },
        Column("key") { $0.keyAlgorithm }, Column("serial") { $0.serial },
    ]

    /// The certificate for a person: one fact a line.
    var explanation: String {
        let names = dnsNames + ipAddresses + emailAddresses + uris
        let facts: [(String, String)] = [
            ("subject", subject.isEmpty ? "(empty)" : subject),
            ("issuer", issuer + (selfSigned ? "  (self-signed)" : "")),
            ("serial", serial), ("names", names.isEmpty ? "none" : names.joined(separator: ", ")),
            (
                "valid",
                "\(Time.text(notBefore)) to \(Time.text(notAfter)), \(String(format: "%.1f", daysLeft)) days left"
            ),
            ("key", "\(keyAlgorithm), \(keyBits) bits; signed with \(signatureAlgorithm)"),
            ("usage", (keyUsage + extendedKeyUsage).joined(separator: ", ")),
            ("CA", isCA ? "yes" + (pathLength.map { ", path length \($0)" } ?? "") : "no"),
            ("key ids", "subject \(subjectKeyID ?? "none"), authority \(authorityKeyID ?? "none")"),
            ("CA issuers", caIssuersURLs.joined(separator: ", ")), ("OCSP", ocspURLs.joined(separator: ", ")),
            ("CRL", crlURLs.joined(separator: ", ")), ("SHA-256", sha256), ("SHA-1", sha1), ("SPKI pin", spkiSha256),
        ]
        return facts.filter { !$0.1.isEmpty }
            .map {
                $0.0.padding(toLength: 12, withPad: " ", startingAt: 0) + TerminalText.sanitized($0.1, limit: 65_536)
            }
            .joined(separator: "\n")
    }
}
