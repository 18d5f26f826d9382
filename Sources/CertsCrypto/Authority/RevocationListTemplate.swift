internal import COpenSSL
import CertsCore
import Foundation

/// Certificate revocation lists, version 2 (RFC 5280 §5).
enum RevocationListTemplate {
    /// The DER of a list that `issuer` signs with `key`.
    static func make(
        revoked: [(serial: String, at: Date, reason: Int)], number: Int, now: Date, nextUpdate: Date,
        issuer: Certificate, key: PrivateKey
    ) throws(CertsError) -> Data {
        guard number >= 0, nextUpdate > now else {
            throw CertsError(.certificateRejected, "a CRL needs a number from 0 on and a next update after this one")
        }
        OpenSSLErrors.clear()
        let list = try OpenSSLObject(X509_CRL_new(), X509_CRL_free, "cannot make a CRL")
        let crl = list.pointer
        try CertsError.check(X509_CRL_set_version(crl, 1), "cannot make a CRL")
        let named = issuer.withX509 { X509_CRL_set_issuer_name(crl, X509_get_subject_name($0)) }
        try CertsError.check(named, "cannot set the issuer of a CRL")
        try EncodedTime.set(now) { X509_CRL_set1_lastUpdate(crl, $0) }
        try EncodedTime.set(nextUpdate) { X509_CRL_set1_nextUpdate(crl, $0) }
        for entry in revoked { try add(entry, to: crl) }
        X509_CRL_sort(crl)
        try addExtensions(to: crl, number: number, issuer: issuer)
        return try key.withKey { (pkey) throws(CertsError) in
            guard X509_CRL_sign(crl, pkey, key.digest) > 0 else { throw .openSSL(.openSSL, "cannot sign a CRL") }
            return try encodeDER("a CRL") { i2d_X509_CRL(crl, $0) }
        }
    }

    private static func add(
        _ entry: (serial: String, at: Date, reason: Int), to crl: OpaquePointer
    ) throws(CertsError) {
        guard let bytes = Hex.decode(entry.serial.count.isMultiple(of: 2) ? entry.serial : "0" + entry.serial),
            !bytes.isEmpty, bytes.count <= 20
        else {
            throw CertsError(
                .certificateRejected, "'\(entry.serial)' is not a serial number", hint: "write it in hexadecimal")
        }
        // 7 is not used, 8 belongs into delta CRLs only (RFC 5280 §5.3.1).
        guard (0...6).contains(entry.reason) || entry.reason == 9 || entry.reason == 10 else {
            throw CertsError(
                .certificateRejected, "\(entry.reason) is not a reason of revocation", hint: "use 0 to 6, 9 or 10")
        }
        let revoked = try OpenSSLObject(X509_REVOKED_new(), X509_REVOKED_free, "cannot make a CRL entry")
        let number = try OpenSSLObject(
            BN_bin2bn(bytes, Int32(bytes.count), nil), BN_free, "cannot make a serial number")
        guard let serial = BN_to_ASN1_INTEGER(number.pointer, nil) else {
            throw .openSSL(.openSSL, "cannot make a serial number")
        }
        defer { ASN1_INTEGER_free(serial) }
        try CertsError.check(X509_REVOKED_set_serialNumber(revoked.pointer, serial), "cannot make a CRL entry")
        try EncodedTime.set(entry.at) {
            X509_REVOKED_set_revocationDate(revoked.pointer, UnsafeMutablePointer(mutating: $0))
        }
        // "Unspecified" is said by the absence of the extension (RFC 5280 §5.3.1).
        if entry.reason != 0 {
            guard let reason = ASN1_STRING_type_new(V_ASN1_ENUMERATED) else { throw .openSSL(.openSSL, "no memory") }
            defer { ASN1_STRING_free(reason) }
            try CertsError.check(ASN1_ENUMERATED_set(reason, entry.reason), "cannot make a CRL entry")
            try CertsError.check(
                X509_REVOKED_add1_ext_i2d(revoked.pointer, NID_crl_reason, reason, 0, 0), "cannot make a CRL entry")
        }
        guard let copy = X509_REVOKED_dup(revoked.pointer) else { throw .openSSL(.openSSL, "no memory") }
        guard X509_CRL_add0_revoked(crl, copy) == 1 else {
            X509_REVOKED_free(copy)
            throw .openSSL(.openSSL, "cannot add a CRL entry")
        }
    }

    private static func addExtensions(to crl: OpaquePointer, number: Int, issuer: Certificate) throws(CertsError) {
        guard let integer = ASN1_STRING_type_new(V_ASN1_INTEGER) else { throw .openSSL(.openSSL, "no memory") }
        defer { ASN1_STRING_free(integer) }
        try CertsError.check(ASN1_INTEGER_set_int64(integer, Int64(number)), "cannot set the number of a CRL")
        try CertsError.check(
            X509_CRL_add1_ext_i2d(crl, NID_crl_number, integer, 0, 0), "cannot set the number of a CRL")
        let identifier = KeyIdentifier.stated(by: issuer)
        guard !identifier.isEmpty, let authority = AUTHORITY_KEYID_new() else { return }
        defer { AUTHORITY_KEYID_free(authority) }
        authority.pointee.keyid = ASN1_STRING_type_new(V_ASN1_OCTET_STRING)
        try CertsError.check(
            ASN1_STRING_set(authority.pointee.keyid, identifier, Int32(identifier.count)),
            "cannot set the key identifier")
        try CertsError.check(
            X509_CRL_add1_ext_i2d(crl, NID_authority_key_identifier, authority, 0, 0), "cannot set the key identifier")
    }
}
