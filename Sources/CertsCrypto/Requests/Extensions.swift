internal import COpenSSL
import CertsCore
import Foundation

/// The extensions that are written with OpenSSL's own syntax, from constants only.
enum ExtensionKind {
    case basicConstraints, keyUsage, extendedKeyUsage

    var nid: Int32 {
        switch self {
        case .basicConstraints: NID_basic_constraints
        case .keyUsage: NID_key_usage
        case .extendedKeyUsage: NID_ext_key_usage
        }
    }
}

/// A list of extensions under construction, with a single owner.
struct ExtensionList: ~Copyable {
    /// `STACK_OF(X509_EXTENSION) *`.
    let pointer: OpaquePointer

    init() throws(CertsError) {
        guard let stack = certs_sk_X509_EXTENSION_new_null() else { throw .openSSL(.openSSL, "cannot make extensions") }
        pointer = stack
    }

    deinit { certs_sk_X509_EXTENSION_pop_free(pointer) }

    /// Adds an extension from OpenSSL's syntax. Never with text from outside: a comma in it would be syntax.
    func add(_ kind: ExtensionKind, critical: Bool, _ words: String) throws(CertsError) {
        let made = X509V3_EXT_nconf_nid(nil, nil, kind.nid, (critical ? "critical," : "") + words)
        try push(made, "cannot make the extension \(kind) from '\(words)'")
    }

    /// Adds a subjectAltName. `names` must be validated.
    func add(names: [AlternativeName], critical: Bool) throws(CertsError) {
        let list = try GeneralNames.make(names)
        try add(NID_subject_alt_name, critical: critical, UnsafeMutableRawPointer(list.pointer))
    }

    /// Adds an extension from OpenSSL's structure for `nid`, which is encoded, not kept.
    func add(_ nid: Int32, critical: Bool, _ value: UnsafeMutableRawPointer) throws(CertsError) {
        try push(X509V3_EXT_i2d(nid, critical ? 1 : 0, value), "cannot encode an extension")
    }

    /// Adds an extension whose value is already DER.
    func add(_ raw: CertificateTemplate.RawExtension) throws(CertsError) {
        let object = try OpenSSLObject(
            OBJ_txt2obj(raw.oid, 1), ASN1_OBJECT_free, "'\(raw.oid)' is not an object identifier")
        guard let value = ASN1_STRING_type_new(V_ASN1_OCTET_STRING) else {
            throw .openSSL(.openSSL, "cannot make extensions")
        }
        defer { ASN1_STRING_free(value) }
        try CertsError.check(
            ASN1_STRING_set(value, Array(raw.der), Int32(clamping: raw.der.count)), "cannot make extensions")
        try push(
            X509_EXTENSION_create_by_OBJ(nil, object.pointer, raw.critical ? 1 : 0, value), "cannot make an extension")
    }

    /// Copies all extensions into a certificate.
    func copyAll(to x509: OpaquePointer) throws(CertsError) {
        for index in 0..<max(0, X509v3_get_ext_count(pointer)) {
            try CertsError.check(X509_add_ext(x509, X509v3_get_ext(pointer, index), -1), "cannot add an extension")
        }
    }

    private func push(_ made: OpaquePointer?, _ what: @autoclosure () -> String) throws(CertsError) {
        guard let made else { throw .openSSL(.openSSL, what()) }
        guard certs_sk_X509_EXTENSION_push(pointer, made) > 0 else {
            X509_EXTENSION_free(made)
            throw .openSSL(.openSSL, what())
        }
    }
}
