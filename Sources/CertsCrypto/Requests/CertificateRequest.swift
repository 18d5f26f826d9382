internal import COpenSSL
package import CertsCore
package import Foundation

/// A certification request, PKCS#10 (RFC 2986): made by us, or foreign and then parsed with its signature verified.
package struct CertificateRequest: Sendable, Hashable {
    package let der: Data
    /// The attributes that ``Subject`` knows. ``subjectText`` has all.
    package let subject: Subject
    /// The subject alternative names asked for: canonical, without duplicates, in their order.
    package let names: [AlternativeName]
    /// How many alternative names of other kinds (otherName, directoryName …) a foreign request has.
    package let foreignNameCount: Int
    /// SubjectPublicKeyInfo, DER.
    package let publicKeyDER: Data

    /// RFC 4514 text of the whole subject, as it stands in the request: sanitize before printing. Decoded at each call.
    package var subjectText: String {
        guard let request = decodeDER(der, release: X509_REQ_free, { d2i_X509_REQ(nil, $0, $1) }) else { return "" }
        defer { X509_REQ_free(request) }
        return X509_REQ_get_subject_name(request).flatMap { try? SubjectName.text($0) } ?? ""
    }
    /// One canonical block.
    package var pem: String { PEM.block("CERTIFICATE REQUEST", der) }
    /// base64 of the SHA-256 of the SubjectPublicKeyInfo (RFC 7469 pin).
    package var spkiSHA256: String { Digest.sha256.data(of: publicKeyDER).base64EncodedString() }

    /// The largest foreign request that is read.
    package static let maximumSize = 65536

    /// A request for a TLS server certificate: subject, alternative names, key usage, `serverAuth`.
    ///
    /// - Throws: `name.invalid` for a subject or name that a certificate cannot carry; `key.unsupported`.
    package static func make(
        subject: Subject, names: [AlternativeName], key: PrivateKey
    ) throws(CertsError) -> CertificateRequest {
        guard let algorithm = key.algorithm else {
            throw CertsError(
                .keyUnsupported, "no certificate is asked for with a key of type \(key.algorithmName)",
                hint: "use one of \(KeyAlgorithm.allCases.map(\.rawValue).joined(separator: ", "))")
        }
        let names = try GeneralNames.validated(names)
        OpenSSLErrors.clear()
        let request = try OpenSSLObject(X509_REQ_new(), X509_REQ_free, "cannot make a request")
        let name = try SubjectName.make(subject)
        try CertsError.check(X509_REQ_set_version(request.pointer, 0), "cannot make a request")
        try CertsError.check(X509_REQ_set_subject_name(request.pointer, name.pointer), "cannot set the subject")
        let extensions = try ExtensionList()
        if !names.isEmpty {
            try extensions.add(names: names, critical: subject.isEmpty)
        }
        try extensions.add(.keyUsage, critical: true, KeyUsage.server(algorithm).names.joined(separator: ","))
        try extensions.add(.extendedKeyUsage, critical: false, "serverAuth")
        try CertsError.check(X509_REQ_add_extensions(request.pointer, extensions.pointer), "cannot add the extensions")
        try key.withKey { (pkey) throws(CertsError) in
            try CertsError.check(X509_REQ_set_pubkey(request.pointer, pkey), "cannot set the public key")
            guard X509_REQ_sign(request.pointer, pkey, key.digest) > 0 else {
                throw .openSSL(.openSSL, "cannot sign the request")
            }
        }
        let der = try encodeDER("a request") { i2d_X509_REQ(request.pointer, $0) }
        return CertificateRequest(
            der: der, subject: subject, names: names,
            foreignNameCount: 0, publicKeyDER: try Self.publicKey(of: request.pointer))
    }

    private init(
        der: Data, subject: Subject, names: [AlternativeName], foreignNameCount: Int,
        publicKeyDER: Data
    ) {
        self.der = der
        self.subject = subject
        self.names = names
        self.foreignNameCount = foreignNameCount
        self.publicKeyDER = publicKeyDER
    }

    /// Parses a foreign request and verifies that it is signed with its own key (proof of possession).
    ///
    /// - Throws: `request.malformed`, also for bytes after its end.
    package init(der: Data) throws(CertsError) {
        try Self.checkSize(der)
        OpenSSLErrors.clear()
        let request = try OpenSSLObject(
            decodeDER(der, release: X509_REQ_free) { d2i_X509_REQ(nil, $0, $1) }, X509_REQ_free,
            "these bytes are not one PKCS#10 request", code: .requestMalformed, hint: "give a request in PEM or DER")
        try self.init(parsed: request.pointer, der: der)
    }

    /// As ``init(der:)``, from the first `CERTIFICATE REQUEST` block of a PEM text.
    package init(pem: Data) throws(CertsError) {
        try Self.checkSize(pem)
        OpenSSLErrors.clear()
        let parsed = pem.withUnsafeBytes { bytes in
            try? MemoryBIO.reading(bytes) { PEM_read_bio_X509_REQ($0, nil, passphraseCallback, nil) }
        }
        let request = try OpenSSLObject(
            parsed ?? nil, X509_REQ_free, "there is no PKCS#10 request in PEM here", code: .requestMalformed,
            hint: "give a file with a line '-----BEGIN CERTIFICATE REQUEST-----'")
        // Canonical: what is kept and passed on is re-encoded, not what was read.
        let der = try encodeDER("a request") { i2d_X509_REQ(request.pointer, $0) }
        try self.init(parsed: request.pointer, der: der)
    }

    private init(parsed request: OpaquePointer, der: Data) throws(CertsError) {
        guard let key = X509_REQ_get0_pubkey(request), X509_REQ_verify(request, key) == 1 else {
            throw .openSSL(
                .requestMalformed, "the request is not signed with its own key",
                hint: "make it again: it was changed after it was signed, or its key type is not supported")
        }
        guard let name = X509_REQ_get_subject_name(request) else {
            throw CertsError(.requestMalformed, "the request has no subject", hint: "make it again")
        }
        let (names, foreign) = try Self.alternativeNames(of: request)
        self.init(
            der: der, subject: SubjectName.subject(name),
            names: names,
            foreignNameCount: foreign, publicKeyDER: try Self.publicKey(of: request))
    }

    private static func checkSize(_ bytes: Data) throws(CertsError) {
        guard !bytes.isEmpty, bytes.count <= maximumSize else {
            throw CertsError(
                .requestMalformed,
                bytes.isEmpty
                    ? "the request is empty" : "the request has \(bytes.count) bytes; \(maximumSize) are allowed",
                hint: "give one PKCS#10 request")
        }
    }

    private static func publicKey(of request: OpaquePointer) throws(CertsError) -> Data {
        let key = X509_REQ_get_X509_PUBKEY(request)
        return try encodeDER("a public key") { i2d_X509_PUBKEY(key, $0) }
    }

    private static func alternativeNames(
        of request: OpaquePointer
    ) throws(CertsError) -> (names: [AlternativeName], foreign: Int) {
        guard let extensions = X509_REQ_get_extensions(request) else { return ([], 0) }
        defer { certs_sk_X509_EXTENSION_pop_free(extensions) }
        var status: Int32 = 0
        guard let list = X509V3_get_d2i(extensions, NID_subject_alt_name, &status, nil) else {
            // -1: there is none. -2: more than one. Otherwise it does not parse.
            guard status == -1 else {
                throw .openSSL(
                    .requestMalformed, "the alternative names of the request cannot be read", hint: "make it again")
            }
            return ([], 0)
        }
        defer { GENERAL_NAMES_free(OpaquePointer(list)) }
        return try GeneralNames.read(OpaquePointer(list))
    }
}
