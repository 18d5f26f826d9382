internal import COpenSSL
package import CertsCore
package import Foundation

/// Everything that a certificate of ours says, before it is signed: the one place that builds certificates.
///
/// A template does what it is told, so that tests can build bad certificates with it; the rules for good ones are in
/// ``LocalAuthority`` and ``SelfSigned``. Version 3, unless extensions are all off.
package struct CertificateTemplate: Sendable {
    package var subject: Subject
    /// Canonical or not: validated and freed of duplicates at ``sign(publicKey:issuer:key:)``.
    package var names: [AlternativeName] = []
    /// Fractions of a second are dropped.
    package var notBefore: Date
    package var notAfter: Date
    /// Big-endian and positive; `nil`: 128 random bits.
    package var serial: [UInt8]?
    package var basicConstraints = BasicConstraints.endEntity
    package var keyUsage: KeyUsage
    /// Words of OpenSSL (`serverAuth`, `clientAuth`) or dotted OIDs, from constants only; empty: no extension.
    package var extendedKeyUsage: [String] = ["serverAuth"]
    package var nameConstraints: NameConstraintsTemplate?
    /// Subject and authority key identifiers.
    package var hasKeyIdentifiers = true
    package var extraExtensions: [RawExtension] = []
    /// `false` makes a version 1 certificate without any extension.
    package var hasExtensions = true

    package init(
        subject: Subject, names: [AlternativeName] = [], notBefore: Date, notAfter: Date,
        keyUsage: KeyUsage = .digitalSignature
    ) {
        self.subject = subject
        self.names = names
        self.notBefore = notBefore
        self.notAfter = notAfter
        self.keyUsage = keyUsage
    }

    package enum BasicConstraints: Sendable, Hashable {
        case absent
        case endEntity
        /// How many more CAs may follow; `nil`: any number.
        case authority(pathLength: Int?)
    }

    /// An extension given as DER.
    package struct RawExtension: Sendable, Hashable {
        /// Dotted.
        package var oid: String
        package var critical: Bool
        package var der: Data

        package init(oid: String, critical: Bool, der: Data) {
            self.oid = oid
            self.critical = critical
            self.der = der
        }
    }

    /// How far the start of a new certificate lies before the moment of its signature, in seconds.
    ///
    /// A client whose clock is a little behind would otherwise refuse a certificate that was deployed at once. The whole
    /// window is shifted: a certificate of 90 days has exactly 90 days, and ends a minute earlier.
    package static let backdating: TimeInterval = 60

    /// The window of a certificate that is issued at `now`: exactly `validity` long, beginning ``backdating`` before.
    package static func window(validity: TimeInterval, now: Date) -> (notBefore: Date, notAfter: Date) {
        let start = (now.timeIntervalSince1970 - backdating).rounded(.down)
        let notBefore = Date(timeIntervalSince1970: start)
        return (notBefore, notBefore.addingTimeInterval(validity.rounded(.down)))
    }

    /// Signs the template with `key`, as `issuer`, for the holder of `publicKey` (SubjectPublicKeyInfo, DER).
    ///
    /// - Parameter issuer: whose subject and key identifier go into the certificate; `nil`: the certificate's own.
    /// - Throws: `name.invalid`, `key.malformed` for a public key that cannot be read, `openssl`.
    package func sign(publicKey: Data, issuer: Certificate?, key: PrivateKey) throws(CertsError) -> Certificate {
        let names = try GeneralNames.validated(names)
        OpenSSLErrors.clear()
        let certificate = try OpenSSLObject(X509_new(), X509_free, "cannot make a certificate")
        let x509 = certificate.pointer
        let subject = try SubjectName.make(subject)
        try CertsError.check(X509_set_version(x509, hasExtensions ? 2 : 0), "cannot make a certificate")
        try setSerial(x509)
        try CertsError.check(X509_set_subject_name(x509, subject.pointer), "cannot set the subject")
        let namedIssuer = issuer?.withX509 { X509_set_issuer_name(x509, X509_get_subject_name($0)) }
        try CertsError.check(namedIssuer ?? X509_set_issuer_name(x509, subject.pointer), "cannot set the issuer")
        try EncodedTime.set(notBefore) { X509_set1_notBefore(x509, $0) }
        try EncodedTime.set(notAfter) { X509_set1_notAfter(x509, $0) }
        let holder = try OpenSSLObject(
            decodeDER(publicKey, release: EVP_PKEY_free) { d2i_PUBKEY(nil, $0, $1) }, EVP_PKEY_free,
            "this public key cannot be read", code: .keyMalformed)
        try CertsError.check(X509_set_pubkey(x509, holder.pointer), "cannot set the public key")
        if hasExtensions { try addExtensions(to: x509, names: names, issuer: issuer) }
        return try key.withKey { (pkey) throws(CertsError) in
            guard X509_sign(x509, pkey, key.digest) > 0 else { throw .openSSL(.openSSL, "cannot sign the certificate") }
            return try Certificate(der: try encodeDER("a certificate") { i2d_X509(x509, $0) })
        }
    }

    private func setSerial(_ x509: OpaquePointer) throws(CertsError) {
        let bytes = if let serial { serial } else { try SerialNumber.random() }
        let number = try OpenSSLObject(
            BN_bin2bn(bytes, Int32(clamping: bytes.count), nil), BN_free, "cannot make a serial number")
        guard let integer = BN_to_ASN1_INTEGER(number.pointer, nil) else {
            throw .openSSL(.openSSL, "cannot make a serial number")
        }
        defer { ASN1_INTEGER_free(integer) }
        try CertsError.check(X509_set_serialNumber(x509, integer), "cannot set the serial number")
    }

    private func addExtensions(
        to x509: OpaquePointer, names: [AlternativeName], issuer: Certificate?
    ) throws(CertsError) {
        let list = try ExtensionList()
        switch basicConstraints {
        case .absent: break
        case .endEntity: try list.add(.basicConstraints, critical: true, "CA:FALSE")
        case .authority(let length):
            try list.add(.basicConstraints, critical: true, "CA:TRUE" + (length.map { ",pathlen:\($0)" } ?? ""))
        }
        if !keyUsage.isEmpty { try list.add(.keyUsage, critical: true, keyUsage.names.joined(separator: ",")) }
        if !extendedKeyUsage.isEmpty {
            try list.add(.extendedKeyUsage, critical: false, extendedKeyUsage.joined(separator: ","))
        }
        if hasKeyIdentifiers {
            let own = try KeyIdentifier.of(x509)
            try KeyIdentifier.addSubject(own, to: list)
            try KeyIdentifier.addAuthority(issuer.map(KeyIdentifier.stated(by:)) ?? own, to: list)
        }
        if !names.isEmpty { try list.add(names: names, critical: subject.isEmpty) }
        if let nameConstraints, !nameConstraints.isEmpty { try nameConstraints.add(to: list) }
        for raw in extraExtensions { try list.add(raw) }
        try list.copyAll(to: x509)
    }
}

