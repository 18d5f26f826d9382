internal import COpenSSL
import CertsCore
import Foundation

/// What path validation looks at in one certificate, read once.
final class PathCertificate: Sendable {
    struct Constraints: Hashable, Sendable {
        let isCA: Bool
        /// `nil` for none; negative and huge numbers are ``Int/min`` and ``Int/max``.
        let pathLength: Int?
        let isCritical: Bool
    }

    struct AuthorityKey: Hashable, Sendable {
        let keyID: [UInt8]?
        let hasIssuer: Bool
        let hasSerial: Bool
        /// The first directory name of authorityCertIssuer, with the serial as ``PathCertificate/serial``.
        let issuer: CanonicalName?
        let serial: String?
    }

    let certificate: Certificate
    let subject: CanonicalName
    let issuer: CanonicalName
    let serial: String
    let key: PublicKeyShape
    let notBefore: ASN1Time.Reading?
    let notAfter: ASN1Time.Reading?
    let extensions: Extensions
    /// The SubjectPublicKeyInfo in DER.
    let publicKey: Data

    struct Extensions: Sendable {
        var constraints: Constraints?
        var keyUsage: KeyUsage?
        /// Names of known usages, dotted OIDs of others.
        var purposes: [String]?
        var purposesAreCritical = false
        var names: [GeneralName]?
        var namesAreCritical = false
        var nameConstraints: NameConstraints?
        var subjectKeyID: [UInt8]?
        var authorityKey: AuthorityKey?
        var hasPolicyLimits = false
        /// Names of extensions that are critical and that nothing here processes.
        var unprocessed: [String] = []
        var duplicates: [String] = []
        var malformed: [String] = []
        /// Extensions whose criticality is not what RFC 5280 demands, with what it demands.
        var wrongCriticality: [String] = []
    }

    var isSelfIssued: Bool { subject == issuer }
    /// The subject, for messages.
    var description: String {
        let subject = certificate.record.subject
        return TerminalText.sanitized(subject.isEmpty ? "a certificate without subject" : subject, limit: 160)
    }
    var version: Int { certificate.record.version }

    init(_ certificate: Certificate) {
        self.certificate = certificate
        (subject, issuer, extensions, notBefore, notAfter) = certificate.withX509 { x509 in
            (
                CanonicalName(X509_get_subject_name(x509)), CanonicalName(X509_get_issuer_name(x509)),
                Extensions(x509),
                ASN1Time.read(X509_get0_notBefore(x509)), ASN1Time.read(X509_get0_notAfter(x509))
            )
        }
        serial = certificate.record.serial
        publicKey = certificate.publicKeyDER
        key = publicKey.withUnsafeBytes { PublicKeyShape($0.bindMemory(to: UInt8.self)) }
    }

    /// Whether `self` was signed with the key of `issuer`; expensive.
    func isSigned(by issuer: PathCertificate) -> Bool {
        OpenSSLErrors.clear()
        defer { OpenSSLErrors.clear() }
        return certificate.withX509 { child in
            issuer.certificate.withX509 { parent in
                guard let key = X509_get0_pubkey(parent) else { return false }
                return X509_verify(child, key) == 1
            }
        }
    }
}

extension PathCertificate.Extensions {
    init(_ x509: OpaquePointer) {
        guard let stack = X509_get0_extensions(x509) else { return }
        var seen: Set<[UInt8]> = []
        for element in ASN1.elements(stack) {
            guard let value = ExtensionValue(OpaquePointer(element)) else {
                malformed.append("an extension")
                continue
            }
            let oid = Array(UnsafeBufferPointer(start: OBJ_get0_data(value.object), count: OBJ_length(value.object)))
            let name = value.nid == NID_undef ? ASN1.dotted(value.object) : ASN1.shortName(value.nid)
            guard seen.insert(oid).inserted else {
                duplicates.append(name)
                continue
            }
            if !read(value, name: name) { malformed.append(name) }
        }
    }

