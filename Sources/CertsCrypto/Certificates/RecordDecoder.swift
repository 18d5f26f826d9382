internal import COpenSSL
import CertsCore
import Foundation

/// Makes the record of a certificate: one walk over its extensions, no decoding of the public key.
struct RecordDecoder {
    private(set) var record = CertificateRecord()
    /// The SubjectPublicKeyInfo as it is encoded.
    private(set) var publicKey: Data?

    /// - Parameter keepsPublicKey: whether ``publicKey`` is wanted; an inventory does without the copy.
    /// - Throws: `certificate.malformed` if it does not decode as a certificate with names and dates. What else does not
    ///   decode is left empty, so that an inventory shows a strange certificate instead of hiding it.
    init(_ der: UnsafeRawBufferPointer, keepsPublicKey: Bool) throws(CertsError) {
        OpenSSLErrors.clear()
        var failure: CertsError?
        let decoded: Void? = ASN1.decoded(der.bindMemory(to: UInt8.self), certs_d2i_CERTIFICATE, certs_CERTIFICATE_free)
        {
            let part = $0.pointee.part
            do throws(CertsError) {
                try readFields($0.pointee, part)
            } catch {
                failure = error
            }
            readKey(part, keeps: keepsPublicKey)
            for index in 0..<max(0, OPENSSL_sk_num(part.extensions)) {
                let raw = OPENSSL_sk_value(part.extensions, index).map { OpaquePointer($0) }
                if let value = ExtensionValue(raw) { read(value) }
            }
        }
        if let failure { throw failure }
        guard decoded != nil else {
            throw CertsError(
                .certificateMalformed, "these bytes are not one X.509 certificate",
                hint: "give a certificate in PEM or DER")
        }
        record.sha1 = Digest.sha1.hexadecimal(of: der)
        record.sha256 = Digest.sha256.hexadecimal(of: der)
        let contradicts =
            record.authorityKeyID != nil && record.subjectKeyID != nil && record.authorityKeyID != record.subjectKeyID
        record.selfSigned = record.subject == record.issuer && !contradicts
    }

    private mutating func readFields(_ certificate: CERTS_CERTIFICATE, _ part: CERTS_SIGNED_PART) throws(CertsError) {
        record.serial = withUnsafePointer(to: part.serial) { ASN1.hexadecimal($0) }
        guard let subject = DistinguishedName.text(ASN1.bytes(part.subject)),
            let issuer = DistinguishedName.sharedText(ASN1.bytes(part.issuer))
        else {
            throw CertsError(
                .certificateMalformed,
                "the certificate with serial \(record.serial) has a subject or issuer that is no name",
                hint: "get a new certificate from its issuer")
        }
        record.subject = subject.string
        record.subjectCommonName = subject.commonName
        record.issuer = issuer.string
        record.issuerCommonName = issuer.commonName
        record.version = (part.version.flatMap { Self.small($0) } ?? 0).clamped(to: 0...1_000) + 1
        guard let notBefore = withUnsafePointer(to: part.validity.notBefore, { ASN1Time.read($0) }),
            let notAfter = withUnsafePointer(to: part.validity.notAfter, { ASN1Time.read($0) })
        else {
            throw CertsError(
                .certificateMalformed, "the certificate with serial \(record.serial) has a validity that is no date",
                hint: "get a new certificate from its issuer")
        }
        record.notBefore = Date(timeIntervalSince1970: TimeInterval(notBefore.seconds))
        record.notAfter = Date(timeIntervalSince1970: TimeInterval(notAfter.seconds))
        if let object = certificate.algorithm.algorithm {
            let nid = OBJ_obj2nid(object)
            record.signatureAlgorithm = nid == NID_undef ? ASN1.dotted(object) : ASN1.longName(nid)
        }
    }

    private mutating func readKey(_ part: CERTS_SIGNED_PART, keeps: Bool) {
        let bytes = ASN1.bytes(part.key)
        let shape = PublicKeyShape(bytes)
        record.keyAlgorithm = shape.name
        record.keyBits = shape.bits
        record.spkiSHA256 = Digest.sha256.base64(of: UnsafeRawBufferPointer(bytes))
        if keeps { publicKey = Data(bytes) }
    }

    private mutating func read(_ value: ExtensionValue) {
        switch value.nid {
        case NID_subject_alt_name:
            value.decoded(d2i_GENERAL_NAMES, GENERAL_NAMES_free) { readNames($0) }
        case NID_key_usage:
            value.decoded(d2i_ASN1_BIT_STRING, ASN1_BIT_STRING_free) { record.keyUsage = KeyUsage($0).names }
        case NID_ext_key_usage:
            value.decoded(d2i_EXTENDED_KEY_USAGE, EXTENDED_KEY_USAGE_free) {
                record.extendedKeyUsage = Self.purposes($0)
            }
        case NID_basic_constraints:
            value.decoded(d2i_BASIC_CONSTRAINTS, BASIC_CONSTRAINTS_free) {
                record.hasBasicConstraints = true
                record.isCA = $0.pointee.ca != 0
                record.pathLength = $0.pointee.pathlen.flatMap { Self.small($0) }
            }
        case NID_subject_key_identifier:
            value.decoded(d2i_ASN1_OCTET_STRING, ASN1_OCTET_STRING_free) {
                record.subjectKeyID = ASN1.hexadecimal(ASN1.bytes($0))
            }
        case NID_authority_key_identifier:
            value.decoded(d2i_AUTHORITY_KEYID, AUTHORITY_KEYID_free) {
                record.authorityKeyID = $0.pointee.keyid.map { ASN1.hexadecimal(ASN1.bytes($0)) }
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
                    return type.pointee.type == V_ASN1_INTEGER
                        && ASN1.bytes(type.pointee.value.integer).elementsEqual([5])
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

extension Int {
    fileprivate func clamped(to range: ClosedRange<Int>) -> Int {
        Swift.min(Swift.max(self, range.lowerBound), range.upperBound)
    }
}
