import CertsCore
import Foundation
import Testing

@testable import CertsCrypto

/// The quick way to a record against OpenSSL's: what both read is the same, and the quick way accepts nothing else.
@Suite("Plain certificates")
struct PlainCertificateTests {
    /// Certificates of all plain kinds, and names for the reports.
    static let kinds = ["p256", "p384", "p521", "rsa-2048", "ed25519", "authority", "addresses", "bare"]

    @Test("the quick way reads what OpenSSL reads", arguments: kinds)
    func agreesOnWholeCertificates(kind: String) throws {
        let certificate = try Self.certificate(kind)
        let record = try #require(Self.plain(certificate.der), "\(kind) is not read the quick way")
        #expect(record == certificate.record)
    }

    @Test("what is not plain is left to OpenSSL", arguments: ["two values in one RDN", "UTF-8", "TLS feature", "version 1"])
    func leavesTheRestToOpenSSL(kind: String) throws {
        var template = Self.template()
        switch kind {
        case "UTF-8": template.subject.organization = "Stille Überträger"
        case "TLS feature":
            template.extraExtensions = [.init(oid: "1.3.6.1.5.5.7.1.24", critical: false, der: Data([0x30, 0x03, 0x02, 0x01, 0x05]))]
        case "version 1": template.hasExtensions = false
        default:
            // SET { SEQUENCE, SEQUENCE } instead of two sets is made by hand: OpenSSL reads it, the quick way does not.
            let name: [UInt8] = [0x31, 0x16] + [0x30, 0x09, 0x06, 0x03, 0x55, 0x04, 0x06, 0x13, 0x02, 0x55, 0x53]
                + [0x30, 0x09, 0x06, 0x03, 0x55, 0x04, 0x0a, 0x0c, 0x02, 0x41, 0x42]
            #expect(name.withUnsafeBytes { PlainName($0) } == nil)
            return
        }
        let key = try PrivateKey.generate(.ecdsaP256)
        let certificate = try template.sign(publicKey: key.publicKeyDER, issuer: nil, key: key)
        #expect(Self.plain(certificate.der) == nil)
        #expect(try CertificateReader.record(der: certificate.der) == certificate.record)
    }

    @Test("a changed byte is never accepted alone, and never read differently", arguments: kinds)
    func agreesOnEveryChangedByte(kind: String) throws {
        let original = try Self.certificate(kind).der
        var accepted = 0
        for index in original.indices {
            for change in [0x01, 0x02, 0x20, 0x80, 0xff] as [UInt8] {
                var changed = original
                changed[index] ^= change
                if try Self.agrees(changed) { accepted += 1 }
            }
        }
        // The comparison means something only if many changed certificates are still read.
        #expect(accepted > original.count)
    }

    @Test("a cut, repeated or inserted byte is never accepted alone", arguments: kinds)
    func agreesOnEveryOtherLength(kind: String) throws {
        let original = try Self.certificate(kind).der
        for index in original.indices {
            _ = try Self.agrees(original.prefix(index))
            for extra in [0x00, 0x05, 0x30, 0x80, original[index]] as [UInt8] {
                var longer = original
                longer.insert(extra, at: index)
                _ = try Self.agrees(longer)
            }
            var shorter = original
            shorter.remove(at: index)
            _ = try Self.agrees(shorter)
        }
    }

    @Test("lengths are moved between neighbours without being believed", arguments: kinds)
    func agreesOnShiftedLengths(kind: String) throws {
        let original = try Self.certificate(kind).der
        for index in original.indices.dropLast() {
            for delta in [1, 2, 5] as [UInt8] {
                var changed = original
                changed[index] &+= delta
                changed[original.index(after: index)] &-= delta
                _ = try Self.agrees(changed)
            }
        }
    }

    // MARK: -

    /// Whether the quick way reads `der`; it must then say what OpenSSL says.
    private static func agrees(_ der: Data) throws -> Bool {
        let der = Data(der)
        guard let record = plain(der) else { return false }
        let other = try? Certificate(der: der)
        #expect(other != nil, "only the quick way accepts \(der.base64EncodedString())")
        if let other { #expect(record == other.record, "read differently: \(der.base64EncodedString())") }
        return true
    }

    private static func plain(_ der: Data) -> CertificateRecord? { der.withUnsafeBytes { PlainCertificate.record(of: $0) } }

    private static func template() -> CertificateTemplate {
        let window = CertificateTemplate.window(validity: 90 * 86400, now: Date(timeIntervalSince1970: 1_800_000_000))
        return CertificateTemplate(
            subject: Subject(commonName: "a.example.com", organization: "A, B + \"C\"; #1 ", country: "US"),
            names: [.dns("a.example.com")], notBefore: window.notBefore, notAfter: window.notAfter)
    }

    private static func certificate(_ kind: String) throws -> Certificate {
        var template = template()
        var algorithm = KeyAlgorithm.ecdsaP256
        switch kind {
        case "p384": algorithm = .ecdsaP384
        case "p521": algorithm = .ecdsaP521
        case "rsa-2048":
            algorithm = .rsa2048
            template.keyUsage = .server(.rsa2048)
        case "ed25519": algorithm = .ed25519
        case "authority":
            template.basicConstraints = .authority(pathLength: 0)
            template.keyUsage = [.keyCertSign, .cRLSign]
            template.extendedKeyUsage = []
            // After 2050: GeneralizedTime.
            template.notAfter = Date(timeIntervalSince1970: 2_600_000_000)
        case "addresses":
            let address = try #require(IPAddress("2001:db8::1"))
            template.names += [.ip(address), .email("ops@example.com"), .uri("spiffe://example.com/a")]
            template.extendedKeyUsage = ["serverAuth", "clientAuth"]
            template.extraExtensions = [.init(oid: "2.5.29.32", critical: false, der: Data([0x30, 0x00]))] + locations
        case "bare":
            template.basicConstraints = .absent
            template.extendedKeyUsage = []
            template.hasKeyIdentifiers = false
        default: break
        }
        let key = try PrivateKey.generate(algorithm)
        let authority = try LocalAuthority.make(
            policy: LocalAuthorityPolicy(commonName: "CA"), now: Date(timeIntervalSince1970: 1_800_000_000))
        let isOwn = ["ed25519", "p384", "p521", "rsa-2048"].contains(kind)
        return try template.sign(
            publicKey: key.publicKeyDER, issuer: isOwn ? nil : authority.issuing, key: isOwn ? key : authority.issuingKey)
    }

    /// An OCSP responder, an issuer's certificate and a CRL.
    private static var locations: [CertificateTemplate.RawExtension] {
        func tagged(_ tag: UInt8, _ content: [UInt8]) -> [UInt8] { [tag, UInt8(content.count)] + content }
        let url = tagged(0x86, Array("http://ca.example.com/a".utf8))
        let method: [UInt8] = [0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30]
        let access = tagged(0x30, tagged(0x30, method + [0x01] + url) + tagged(0x30, method + [0x02] + url))
        let points = tagged(0x30, tagged(0x30, tagged(0xa0, tagged(0xa0, url + url))))
        return [
            .init(oid: "1.3.6.1.5.5.7.1.1", critical: false, der: Data(access)),
            .init(oid: "2.5.29.31", critical: false, der: Data(points)),
        ]
    }
}
