import Crypto
import Foundation
import SwiftASN1
import Testing
import X509

@Suite("swift-certificates reads what certs writes")
struct SecondOpinionTests {
    static let fromLocalCA = [
        "rsa-2048", "rsa-3072", "rsa-4096", "ecdsa-p256", "ecdsa-p384", "ecdsa-p521", "ed25519", "many-names",
    ]
    static let selfSigned = ["own-rsa", "own-ecdsa", "own-ed25519"]

    @Test("verifies the chain to the root of the local CA", arguments: fromLocalCA)
    func chainIsValid(name: String) async throws {
        let issued = try Issued(name)
        let root = try Issued.root(of: "local")
        let host = name == "many-names" ? "many.example.com" : "\(name).example.com"
        let chain = try await Self.verify(issued.leaf, through: issued.intermediates, to: root, host: host)
        #expect(chain.count == issued.intermediates.count + 2)
        #expect(!issued.intermediates.contains(root), "a bundle must not carry its root")
    }

    // `RFC5280Policy` wants the CA flag on whatever is self-signed, and a leaf must not have it: so no `Verifier` here.
    @Test("verifies the signature of a self-signed certificate by its own key", arguments: selfSigned)
    func selfSignedIsValid(name: String) throws {
        let issued = try Issued(name)
        #expect(issued.intermediates.isEmpty)
        #expect(issued.leaf.issuer == issued.leaf.subject)
        #expect(issued.leaf.publicKey.isValidSignature(issued.leaf.signature, for: issued.leaf))
        #expect(issued.leaf.notValidBefore <= Date() && Date() < issued.leaf.notValidAfter)
        #expect(try issued.leaf.extensions.basicConstraints.map { $0 == .notCertificateAuthority } ?? true)
    }

    @Test("does not verify another host, nor another root")
    func refusesOthers() async throws {
        let issued = try Issued("ecdsa-p256")
        let root = try Issued.root(of: "local")
        await #expect(throws: Problem.self) {
            try await Self.verify(issued.leaf, through: issued.intermediates, to: root, host: "other.example.com")
        }
        let other = try Issued("own-ecdsa").leaf
        await #expect(throws: Problem.self) {
            try await Self.verify(issued.leaf, through: issued.intermediates, to: other, host: "ecdsa-p256.example.com")
        }
    }

    @Test("reads key, request and certificate, and all three speak of one key", arguments: fromLocalCA + selfSigned)
    func oneKey(name: String) throws {
        let issued = try Issued(name)
        #expect(issued.key.publicKey == issued.leaf.publicKey)
        #expect(issued.request.publicKey == issued.leaf.publicKey)
        #expect(issued.request.publicKey.isValidSignature(issued.request.signature, for: issued.request))
    }

    @Test("finds a leaf for TLS servers: no CA, the right usages, key identifiers that link", arguments: fromLocalCA)
    func leafProfile(name: String) throws {
        let issued = try Issued(name)
        let extensions = issued.leaf.extensions
        #expect(issued.leaf.version == .v3)
        #expect(try extensions.basicConstraints.map { $0 == .notCertificateAuthority } ?? true)
        #expect(try #require(try extensions.extendedKeyUsage).contains(.serverAuth))
        #expect(try #require(try extensions.keyUsage).digitalSignature)
        let issuer = try #require(issued.intermediates.first)
        let authorityKey = try #require(try extensions.authorityKeyIdentifier?.keyIdentifier)
        let subjectKey = try #require(try issuer.extensions.subjectKeyIdentifier?.keyIdentifier)
        #expect(authorityKey == subjectKey)
        #expect(issued.leaf.notValidAfter <= issuer.notValidAfter)
        #expect(issued.leaf.serialNumber.bytes.count >= 15, "serials have 128 random bits")
    }

    @Test("finds every kind of name, and the IDNA form of those outside of ASCII")
    func names() throws {
        let found = try #require(try Issued("many-names").leaf.extensions.subjectAlternativeNames)
        let expected: Set<GeneralName> = [
            .dnsName("many.example.com"), .dnsName("*.many.example.com"), .dnsName("xn--bcher-kva.example.com"),
            .ipAddress(ASN1OctetString(contentBytes: [192, 0, 2, 1])),
            .ipAddress(ASN1OctetString(contentBytes: [0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1])),
            .rfc822Name("ops@example.com"), .uniformResourceIdentifier("https://many.example.com/"),
        ]
        #expect(Set(found) == expected)
        #expect(found.count == expected.count)
    }

    /// The chain that was found, leaf first.
    @discardableResult
    private static func verify(
        _ leaf: Certificate, through intermediates: [Certificate], to root: Certificate, host: String
    ) async throws -> [Certificate] {
        var verifier = Verifier(rootCertificates: CertificateStore([root])) {
            RFC5280Policy()
            ServerIdentityPolicy(serverHostname: host, serverIP: nil)
        }
        switch await verifier.validate(leaf: leaf, intermediates: CertificateStore(intermediates)) {
        case .validCertificate(let chain): return Array(chain)
        case .couldNotValidate(let failures): throw Problem("\(failures)")
        }
    }
}
