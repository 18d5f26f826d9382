internal import COpenSSL
import CertsCore
import Foundation

/// A decoded answer of a responder (RFC 6960 §4.2). Nothing that it says is to be believed before ``verify(issuer:now:)``.
struct OCSPResponse: ~Copyable {
    private let basic: OpenSSLObject

    /// What it says about one certificate.
    struct Answer {
        let status: OCSPStaple.Status
        let thisUpdate: Date
        let nextUpdate: Date?
        /// No other certificate is spoken of.
        let isOnlyOne: Bool
        /// The certificate is named by a SHA-1 identifier.
        let isSHA1: Bool
    }

    init(der: Data) throws(CertsError) { basic = try Self.decode(der) }

    private static func decode(_ der: Data) throws(CertsError) -> OpenSSLObject {
        OpenSSLErrors.clear()
        let response = try OpenSSLObject(
            decodeDER(der, release: OCSP_RESPONSE_free) { d2i_OCSP_RESPONSE(nil, $0, $1) }, OCSP_RESPONSE_free,
            "this is not an OCSP response", code: .stapleRefused, hint: addressHint)
        let status = OCSP_response_status(response.pointer)
        guard status == OCSP_RESPONSE_STATUS_SUCCESSFUL else { throw failure(status) }
        let basic = try OpenSSLObject(
            OCSP_response_get1_basic(response.pointer), OCSP_BASICRESP_free, "this is not a basic OCSP response",
            code: .stapleRefused, hint: addressHint)
        // The signature is computed over what was decoded, not over the bytes: different bytes that decode to the same
        // would verify too. So only the one DER encoding is taken.
        let again = try OpenSSLObject(
            OCSP_response_create(OCSP_RESPONSE_STATUS_SUCCESSFUL, basic.pointer), OCSP_RESPONSE_free,
            "cannot encode an OCSP response")
        guard try encodeDER("an OCSP response", { i2d_OCSP_RESPONSE(again.pointer, $0) }) == der else {
            throw .refusedStaple("it is not encoded in DER", hint: addressHint)
        }
        return basic
    }

    private static let addressHint = "check what answers at the address of the responder"

    /// An answer that is only an error (RFC 6960 §4.2.2.3) and is not signed.
    private static func failure(_ status: Int32) -> CertsError {
        let name = OCSP_response_status_str(Int(status)).map { String(cString: $0) } ?? "status \(status)"
        let why = "the responder answers '\(name)'"
        switch status {
        case OCSP_RESPONSE_STATUS_INTERNALERROR, OCSP_RESPONSE_STATUS_TRYLATER:
            return .refusedStaple(why, hint: "it is tried again later")
        case OCSP_RESPONSE_STATUS_UNAUTHORIZED:
            return .refusedStaple(
                why, hint: "it does not know this certificate, or not yet; ask its issuer if this stays")
        default:
            return .refusedStaple(why, hint: "ask the issuer of the certificate for its responder", retry: .never)
        }
    }

    // MARK: - Signature

    /// Whether `issuer`, or a responder that it has authorised, signed this and may do so at `now`.
    func verify(issuer: Certificate, now: Date) throws(CertsError) {
        OpenSSLErrors.clear()
        defer { OpenSSLErrors.clear() }
        let anchor = try issuer.decoded()
        let store = try OpenSSLObject(X509_STORE_new(), X509_STORE_free, "cannot verify an OCSP response")
        try CertsError.check(
            X509_STORE_add_cert(store.pointer, anchor.pointer), "cannot verify an OCSP response")
        X509_VERIFY_PARAM_set_time(
            X509_STORE_get0_param(store.pointer), time_t(exactly: now.timeIntervalSince1970.rounded(.down)) ?? 0)
        // Where the response brings no certificate, its signer is looked for here. The elements stay ours.
        let known = try OpenSSLObject(
            certs_sk_X509_new_null(), certs_sk_X509_free, "cannot verify an OCSP response")
        guard certs_sk_X509_push(known.pointer, anchor.pointer) > 0 else { throw .openSSL(.openSSL, "no memory") }
        // PARTIAL_CHAIN: the issuer is the anchor, although it is seldom a root. NOEXPLICIT: no signer by a mark in a
        // trust store.
        let flags = UInt(OCSP_PARTIAL_CHAIN | OCSP_NOEXPLICIT)
        guard OCSP_basic_verify(basic.pointer, known.pointer, store.pointer, flags) == 1 else {
            throw .refusedStaple(
                "its signature is not one of the issuer or of a responder that the issuer authorised "
                    + "(\(OpenSSLErrors.drain()))",
                hint: "check that the responder belongs to the issuer of this certificate")
        }
    }

