internal import COpenSSL
import CertsCore
import Foundation

/// Makes the record of a parsed certificate: one walk over its extensions, no decoding of the public key.
struct RecordDecoder {
    private var record = CertificateRecord()

    /// - Throws: `certificate.malformed` where a date is no date. What else does not decode is left empty, so that an
    ///   inventory shows a strange certificate instead of hiding it.
    static func record(of x509: OpaquePointer, der: UnsafeRawBufferPointer) throws(CertsError) -> CertificateRecord {
        var decoder = RecordDecoder()
        try decoder.readFields(x509)
        decoder.readKey(x509)
        if let extensions = X509_get0_extensions(x509) {
            for index in 0..<max(0, OPENSSL_sk_num(extensions)) {
                let raw = OPENSSL_sk_value(extensions, index).map { OpaquePointer($0) }
                if let value = ExtensionValue(raw) { decoder.read(value) }
            }
        }
        decoder.record.sha1 = Digest.sha1.hexadecimal(of: der)
        decoder.record.sha256 = Digest.sha256.hexadecimal(of: der)
        let subject = X509_get_subject_name(x509)
        let sameName = X509_NAME_cmp(subject, X509_get_issuer_name(x509)) == 0
        decoder.record.selfSigned = sameName
            && (decoder.record.authorityKeyID == nil || decoder.record.subjectKeyID == nil
                || decoder.record.authorityKeyID == decoder.record.subjectKeyID)
        return decoder.record
    }

    private mutating func readFields(_ x509: OpaquePointer) throws(CertsError) {
        let subject = DistinguishedName.text(X509_get_subject_name(x509))
        let issuer = DistinguishedName.text(X509_get_issuer_name(x509))
        record.subject = subject.string
        record.subjectCommonName = subject.commonName
        record.issuer = issuer.string
        record.issuerCommonName = issuer.commonName
        record.serial = ASN1.hexadecimal(X509_get0_serialNumber(x509))
        record.version = max(0, min(X509_get_version(x509), 1_000)) + 1
        guard let notBefore = ASN1Time.read(X509_get0_notBefore(x509)), let notAfter = ASN1Time.read(X509_get0_notAfter(x509))
        else {
            throw CertsError(
                .certificateMalformed, "the certificate with serial \(record.serial) has a validity that is no date",
                hint: "get a new certificate from its issuer")
        }
        record.notBefore = Date(timeIntervalSince1970: TimeInterval(notBefore.seconds))
        record.notAfter = Date(timeIntervalSince1970: TimeInterval(notAfter.seconds))
        let signature = X509_get_signature_nid(x509)
        if signature != NID_undef {
            record.signatureAlgorithm = ASN1.longName(signature)
        } else if let object = X509_get0_tbs_sigalg(x509)?.pointee.algorithm {
            record.signatureAlgorithm = ASN1.dotted(object)
        }
    }

    private mutating func readKey(_ x509: OpaquePointer) {
        guard let key = X509_get_X509_PUBKEY(x509) else { return }
        let shape = PublicKeyShape(key)
        record.keyAlgorithm = shape.name
        record.keyBits = shape.bits
        record.spkiSHA256 = SubjectPublicKey.withDER(of: key) { Digest.sha256.base64(of: $0) } ?? ""
    }

