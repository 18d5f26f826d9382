internal import COpenSSL
package import CertsCore
package import Foundation

/// The embedded certification authority: a root, and an intermediate under it that signs the leaves.
package struct LocalAuthority: Sendable {
    package let root: Certificate
    package let issuing: Certificate
    /// `nil`: the root's key is kept elsewhere, so no new intermediate can be made.
    package let rootKey: PrivateKey?
    package let issuingKey: PrivateKey

    /// 10 years: whoever trusts the root installs it by hand, so it must outlive the hardware it is installed on.
    package static let rootValidity: TimeInterval = 3650 * 86400
    /// 5 years: half the root's, so that an intermediate that is replaced in time never outlives the root.
    package static let issuingValidity: TimeInterval = 1825 * 86400
    /// The name of an intermediate is the root's with `" Issuing "` and 8 digits: together 64 characters (RFC 5280).
    package static let maximumCommonNameLength = 47

    private init(root: Certificate, rootKey: PrivateKey?, issuing: Certificate, issuingKey: PrivateKey) {
        self.root = root
        self.rootKey = rootKey
        self.issuing = issuing
        self.issuingKey = issuingKey
    }

    /// A new root and a new intermediate, each with a fresh key. Blocking: RSA keys take seconds.
    ///
    /// - Throws: `name.invalid` for a common name or a permitted name that a certificate cannot carry.
    package static func make(policy: LocalAuthorityPolicy, now: Date) throws(CertsError) -> LocalAuthority {
        guard policy.commonName.unicodeScalars.count <= maximumCommonNameLength else {
            throw CertsError(
                .nameInvalid, "the common name '\(policy.commonName)' of the authority is too long",
                hint: "use at most \(maximumCommonNameLength) characters")
        }
        let constraints = try NameConstraintsTemplate(permitted: policy.permittedNames)
        let rootKey = try PrivateKey.generate(policy.keyAlgorithm)
        let (notBefore, notAfter) = window(validity: rootValidity, now: now)
        var template = CertificateTemplate(
            subject: Subject(commonName: policy.commonName), notBefore: notBefore, notAfter: notAfter,
            keyUsage: [.keyCertSign, .cRLSign])
        template.basicConstraints = .authority(pathLength: nil)
        template.extendedKeyUsage = []
        template.nameConstraints = constraints
        let root = try template.sign(publicKey: rootKey.publicKeyDER, issuer: nil, key: rootKey)
        let issuingKey = try PrivateKey.generate(policy.keyAlgorithm)
        let issuing = try intermediate(root: root, rootKey: rootKey, key: issuingKey, now: now)
        return LocalAuthority(root: root, rootKey: rootKey, issuing: issuing, issuingKey: issuingKey)
    }

    /// An authority from its files.
    ///
    /// - Throws: `certificate.malformed`; `key.mismatch`; `certificate.rejected` if the intermediate is not the root's.
    package init(
        rootPEM: Data, issuingPEM: Data, issuingKey: PrivateKey, rootKey: PrivateKey? = nil
    ) throws(CertsError) {
        let root = try Self.certificate(rootPEM, "root")
        let issuing = try Self.certificate(issuingPEM, "intermediate")
        guard issuingKey.matches(issuing) else {
            throw CertsError(
                .keyMismatch, "the authority's key is not the key of its intermediate certificate",
                hint: "restore both files from the same backup")
        }
        if let rootKey, !rootKey.matches(root) {
            throw CertsError(
                .keyMismatch, "the authority's root key is not the key of its root certificate",
                hint: "restore both files from the same backup")
        }
        guard Self.isSigned(issuing, by: root), Self.isSigned(root, by: root) else {
            throw CertsError(
                .certificateRejected, "the authority's intermediate is not signed by its root",
                hint: "restore the files of the authority from the same backup")
        }
        self.init(root: root, rootKey: rootKey, issuing: issuing, issuingKey: issuingKey)
    }

    /// Whether a leaf of `validity` seconds that is issued at `now` would end with, or before, the intermediate.
    package func canIssue(validity: TimeInterval, now: Date) -> Bool {
        guard let window = Self.window(of: issuing) else { return false }
        let leaf = CertificateTemplate.window(validity: validity, now: now)
        return leaf.notBefore >= window.notBefore && leaf.notAfter <= window.notAfter
    }

    /// A server certificate for `request`, with `subject` and `names` (which are what was declared, not what the request
    /// says: the request only gives the key and the proof that its holder has it).
    ///
    /// - Parameter validity: notAfter − notBefore, in seconds; nothing is clamped.
    /// - Throws: `issuer.refused` if the leaf would outlive the intermediate or its names are not permitted;
    ///   `name.invalid`; `key.unsupported`.
    package func issue(
        request: CertificateRequest, subject: Subject, names: [AlternativeName], validity: TimeInterval, now: Date
    ) throws(CertsError) -> Certificate {
        let template = try CertificateTemplate.server(
            subject: subject, names: names, publicKey: request.publicKeyDER, validity: validity, now: now)
        guard canIssue(validity: validity, now: now) else { throw outlives(template) }
        if NameConstraintsTemplate.exist(in: issuing), let other = names.first(where: { !$0.isHost }) {
            throw CertsError(
                .issuerRefused, "the authority is constrained to hosts and does not sign for '\(other)'",
                hint: "remove the name, or use an authority without permittedNames")
        }
        let leaf = try template.sign(publicKey: request.publicKeyDER, issuer: issuing, key: issuingKey)
        if let refusal = try NameConstraintsTemplate.refusal(of: leaf, by: issuing) {
            throw CertsError(
                .issuerRefused,
                "the authority is not permitted to sign for all of \(names.map(\.value).joined(separator: ", ")) (\(refusal))",
                hint: "remove the names that are outside of the authority's permittedNames, or make another authority")
        }
        return leaf
    }

    private func outlives(_ template: CertificateTemplate) -> CertsError {
        guard let window = Self.window(of: issuing) else {
            return CertsError(
                .issuerRefused, "the dates of the authority's intermediate cannot be read", hint: "make a new one")
        }
        if template.notBefore < window.notBefore {
            return CertsError(
                .issuerRefused,
                "the authority's intermediate is not valid before \(window.notBefore.formatted(.iso8601))",
                hint: "check the clock of this host")
        }
        return CertsError(
            .issuerRefused,
            "the certificate would end at \(template.notAfter.formatted(.iso8601)), after the authority's intermediate "
                + "(\(window.notAfter.formatted(.iso8601)))",
            hint: "make a new intermediate, or shorten the validity")
    }

    /// The same root with a new intermediate under it, with a fresh key of the same type. Blocking for RSA.
    ///
    /// - Throws: `issuer.refused` if the root's key is not here, or the root itself ends too soon for a whole new
    ///   intermediate and the present one is not older.
    package func renewedIssuing(now: Date) throws(CertsError) -> LocalAuthority {
        guard let rootKey else {
            throw CertsError(
                .issuerRefused, "the key of the authority's root is not here, so it cannot sign a new intermediate",
                hint: "put the root's key back for the renewal")
        }
        guard let algorithm = issuingKey.algorithm else {
            throw CertsError(
                .keyUnsupported, "the intermediate has a key of type \(issuingKey.algorithmName)",
                hint: "make a new authority")
        }
        let key = try PrivateKey.generate(algorithm)
        let made = try Self.intermediate(root: root, rootKey: rootKey, key: key, now: now)
        return LocalAuthority(root: root, rootKey: rootKey, issuing: made, issuingKey: key)
    }

    /// A CRL of the intermediate, version 2, DER.
    ///
    /// - Parameters:
    ///   - revoked: serials in hexadecimal; reasons of RFC 5280 §5.3.1.
    ///   - number: greater than that of every earlier list.
    package func revocationList(
        revoked: [(serial: String, at: Date, reason: Int)], number: Int, now: Date, nextUpdate: Date
    ) throws(CertsError) -> Data {
        try RevocationListTemplate.make(
            revoked: revoked, number: number, now: now, nextUpdate: nextUpdate, issuer: issuing, key: issuingKey)
    }
}