    // MARK: - Content

    /// What the response says about `leaf`.
    func answer(about leaf: Certificate, issuer: Certificate) throws(CertsError) -> Answer {
        OpenSSLErrors.clear()
        defer { OpenSSLErrors.clear() }
        let count = OCSP_resp_count(basic.pointer)
        var found: Answer?
        for index in 0..<max(0, count) {
            guard let single = OCSP_resp_get0(basic.pointer, index),
                let digest = try Self.digest(ifAbout: leaf, issuer: issuer, single)
            else { continue }
            guard found == nil else {
                throw .refusedStaple("it speaks twice of the same certificate", hint: Self.addressHint)
            }
            found = try Self.read(single, isOnlyOne: count == 1, isSHA1: digest == NID_sha1)
        }
        guard let found else {
            throw .refusedStaple(
                "it is about another certificate", hint: "check that the responder belongs to the issuer", retry: .later
            )
        }
        return found
    }

    /// The NID of the digest by which `single` names `leaf`; `nil` if it names another certificate.
    private static func digest(
        ifAbout leaf: Certificate, issuer: Certificate, _ single: OpaquePointer
    ) throws(CertsError) -> Int32? {
        guard let named = OCSP_SINGLERESP_get0_id(single) else { return nil }
        var algorithm: OpaquePointer?
        guard OCSP_id_get0_info(nil, &algorithm, nil, nil, named) == 1 else {
            return nil
        }
        let nid = OBJ_obj2nid(algorithm)
        let digest: OpaquePointer
        switch nid {
        case NID_sha1: digest = EVP_sha1()
        case NID_sha256: digest = EVP_sha256()
        case NID_sha384: digest = EVP_sha384()
        case NID_sha512: digest = EVP_sha512()
        default: return nil
        }
        let ours = try CertificateIdentifier(leaf: leaf, issuer: issuer, digest: digest)
        return OCSP_id_cmp(ours.pointer, named) == 0 ? nid : nil
    }

    private static func read(_ single: OpaquePointer, isOnlyOne: Bool, isSHA1: Bool) throws(CertsError) -> Answer {
        typealias Time = UnsafeMutablePointer<asn1_string_st>
        var (revokedAt, thisUpdate, nextUpdate): (Time?, Time?, Time?)
        var reason: Int32 = -1
        let code = OCSP_single_get0_status(single, &reason, &revokedAt, &thisUpdate, &nextUpdate)
        func date(_ time: Time) throws(CertsError) -> Date {
            guard let reading = ASN1Time.read(time) else {
                throw .refusedStaple("one of its times is none", hint: addressHint)
            }
            return Date(timeIntervalSince1970: TimeInterval(reading.seconds))
        }
        guard let thisUpdate else { throw .refusedStaple("it has no date", hint: addressHint) }
        let status: OCSPStaple.Status
        switch (code, revokedAt) {
        case (V_OCSP_CERTSTATUS_GOOD, _): status = .good
        case (V_OCSP_CERTSTATUS_REVOKED, let time?):
            let name = reason < 0 ? nil : OCSP_crl_reason_str(Int(reason)).map { String(cString: $0) }
            status = .revoked(at: try date(time), reason: name)
        case (V_OCSP_CERTSTATUS_UNKNOWN, _): status = .unknown
        default: throw .refusedStaple("it has no status", hint: addressHint)
        }
        return Answer(
            status: status, thisUpdate: try date(thisUpdate), nextUpdate: try nextUpdate.map(date),
            isOnlyOne: isOnlyOne, isSHA1: isSHA1)
    }
}
