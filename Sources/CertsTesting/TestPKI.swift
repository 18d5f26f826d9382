package import CertsCore
package import CertsCrypto
package import Foundation

/// A root, an intermediate and leaves, built in code: good ones by default, bad ones by changing the template.
///
/// ```swift
/// let pki = try TestPKI()
/// let expired = try pki.leaf { $0.notAfter = pki.now.addingTimeInterval(-1) }
/// ```
package struct TestPKI: Sendable {
    /// A certificate with its key.
    package struct Identity: Sendable {
        package let certificate: Certificate
        package let key: PrivateKey

        /// Key, leaf and `chain` in the order that HAProxy takes: leaf, chain, key.
        package func bundle(chain: [Certificate]) throws -> Data {
            var bundle = Data(([certificate] + chain).map(\.pem).joined().utf8)
            try key.pem().withBytes { bundle.append(contentsOf: $0) }
            return bundle
        }
    }

    /// A change of a template before it is signed.
    package typealias Change = (inout CertificateTemplate) -> Void

    package let now: Date
    package let root: Identity
    package let intermediate: Identity

    /// - Parameters:
    ///   - now: in the middle of the validity of everything that is not changed.
    ///   - algorithm: of both CA keys.
    package init(
        now: Date = Date(), algorithm: KeyAlgorithm = .ecdsaP256, root changeRoot: Change = { _ in },
        intermediate changeIntermediate: Change = { _ in }
    ) throws {
        self.now = now
        root = try Self.authority("Test Root", pathLength: nil, algorithm, now, issuer: nil, changeRoot)
        intermediate = try Self.authority(
            "Test Intermediate", pathLength: 0, algorithm, now, issuer: root, changeIntermediate)
    }

    /// A server certificate for `names`, from the intermediate, valid from a day ago for 90 days.
    ///
    /// - Parameters:
    ///   - names: the subject's common name is the first.
    ///   - key: `nil`: a fresh one of `algorithm`.
    ///   - issuer: `nil`: the intermediate.
    package func leaf(
        _ names: [String] = ["www.example.com"], algorithm: KeyAlgorithm = .ecdsaP256, key: PrivateKey? = nil,
        issuer: Identity? = nil, _ change: Change = { _ in }
    ) throws -> Identity {
        try sign(
            template(names, algorithm: key?.algorithm ?? algorithm), key: key, algorithm,
            issuer: issuer ?? intermediate, change)
    }

    /// As ``leaf(_:algorithm:key:issuer:_:)``, signed with its own key.
    package func selfSigned(
        _ names: [String] = ["www.example.com"], algorithm: KeyAlgorithm = .ecdsaP256, key: PrivateKey? = nil,
        _ change: Change = { _ in }
    ) throws -> Identity {
        try sign(template(names, algorithm: key?.algorithm ?? algorithm), key: key, algorithm, issuer: nil, change)
    }

    /// One more CA under `issuer` (`nil`: the root), e.g. for longer chains.
    package func authority(
        _ commonName: String, pathLength: Int? = 0, algorithm: KeyAlgorithm = .ecdsaP256, issuer: Identity? = nil,
        _ change: Change = { _ in }
    ) throws -> Identity {
        try Self.authority(commonName, pathLength: pathLength, algorithm, now, issuer: issuer ?? root, change)
    }

    private func template(_ names: [String], algorithm: KeyAlgorithm) -> CertificateTemplate {
        CertificateTemplate(
            subject: Subject(commonName: names.first),
            names: names.map { IPAddress($0).map(AlternativeName.ip) ?? .dns($0) },
            notBefore: now.addingTimeInterval(-86400), notAfter: now.addingTimeInterval(89 * 86400),
            keyUsage: .server(algorithm))
    }

    private func sign(
        _ template: CertificateTemplate, key: PrivateKey?, _ algorithm: KeyAlgorithm, issuer: Identity?,
        _ change: Change
    ) throws -> Identity {
        var template = template
        change(&template)
        let key = try key ?? PrivateKey.generate(algorithm)
        let certificate = try template.sign(
            publicKey: key.publicKeyDER, issuer: issuer?.certificate, key: issuer?.key ?? key)
        return Identity(certificate: certificate, key: key)
    }

    private static func authority(
        _ commonName: String, pathLength: Int?, _ algorithm: KeyAlgorithm, _ now: Date, issuer: Identity?,
        _ change: Change
    ) throws -> Identity {
        var template = CertificateTemplate(
            subject: Subject(commonName: commonName, organization: "Test"),
            notBefore: now.addingTimeInterval(-365 * 86400),
            notAfter: now.addingTimeInterval(3650 * 86400), keyUsage: [.keyCertSign, .cRLSign])
        template.basicConstraints = .authority(pathLength: pathLength)
        template.extendedKeyUsage = []
        change(&template)
        let key = try PrivateKey.generate(algorithm)
        let certificate = try template.sign(
            publicKey: key.publicKeyDER, issuer: issuer?.certificate, key: issuer?.key ?? key)
        return Identity(certificate: certificate, key: key)
    }
}

extension TestPKI.Identity {
    /// The key as PEM in plain bytes, for a file that a tool reads.
    package var keyPEM: Data {
        get throws { try key.pem().withBytes { Data($0) } }
    }
}
