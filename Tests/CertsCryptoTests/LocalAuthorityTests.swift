import CertsCore
import CertsTesting
import Foundation
import Testing

@testable import CertsCrypto

@Suite struct LocalAuthorityTests {
    static let now = Date(timeIntervalSince1970: 1_900_000_000.7)
    let policy = LocalAuthorityPolicy(commonName: "SilentRelay Local CA")
    let names: [AlternativeName] = [.dns("messenger.example.com"), .dns("*.example.com")]

    private func request(_ key: PrivateKey) throws -> CertificateRequest {
        try CertificateRequest.make(subject: Subject(commonName: "messenger.example.com"), names: names, key: key)
    }

    @Test("openssl verifies the whole chain strictly", arguments: KeyAlgorithm.allCases)
    func strictlyValid(_ algorithm: KeyAlgorithm) throws {
        let policy = LocalAuthorityPolicy(commonName: "Local CA", keyAlgorithm: algorithm)
        let authority = try LocalAuthority.make(policy: policy, now: Self.now)
        let leaf = try authority.issue(
            request: request(.generate(algorithm)), subject: Subject(commonName: "messenger.example.com"), names: names,
            validity: 90 * 86400, now: Self.now)
        let directory = try TemporaryDirectory()
        try directory.write(authority.root.pem, to: "root.pem")
        try directory.write(authority.issuing.pem, to: "issuing.pem")
        try directory.write(leaf.pem, to: "leaf.pem")
        for at in [1_900_000_000, 1_900_000_000 + 90 * 86400 - 61] {
            let verdict = try Tool.run(
                "openssl", "verify", "-x509_strict", "-check_ss_sig", "-purpose", "sslserver", "-verify_hostname",
                "x.example.com", "-attime", "\(at)", "-CAfile", "root.pem", "-untrusted", "issuing.pem", "leaf.pem",
                directory: directory.path)
            #expect(verdict.status == 0, "\(verdict.output)")
        }
        let text = try Tool.run("openssl", "x509", "-in", "leaf.pem", "-noout", "-text", directory: directory.path)
            .output
        #expect(text.contains("Version: 3 (0x2)"))
        #expect(text.contains("X509v3 Basic Constraints: critical\n                CA:FALSE"))
        #expect(
            text.contains(
                "X509v3 Key Usage: critical\n                Digital Signature"
                    + (algorithm.isRSA ? ", Key Encipherment\n" : "\n")))
        #expect(text.contains("X509v3 Extended Key Usage: \n                TLS Web Server Authentication\n"))
        #expect(
            text.contains(
                "X509v3 Subject Alternative Name: \n                DNS:messenger.example.com, DNS:*.example.com\n"))
        let root = try Tool.run("openssl", "x509", "-in", "root.pem", "-noout", "-text", directory: directory.path)
            .output
        #expect(root.contains("X509v3 Basic Constraints: critical\n                CA:TRUE\n"))
        let issuing = try Tool.run(
            "openssl", "x509", "-in", "issuing.pem", "-noout", "-text", directory: directory.path
        ).output
        #expect(issuing.contains("CA:TRUE, pathlen:0\n"))
        #expect(issuing.contains("X509v3 Key Usage: critical\n                Certificate Sign, CRL Sign\n"))
    }

    @Test func aLeafLivesExactlyAsLongAsAsked() throws {
        let authority = try LocalAuthority.make(policy: policy, now: Self.now)
        let leaf = try authority.issue(
            request: request(.generate(.ecdsaP256)), subject: Subject(), names: names, validity: 90 * 86400,
            now: Self.now)
        let window = try #require(LocalAuthority.window(of: leaf))
        #expect(window.notAfter.timeIntervalSince(window.notBefore) == 90 * 86400)
        #expect(window.notBefore == Date(timeIntervalSince1970: 1_900_000_000 - 60))
        let directory = try TemporaryDirectory()
        let path = try directory.write(leaf.pem, to: "leaf.pem")
        let text = try Tool.run("openssl", "x509", "-in", path, "-noout", "-text").output
        #expect(text.contains("X509v3 Subject Alternative Name: critical"), "critical, because the subject is empty")
    }

    @Test func serialsArePositiveAndOf128RandomBits() throws {
        let serials = try (0..<200).map { _ in try SerialNumber.random() }
        #expect(Set(serials).count == 200)
        #expect(serials.allSatisfy { $0.count == 16 })
        let pki = try TestPKI()
        let high = try pki.leaf { $0.serial = Array(repeating: 0xff, count: 16) }
        // INTEGER of 17 bytes with a leading zero: positive.
        #expect(high.certificate.der.range(of: Data([0x02, 0x11, 0x00] + Array(repeating: 0xff, count: 16))) != nil)
    }

    @Test func neverOutlivesTheIntermediate() throws {
        let authority = try LocalAuthority.make(policy: policy, now: Self.now)
        let request = try request(.generate(.ecdsaP256))
        let late = Self.now.addingTimeInterval(LocalAuthority.issuingValidity - 89 * 86400)
        #expect(!authority.canIssue(validity: 90 * 86400, now: late))
        let error = #expect(throws: CertsError.self) {
            try authority.issue(request: request, subject: Subject(), names: names, validity: 90 * 86400, now: late)
        }
        #expect(error?.code == .issuerRefused && error?.hint?.contains("new intermediate") == true)
        let renewed = try authority.renewedIssuing(now: late)
        #expect(renewed.root == authority.root && renewed.issuing != authority.issuing)
        #expect(renewed.issuingKey.spkiSHA256 != authority.issuingKey.spkiSHA256)
        let leaf = try renewed.issue(
            request: request, subject: Subject(), names: names, validity: 90 * 86400, now: late)
        #expect(!leaf.der.isEmpty)
        // Exactly to the end is allowed, one second more is not.
        let end = try #require(LocalAuthority.window(of: renewed.issuing)).notAfter
        let start = CertificateTemplate.window(validity: 0, now: late).notBefore
        #expect(renewed.canIssue(validity: end.timeIntervalSince(start), now: late))
        #expect(!renewed.canIssue(validity: end.timeIntervalSince(start) + 1, now: late))
        #expect(
            !authority.canIssue(validity: 60, now: Self.now.addingTimeInterval(-7200)),
            "before the intermediate's start")
        // Two rotations that start together: one looks at its clock a moment before the other makes the authority.
        #expect(authority.canIssue(validity: 60, now: Self.now.addingTimeInterval(-5)))
    }

    @Test func theLastIntermediateEndsWithTheRoot() throws {
        let authority = try LocalAuthority.make(policy: policy, now: Self.now)
        let late = Self.now.addingTimeInterval(LocalAuthority.rootValidity - 100 * 86400)
        let renewed = try authority.renewedIssuing(now: late)
        #expect(
            LocalAuthority.window(of: renewed.issuing)?.notAfter == LocalAuthority.window(of: renewed.root)?.notAfter)
        #expect(throws: CertsError(.issuerRefused, "")) {
            try authority.renewedIssuing(now: Self.now.addingTimeInterval(LocalAuthority.rootValidity + 1))
        }
    }

    @Test func loadsAgainFromItsFiles() throws {
        let made = try LocalAuthority.make(policy: policy, now: Self.now)
        let loaded = try LocalAuthority(
            rootPEM: Data(made.root.pem.utf8), issuingPEM: Data(made.issuing.pem.utf8),
            issuingKey: PrivateKey(pem: made.issuingKey.pem()), rootKey: made.rootKey)
        #expect(loaded.root == made.root && loaded.issuing == made.issuing)
        let other = try LocalAuthority.make(policy: policy, now: Self.now)
        func load(_ root: LocalAuthority, _ issuing: LocalAuthority, _ key: PrivateKey, _ rootKey: PrivateKey?) throws {
            _ = try LocalAuthority(
                rootPEM: Data(root.root.pem.utf8), issuingPEM: Data(issuing.issuing.pem.utf8), issuingKey: key,
                rootKey: rootKey)
        }
        #expect(throws: CertsError(.keyMismatch, "")) { try load(made, made, other.issuingKey, nil) }
        #expect(throws: CertsError(.keyMismatch, "")) { try load(made, made, made.issuingKey, other.rootKey) }
        // The same name, another key: only the signature tells.
        #expect(throws: CertsError(.certificateRejected, "")) { try load(other, made, made.issuingKey, nil) }
        #expect(throws: CertsError(.certificateMalformed, "")) {
            try LocalAuthority(rootPEM: Data(), issuingPEM: Data(made.issuing.pem.utf8), issuingKey: made.issuingKey)
        }
        let withoutRoot = try LocalAuthority(
            rootPEM: Data(made.root.pem.utf8), issuingPEM: Data(made.issuing.pem.utf8), issuingKey: made.issuingKey)
        #expect(throws: CertsError(.issuerRefused, "")) { try withoutRoot.renewedIssuing(now: Self.now) }
    }

    @Test(
        "A constrained authority signs for what is permitted, and for nothing else",
        arguments: [
            (["example.com"], ["dns:example.com", "dns:a.b.example.com", "dns:*.example.com"], true),
            (["example.com"], ["dns:example.org"], false), (["example.com"], ["dns:notexample.com"], false),
            (["example.com"], ["dns:a.example.com", "ip:10.0.0.1"], false),
            (["example.com"], ["email:a@example.com"], false),
            (["example.com"], ["uri:https://example.com/"], false),
            (["10.0.0.0/8"], ["ip:10.1.2.3"], true), (["10.0.0.0/8"], ["ip:11.1.2.3"], false),
            (["10.0.0.0/8"], ["ip:::1"], false), (["10.0.0.0/8"], ["dns:example.com"], false),
            (["example.com", "fd00::/8"], ["dns:example.com", "ip:fd00::1"], true),
            (["fd00::/8"], ["ip:10.0.0.1"], false),
        ])
    func nameConstraints(_ permitted: [String], _ names: [String], _ isAllowed: Bool) throws {
        let policy = LocalAuthorityPolicy(commonName: "Constrained", permittedNames: permitted)
        let authority = try LocalAuthority.make(policy: policy, now: Self.now)
        let names = names.compactMap { AlternativeName(description: $0) }
        let request = try CertificateRequest.make(subject: Subject(), names: names, key: .generate(.ecdsaP256))
        let issue = {
            try authority.issue(request: request, subject: Subject(), names: names, validity: 86400, now: Self.now)
        }
        guard isAllowed else {
            let error = #expect(throws: CertsError.self) { _ = try issue() }
            #expect(error?.code == .issuerRefused && error?.hint != nil)
            return
        }
        let directory = try TemporaryDirectory()
        try directory.write(issue().pem, to: "leaf.pem")
        try directory.write(authority.renewedIssuing(now: Self.now).issuing.pem, to: "renewed.pem")
        try directory.write(authority.issuing.pem, to: "issuing.pem")
        try directory.write(authority.root.pem, to: "root.pem")
        let verdict = try Tool.run(
            "openssl", "verify", "-x509_strict", "-attime", "1900000000", "-CAfile", "root.pem", "-untrusted",
            "issuing.pem", "leaf.pem",
            directory: directory.path)
        #expect(verdict.status == 0, "\(verdict.output)")
        let text = try Tool.run("openssl", "x509", "-in", "renewed.pem", "-noout", "-text", directory: directory.path)
            .output
        #expect(text.contains("X509v3 Name Constraints: critical"))
    }

    @Test(
        "What is not a subtree or a block is refused",
        arguments: ["10.0.0.1/8", "10.0.0.0/33", "a b", "*.example.com", "x/8", "10.0.0.0/+8"])
    func refusesConstraints(_ item: String) {
        #expect(throws: CertsError(.nameInvalid, "")) {
            try LocalAuthority.make(policy: .init(commonName: "CA", permittedNames: [item]), now: Self.now)
        }
    }

    @Test func refusesNamesAndValiditiesThatNoServerCertificateHas() throws {
        let authority = try LocalAuthority.make(policy: policy, now: Self.now)
        let request = try request(.generate(.ecdsaP256))
        #expect(throws: CertsError(.certificateRejected, "")) {
            try authority.issue(request: request, subject: Subject(), names: [], validity: 86400, now: Self.now)
        }
        for validity in [0, -1, TimeInterval.nan, .infinity] {
            #expect(throws: CertsError(.certificateRejected, "")) {
                try authority.issue(
                    request: request, subject: Subject(), names: names, validity: validity, now: Self.now)
            }
        }
        #expect(throws: CertsError(.nameInvalid, "")) {
            try LocalAuthority.make(policy: .init(commonName: String(repeating: "x", count: 48)), now: Self.now)
        }
        #expect(
            try LocalAuthority.make(policy: .init(commonName: String(repeating: "x", count: 47)), now: Self.now).rootKey
                != nil)
    }

    @Test func datesFrom2050OnAreGeneralizedTime() throws {
        let pki = try TestPKI()
        let leaf = try pki.leaf {
            $0.notBefore = Date(timeIntervalSince1970: 2_524_607_999)
            $0.notAfter = Date(timeIntervalSince1970: 2_524_608_000)
        }.certificate
        #expect(leaf.der.range(of: Data("491231235959Z".utf8)) != nil)
        #expect(leaf.der.range(of: Data("20500101000000Z".utf8)) != nil)
        #expect(throws: CertsError(.certificateRejected, "")) {
            try pki.leaf { $0.notAfter = .distantFuture.addingTimeInterval(1e12) }
        }
        #expect(throws: CertsError(.certificateRejected, "")) {
            try pki.leaf { $0.notAfter = Date(timeIntervalSince1970: .nan) }
        }
    }

    @Test func opensslReadsTheRevocationList() throws {
        let authority = try LocalAuthority.make(policy: policy, now: Self.now)
        let list = try authority.revocationList(
            revoked: [("0a", Self.now, 0), ("ff00ff00ff00ff00ff00ff00ff00ff00", Self.now, 1), ("1", Self.now, 4)],
            number: 7,
            now: Self.now, nextUpdate: Self.now.addingTimeInterval(86400))
        let directory = try TemporaryDirectory()
        try directory.write(list, to: "crl.der")
        try directory.write(authority.issuing.pem, to: "issuing.pem")
        let shown = try Tool.run(
            "openssl", "crl", "-in", "crl.der", "-inform", "DER", "-CAfile", "issuing.pem", "-noout", "-text",
            directory: directory.path)
        #expect(shown.output.contains("verify OK"))
        #expect(shown.output.contains("Version 2 (0x1)"))
        #expect(shown.output.contains("X509v3 CRL Number: \n                7"))
        #expect(shown.output.contains("Serial Number: FF00FF00FF00FF00FF00FF00FF00FF00"))
        #expect(
            shown.output.contains("Key Compromise") && shown.output.contains("Superseded")
                && !shown.output.contains("Unspecified"))
        for bad in [("zz", 0), ("", 0), ("01", 7), ("01", 11), ("01", -1), (String(repeating: "ab", count: 21), 0)] {
            #expect(throws: CertsError(.certificateRejected, "")) {
                try authority.revocationList(
                    revoked: [(bad.0, Self.now, bad.1)], number: 1, now: Self.now,
                    nextUpdate: Self.now.addingTimeInterval(1))
            }
        }
        #expect(throws: CertsError(.certificateRejected, "")) {
            try authority.revocationList(revoked: [], number: -1, now: Self.now, nextUpdate: Self.now)
        }
    }

    @Test func anEmptyRevocationListIsValid() throws {
        let authority = try LocalAuthority.make(policy: policy, now: Self.now)
        let list = try authority.revocationList(
            revoked: [], number: 1, now: Self.now, nextUpdate: Self.now.addingTimeInterval(86400))
        let directory = try TemporaryDirectory()
        let path = try directory.write(list, to: "crl.der")
        #expect(
            try Tool.run("openssl", "crl", "-in", path, "-inform", "DER", "-noout", "-text").output.contains(
                "No Revoked Certificates"))
    }
}

@Suite struct SelfSignedTests {
    @Test(
        "openssl verifies a self-signed certificate against itself",
        arguments: [KeyAlgorithm.rsa2048, .ecdsaP256, .ed25519])
    func verifies(_ algorithm: KeyAlgorithm) throws {
        let key = try PrivateKey.generate(algorithm)
        let request = try CertificateRequest.make(subject: Subject(), names: [.dns("a.example")], key: key)
        let leaf = try SelfSigned.issue(
            request: request, key: key, subject: Subject(commonName: "a.example"), names: request.names,
            validity: 86400, now: Date())
        let directory = try TemporaryDirectory()
        let path = try directory.write(leaf.pem, to: "leaf.pem")
        let verdict = try Tool.run(
            "openssl", "verify", "-x509_strict", "-verify_hostname", "a.example", "-CAfile", path, path)
        #expect(verdict.status == 0, "\(verdict.output)")
        #expect(key.matches(leaf))
        let other = try PrivateKey.generate(algorithm)
        #expect(throws: CertsError(.keyMismatch, "")) {
            try SelfSigned.issue(
                request: request, key: other, subject: Subject(), names: request.names, validity: 86400, now: Date())
        }
    }
}
