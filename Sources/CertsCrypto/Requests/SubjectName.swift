internal import COpenSSL
import CertsCore
import Foundation

/// X.501 names: our ``Subject`` into OpenSSL's `X509_NAME`, and back.
enum SubjectName {
    /// One RDN for each attribute, in the order that ``Subject`` documents.
    ///
    /// - Throws: `name.invalid` for what RFC 5280 appendix A.1 does not allow.
    static func make(_ subject: Subject) throws(CertsError) -> OpenSSLObject {
        let name = try OpenSSLObject(X509_NAME_new(), X509_NAME_free, "cannot make a name")
        for attribute in attributes(subject) {
            guard let value = attribute.value else { continue }
            try validate(value, attribute)
            let bytes = Array(value.utf8)
            let type = attribute.nid == NID_countryName ? V_ASN1_PRINTABLESTRING : V_ASN1_UTF8STRING
            try CertsError.check(
                X509_NAME_add_entry_by_NID(name.pointer, attribute.nid, type, bytes, Int32(bytes.count), -1, 0),
                "cannot encode the \(attribute.label)")
        }
        return name
    }

    private struct Attribute {
        let nid: Int32
        let label: String
        /// The upper bound of RFC 5280 appendix A.1, in characters.
        let limit: Int
        let value: String?
    }

    private static func attributes(_ subject: Subject) -> [Attribute] {
        [
            Attribute(nid: NID_countryName, label: "country", limit: 2, value: subject.country),
            Attribute(nid: NID_stateOrProvinceName, label: "state", limit: 128, value: subject.state),
            Attribute(nid: NID_localityName, label: "locality", limit: 128, value: subject.locality),
            Attribute(nid: NID_organizationName, label: "organization", limit: 64, value: subject.organization),
            Attribute(
                nid: NID_organizationalUnitName, label: "organizational unit", limit: 64,
                value: subject.organizationalUnit),
            Attribute(nid: NID_commonName, label: "common name", limit: 64, value: subject.commonName),
        ]
    }

    private static func validate(_ value: String, _ attribute: Attribute) throws(CertsError) {
        func refuse(_ why: String, _ hint: String) -> CertsError {
            CertsError(.nameInvalid, "the \(attribute.label) '\(value)' \(why)", hint: hint)
        }
        if attribute.nid == NID_countryName {
            guard value.utf8.count == 2, value.utf8.allSatisfy({ (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains($0) })
            else { throw refuse("is not a country code", "write two capital letters of ISO 3166, like US") }
            return
        }
        let count = value.unicodeScalars.count
        guard count > 0 else { throw refuse("is empty", "leave it out instead") }
        guard count <= attribute.limit else {
            throw refuse(
                "has \(count) characters; \(attribute.limit) are allowed (RFC 5280)",
                attribute.nid == NID_commonName
                    ? "leave the common name out: the names that clients check are the alternative names" : "shorten it"
            )
        }
        guard !value.unicodeScalars.contains(where: { $0.value < 0x20 || (0x7f..<0xa0).contains($0.value) }) else {
            throw refuse("has a control character", "remove it")
        }
    }

    /// The attributes that ``Subject`` knows; where one occurs several times, the last.
    static func subject(_ name: OpaquePointer) -> Subject {
        Subject(
            commonName: last(NID_commonName, name), organization: last(NID_organizationName, name),
            organizationalUnit: last(NID_organizationalUnitName, name), locality: last(NID_localityName, name),
            state: last(NID_stateOrProvinceName, name), country: last(NID_countryName, name))
    }

    private static func last(_ nid: Int32, _ name: OpaquePointer) -> String? {
        var index: Int32 = -1
        var found: Int32 = -1
        while case let next = X509_NAME_get_index_by_NID(name, nid, index), next >= 0 {
            found = next
            index = next
        }
        guard found >= 0, let entry = X509_NAME_get_entry(name, found), let value = X509_NAME_ENTRY_get_data(entry)
        else { return nil }
        var bytes: UnsafeMutablePointer<UInt8>?
        let count = ASN1_STRING_to_UTF8(&bytes, value)
        guard count >= 0, let bytes else { return nil }
        defer { certs_OPENSSL_free(bytes) }
        return String(decoding: UnsafeBufferPointer(start: bytes, count: Int(count)), as: UTF8.self)
    }

    /// RFC 4514 text: `CN=messenger.example.com,O=SilentRelay,C=US`.
    static func text(_ name: OpaquePointer) throws(CertsError) -> String {
        var bytes: UnsafePointer<UInt8>?
        var count = 0
        guard X509_NAME_get0_der(name, &bytes, &count) == 1,
            let text = DistinguishedName.text(UnsafeBufferPointer(start: bytes, count: count))
        else { throw .openSSL(.openSSL, "cannot read a name") }
        return text.string
    }
}