extension LocalAuthority {
    private static func intermediate(
        root: Certificate, rootKey: PrivateKey, key: PrivateKey, now: Date
    ) throws(CertsError) -> Certificate {
        guard let rootWindow = window(of: root) else {
            throw CertsError(
                .certificateMalformed, "the dates of the authority's root cannot be read", hint: "make a new authority")
        }
        let (notBefore, wished) = window(validity: issuingValidity, now: now)
        // In the second half of the root's life an intermediate ends with the root: it is replaced with it.
        let notAfter = min(wished, rootWindow.notAfter)
        guard notBefore >= rootWindow.notBefore, notAfter > now else {
            throw CertsError(
                .issuerRefused,
                "the authority's root is valid from \(rootWindow.notBefore.formatted(.iso8601)) to "
                    + "\(rootWindow.notAfter.formatted(.iso8601))",
                hint: "check the clock of this host, or make a new authority")
        }
        // Each intermediate has a name of its own, so that a CRL or a chain never mixes two keys under one name.
        let mark = Hex.encode(Digest.sha256.data(of: key.publicKeyDER).prefix(4))
        let base = root.withX509 { SubjectName.subject(X509_get_subject_name($0)).commonName } ?? "Local CA"
        var template = CertificateTemplate(
            subject: Subject(commonName: "\(base) Issuing \(mark)"), notBefore: notBefore, notAfter: notAfter,
            keyUsage: [.keyCertSign, .cRLSign])
        template.basicConstraints = .authority(pathLength: 0)
        template.extendedKeyUsage = []
        if let constraints = rawExtension(NID_name_constraints, "2.5.29.30", of: root) {
            template.extraExtensions = [constraints]
        }
        return try template.sign(publicKey: key.publicKeyDER, issuer: root, key: rootKey)
    }