    private mutating func read(_ value: ExtensionValue) {
        switch value.nid {
        case NID_subject_alt_name:
            value.decoded(d2i_GENERAL_NAMES, GENERAL_NAMES_free) { readNames($0) }
        case NID_key_usage:
            value.decoded(d2i_ASN1_BIT_STRING, ASN1_BIT_STRING_free) { record.keyUsage = KeyUsage($0).names }
        case NID_ext_key_usage:
            value.decoded(d2i_EXTENDED_KEY_USAGE, EXTENDED_KEY_USAGE_free) { record.extendedKeyUsage = Self.purposes($0) }
        case NID_basic_constraints:
            value.decoded(d2i_BASIC_CONSTRAINTS, BASIC_CONSTRAINTS_free) {
                record.hasBasicConstraints = true
                record.isCA = $0.pointee.ca != 0
                record.pathLength = $0.pointee.pathlen.flatMap { Self.small($0) }
            }
        case NID_subject_key_identifier:
            value.decoded(d2i_ASN1_OCTET_STRING, ASN1_OCTET_STRING_free) { record.subjectKeyID = Hex.encode(ASN1.bytes($0)) }
        case NID_authority_key_identifier:
            value.decoded(d2i_AUTHORITY_KEYID, AUTHORITY_KEYID_free) {
                record.authorityKeyID = $0.pointee.keyid.map { Hex.encode(ASN1.bytes($0)) }
            }
        case NID_info_access:
            value.decoded(d2i_AUTHORITY_INFO_ACCESS, AUTHORITY_INFO_ACCESS_free) { readAccess($0) }
        case NID_crl_distribution_points:
            value.decoded(d2i_CRL_DIST_POINTS, CRL_DIST_POINTS_free) { readDistributionPoints($0) }
        case NID_tlsfeature:
            // TLSFeatures ::= SEQUENCE OF INTEGER (RFC 7633); 5 is status_request.
            value.decoded(d2i_ASN1_SEQUENCE_ANY, ASN1.freeSequence) { features in
                record.mustStaple = ASN1.elements(features).contains { element in
                    let type = element.assumingMemoryBound(to: ASN1_TYPE.self)
                    return type.pointee.type == V_ASN1_INTEGER && ASN1.bytes(type.pointee.value.integer).elementsEqual([5])
                }
            }
        default: break
        }
    }

    private mutating func readNames(_ names: OpaquePointer) {
        for element in ASN1.elements(names) {
            let name = element.assumingMemoryBound(to: GENERAL_NAME.self)
            switch name.pointee.type {
            case GEN_DNS: record.dnsNames.append(ASN1.text(name.pointee.d.dNSName))
            case GEN_EMAIL: record.emailAddresses.append(ASN1.text(name.pointee.d.rfc822Name))
            case GEN_URI: record.uris.append(ASN1.text(name.pointee.d.uniformResourceIdentifier))
            case GEN_IPADD:
                let bytes = Array(ASN1.bytes(name.pointee.d.iPAddress))
                record.ipAddresses.append(IPAddress(bytes: bytes)?.description ?? "#" + Hex.encode(bytes))
            default: break
            }
        }
    }

    private mutating func readAccess(_ descriptions: OpaquePointer) {
        for element in ASN1.elements(descriptions) {
            let access = element.assumingMemoryBound(to: ACCESS_DESCRIPTION.self)
            guard let location = access.pointee.location, location.pointee.type == GEN_URI else { continue }
            let url = ASN1.text(location.pointee.d.uniformResourceIdentifier)
            switch OBJ_obj2nid(access.pointee.method) {
            case NID_ad_ca_issuers: record.caIssuersURLs.append(url)
            case NID_ad_OCSP: record.ocspURLs.append(url)
            default: break
            }
        }
    }

    private mutating func readDistributionPoints(_ points: OpaquePointer) {
        for element in ASN1.elements(points) {
            let point = element.assumingMemoryBound(to: DIST_POINT.self)
            guard let name = point.pointee.distpoint, name.pointee.type == 0 else { continue }
            for element in ASN1.elements(name.pointee.name.fullname) {
                let location = element.assumingMemoryBound(to: GENERAL_NAME.self)
                guard location.pointee.type == GEN_URI else { continue }
                record.crlURLs.append(ASN1.text(location.pointee.d.uniformResourceIdentifier))
            }
        }
    }

    private static func purposes(_ usages: OpaquePointer) -> [String] {
        ASN1.elements(usages).map { element in
            let object = OpaquePointer(element)
            return ExtendedKeyUsage.name(OBJ_obj2nid(object)) ?? ASN1.dotted(object)
        }
    }

    private static func small(_ integer: UnsafeMutablePointer<asn1_string_st>) -> Int? {
        var value: Int64 = 0
        guard ASN1_INTEGER_get_int64(&value, integer) == 1 else {
            OpenSSLErrors.clear()
            return nil
        }
        return Int(exactly: value)
    }
}