    /// - Returns: whether the value decodes.
    private mutating func read(_ value: ExtensionValue, name: String) -> Bool {
        switch value.nid {
        case NID_basic_constraints, NID_key_usage, NID_ext_key_usage, NID_subject_alt_name, NID_name_constraints:
            return readProcessed(value)
        case NID_subject_key_identifier:
            if value.critical { wrongCriticality.append("\(name) must not be critical") }
            return value.decoded(d2i_ASN1_OCTET_STRING, ASN1_OCTET_STRING_free) { subjectKeyID = Array(ASN1.bytes($0)) }
                != nil
        case NID_authority_key_identifier:
            if value.critical { wrongCriticality.append("\(name) must not be critical") }
            return value.decoded(d2i_AUTHORITY_KEYID, AUTHORITY_KEYID_free) { authorityKey = .init($0.pointee) } != nil
        case NID_info_access:
            if value.critical { wrongCriticality.append("\(name) must not be critical") }
            // RFC 5280 §4.2.2.1: one access description at least.
            return value.decoded(d2i_AUTHORITY_INFO_ACCESS, AUTHORITY_INFO_ACCESS_free) { OPENSSL_sk_num($0) > 0 }
                == true
        case NID_crl_distribution_points:
            if value.critical { unprocessed.append(name) }
            return value.decoded(d2i_CRL_DIST_POINTS, CRL_DIST_POINTS_free) { OPENSSL_sk_num($0) > 0 } == true
        case NID_certificate_policies:
            return value.decoded(d2i_CERTIFICATEPOLICIES, CERTIFICATEPOLICIES_free) { OPENSSL_sk_num($0) > 0 } == true
        case NID_policy_constraints, NID_inhibit_any_policy:
            hasPolicyLimits = true
            // RFC 5280 §4.2.1.11, §4.2.1.14.
            if !value.critical { wrongCriticality.append("\(name) must be critical") }
            return true
        case NID_policy_mappings:
            hasPolicyLimits = true
            return true
        default:
            if value.critical { unprocessed.append(name) }
            return true
        }
    }

    private mutating func readProcessed(_ value: ExtensionValue) -> Bool {
        switch value.nid {
        case NID_basic_constraints:
            return value.decoded(d2i_BASIC_CONSTRAINTS, BASIC_CONSTRAINTS_free) {
                constraints = .init($0.pointee, isCritical: value.critical)
            } != nil
        case NID_key_usage:
            return value.decoded(d2i_ASN1_BIT_STRING, ASN1_BIT_STRING_free) { keyUsage = KeyUsage($0) } != nil
        case NID_ext_key_usage:
            purposesAreCritical = value.critical
            return value.decoded(d2i_EXTENDED_KEY_USAGE, EXTENDED_KEY_USAGE_free) { usages in
                purposes = ASN1.elements(usages).map { element in
                    let object = OpaquePointer(element)
                    return ExtendedKeyUsage.name(OBJ_obj2nid(object)) ?? ASN1.dotted(object)
                }
            } != nil
        case NID_subject_alt_name:
            namesAreCritical = value.critical
            return value.decoded(d2i_GENERAL_NAMES, GENERAL_NAMES_free) { names = GeneralName.all($0) } != nil
        default:
            return value.decoded(certs_d2i_NAME_CONSTRAINTS, NAME_CONSTRAINTS_free) {
                nameConstraints = NameConstraints($0)
            } != nil
        }
    }
}

extension PathCertificate.Constraints {
    fileprivate init(_ constraints: BASIC_CONSTRAINTS, isCritical: Bool) {
        isCA = constraints.ca != 0
        self.isCritical = isCritical
        pathLength = constraints.pathlen.map { length in
            if length.pointee.type == V_ASN1_NEG_INTEGER { return Int.min }
            var value: Int64 = 0
            guard ASN1_INTEGER_get_int64(&value, length) == 1 else {
                OpenSSLErrors.clear()
                return Int.max
            }
            return Int(value)
        }
    }
}

extension PathCertificate.AuthorityKey {
    fileprivate init(_ identifier: AUTHORITY_KEYID) {
        keyID = identifier.keyid.map { Array(ASN1.bytes($0)) }
        hasIssuer = identifier.issuer != nil
        hasSerial = identifier.serial != nil
        serial = identifier.serial.map { ASN1.hexadecimal($0) }
        issuer = identifier.issuer.flatMap { names in
            for case .directory(let name) in GeneralName.all(names) { return name }
            return nil
        }
    }
}