    private static func rawExtension(_ nid: Int32, _ oid: String, of certificate: Certificate) -> CertificateTemplate
        .RawExtension?
    {
        certificate.withX509 { x509 in
            let index = X509_get_ext_by_NID(x509, nid, -1)
            guard index >= 0, let found = X509_get_ext(x509, index), let value = X509_EXTENSION_get_data(found) else {
                return nil
            }
            let count = Int(max(0, ASN1_STRING_length(value)))
            let der = Data(UnsafeBufferPointer(start: ASN1_STRING_get0_data(value), count: count))
            return .init(oid: oid, critical: true, der: der)
        }
    }

    /// Begins an hour before: a leaf that another rotation had asked for a moment before the authority was made lies
    /// inside, too.
    private static func window(validity: TimeInterval, now: Date) -> (notBefore: Date, notAfter: Date) {
        CertificateTemplate.window(validity: validity, now: now.addingTimeInterval(-3600))
    }

    static func window(of certificate: Certificate) -> (notBefore: Date, notAfter: Date)? {
        certificate.withX509 { x509 in
            guard let start = EncodedTime.date(X509_get0_notBefore(x509)),
                let end = EncodedTime.date(X509_get0_notAfter(x509))
            else { return nil }
            return (start, end)
        }
    }

    /// Whether the signature on `certificate` is that of `issuer`, by name and by key.
    private static func isSigned(_ certificate: Certificate, by issuer: Certificate) -> Bool {
        defer { OpenSSLErrors.clear() }
        guard let child = try? certificate.decoded(), let parent = try? issuer.decoded(),
            let key = X509_get0_pubkey(parent.pointer), X509_check_issued(parent.pointer, child.pointer) == X509_V_OK
        else { return false }
        return X509_verify(child.pointer, key) == 1
    }

    /// The one certificate of a file of ours.
    private static func certificate(_ pem: Data, _ what: String) throws(CertsError) -> Certificate {
        guard pem.count <= 65536 else {
            throw CertsError(
                .certificateMalformed, "the authority's \(what) certificate has \(pem.count) bytes", hint: "restore it")
        }
        OpenSSLErrors.clear()
        let parsed = pem.withUnsafeBytes { bytes in
            try? MemoryBIO.reading(bytes) { PEM_read_bio_X509($0, nil, passphraseCallback, nil) }
        }
        let x509 = try OpenSSLObject(
            parsed ?? nil, X509_free, "the authority's \(what) certificate cannot be read", code: .certificateMalformed,
            hint: "restore it from a backup")
        return try Certificate(der: try encodeDER("a certificate") { i2d_X509(x509.pointer, $0) })
    }
}

extension AlternativeName {
    /// A DNS name or an IP address.
    fileprivate var isHost: Bool {
        switch self {
        case .dns, .ip: true
        case .email, .uri: false
        }
    }
}