/// Serial numbers as RFC 5280 §4.1.2.2 and BR 7.1.2 want them.
enum SerialNumber {
    /// 128 bits of the DRBG: positive (the encoding gets a zero byte before a set top bit), never zero, at most 17 bytes.
    static func random() throws(CertsError) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: 16)
        repeat {
            guard RAND_bytes(&bytes, Int32(bytes.count)) == 1 else { throw .openSSL(.openSSL, "no random numbers") }
        } while bytes.allSatisfy { $0 == 0 }
        return bytes
    }
}

/// Key identifiers by RFC 7093 §2 method 1: the first 160 bits of the SHA-256 of the subjectPublicKey.
enum KeyIdentifier {
    static func of(_ x509: OpaquePointer) throws(CertsError) -> [UInt8] {
        guard let bits = X509_get0_pubkey_bitstr(x509) else { throw .openSSL(.openSSL, "the certificate has no key") }
        let bytes = UnsafeBufferPointer(
            start: ASN1_STRING_get0_data(bits), count: Int(max(0, ASN1_STRING_length(bits))))
        return Array(Digest.sha256.data(of: UnsafeRawBufferPointer(bytes)).prefix(20))
    }

    /// The subject key identifier in `certificate`; empty if it has none.
    static func stated(by certificate: Certificate) -> [UInt8] {
        certificate.withX509 { x509 in
            guard let identifier = X509_get0_subject_key_id(x509) else { return [] }
            let count = Int(max(0, ASN1_STRING_length(identifier)))
            return Array(UnsafeBufferPointer(start: ASN1_STRING_get0_data(identifier), count: count))
        }
    }

    static func addSubject(_ identifier: [UInt8], to list: borrowing ExtensionList) throws(CertsError) {
        guard let octets = ASN1_STRING_type_new(V_ASN1_OCTET_STRING) else { throw .openSSL(.openSSL, "no memory") }
        defer { ASN1_STRING_free(octets) }
        try CertsError.check(
            ASN1_STRING_set(octets, identifier, Int32(identifier.count)), "cannot set the key identifier")
        try list.add(NID_subject_key_identifier, critical: false, octets)
    }

    /// The keyIdentifier form only: issuer and serial would break cross-signing (BR 7.1.2.11.1).
    static func addAuthority(_ identifier: [UInt8], to list: borrowing ExtensionList) throws(CertsError) {
        if identifier.isEmpty { return }
        guard let authority = AUTHORITY_KEYID_new() else { throw .openSSL(.openSSL, "no memory") }
        defer { AUTHORITY_KEYID_free(authority) }
        guard let octets = ASN1_STRING_type_new(V_ASN1_OCTET_STRING) else { throw .openSSL(.openSSL, "no memory") }
        authority.pointee.keyid = octets
        try CertsError.check(
            ASN1_STRING_set(octets, identifier, Int32(identifier.count)), "cannot set the key identifier")
        try list.add(NID_authority_key_identifier, critical: false, authority)
    }
}
