internal import COpenSSL
import CertsCore
import Foundation

/// `GeneralNames` (RFC 5280 §4.2.1.6): our ``AlternativeName`` into OpenSSL's structures, and back.
enum GeneralNames {
    /// `names` in their order without duplicates, each checked.
    ///
    /// - Throws: `name.invalid`.
    static func validated(_ names: [AlternativeName]) throws(CertsError) -> [AlternativeName] {
        var seen: Set<AlternativeName> = []
        var result: [AlternativeName] = []
        for name in names {
            let canonical = try validated(name)
            if seen.insert(canonical).inserted { result.append(canonical) }
        }
        return result
    }

    private static func validated(_ name: AlternativeName) throws(CertsError) -> AlternativeName {
        switch name {
        case .dns(let text):
            return .dns(try DNSName.canonical(text))
        case .ip:
            return name
        case .email(let text):
            let parts = text.split(separator: "@", omittingEmptySubsequences: false)
            guard isPrintableASCII(text), text.utf8.count <= 320, parts.count == 2, !parts[0].isEmpty, !parts[1].isEmpty
            else {
                throw CertsError(
                    .nameInvalid, "'\(text)' is not an e-mail address", hint: "write it like ops@example.com")
            }
            return name
        case .uri(let text):
            // RFC 5280: absolute, with a scheme and something after it.
            guard isPrintableASCII(text), text.utf8.count <= 2048, let url = URLComponents(string: text),
                let scheme = url.scheme, text.utf8.count > scheme.utf8.count + 1
            else {
                throw CertsError(
                    .nameInvalid, "'\(text)' is not an absolute URI", hint: "write it like spiffe://example.com/a")
            }
            return name
        }
    }

    private static func isPrintableASCII(_ text: String) -> Bool { text.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7f } }

    /// A `GENERAL_NAMES *` for a subjectAltName.
    static func make(_ names: [AlternativeName]) throws(CertsError) -> OpenSSLObject {
        let list = try OpenSSLObject(
            certs_sk_GENERAL_NAME_new_null(), { GENERAL_NAMES_free($0) }, "cannot make a list of names")
        for name in names {
            let bytes: [UInt8] =
                if case .ip(let address) = name { address.bytes } else { Array(name.value.utf8) }
            let general = try make(tag(name), bytes)
            guard certs_sk_GENERAL_NAME_push(list.pointer, general) > 0 else {
                GENERAL_NAME_free(general)
                throw .openSSL(.openSSL, "cannot make a list of names")
            }
        }
        return list
    }

    /// One `GENERAL_NAME`, owned by the caller.
    static func make(_ tag: Int32, _ bytes: [UInt8]) throws(CertsError) -> UnsafeMutablePointer<GENERAL_NAME> {
        guard let name = GENERAL_NAME_new(),
            let value = ASN1_STRING_type_new(tag == GEN_IPADD ? V_ASN1_OCTET_STRING : V_ASN1_IA5STRING)
        else { throw .openSSL(.openSSL, "cannot make a name") }
        guard ASN1_STRING_set(value, bytes, Int32(bytes.count)) == 1 else {
            ASN1_STRING_free(value)
            GENERAL_NAME_free(name)
            throw .openSSL(.openSSL, "cannot make a name")
        }
        GENERAL_NAME_set0_value(name, tag, value)
        return name
    }

    private static func tag(_ name: AlternativeName) -> Int32 {
        switch name {
        case .dns: GEN_DNS
        case .ip: GEN_IPADD
        case .email: GEN_EMAIL
        case .uri: GEN_URI
        }
    }

    /// The names of a foreign `GENERAL_NAMES *`, canonical, without duplicates, and how many are of a kind that no
    /// server certificate has (otherName, directoryName …).
    ///
    /// - Throws: `request.malformed` for a name that a certificate could not carry.
    static func read(_ list: OpaquePointer) throws(CertsError) -> (names: [AlternativeName], foreign: Int) {
        var names: [AlternativeName] = []
        var foreign = 0
        for index in 0..<max(0, certs_sk_GENERAL_NAME_count(list)) {
            guard let general = certs_sk_GENERAL_NAME_at(list, index),
                let string = certs_GENERAL_NAME_string(general)
            else {
                foreign += 1
                continue
            }
            let count = Int(ASN1_STRING_length(string))
            let bytes = [UInt8](UnsafeBufferPointer(start: ASN1_STRING_get0_data(string), count: max(0, count)))
            names.append(try name(tag: general.pointee.type, bytes))
        }
        do throws(CertsError) {
            return (try validated(names), foreign)
        } catch {
            throw CertsError(
                .requestMalformed, "the request asks for a name that cannot be: \(error.message)", hint: error.hint)
        }
    }

    private static func name(tag: Int32, _ bytes: [UInt8]) throws(CertsError) -> AlternativeName {
        if tag == GEN_IPADD {
            guard let address = IPAddress(bytes: bytes) else {
                throw CertsError(
                    .requestMalformed, "the request has an IP address of \(bytes.count) bytes",
                    hint: "4 or 16 are allowed")
            }
            return .ip(address)
        }
        guard bytes.allSatisfy({ $0 > 0x20 && $0 < 0x7f }) else {
            let shown = TerminalText.sanitized(String(decoding: bytes, as: UTF8.self), limit: 256)
            throw CertsError(
                .requestMalformed, "the request has the name '\(shown)', which is not printable ASCII",
                hint: "international names must be A-labels (xn--…)")
        }
        let text = String(decoding: bytes, as: UTF8.self)
        return switch tag {
        case GEN_DNS: .dns(text)
        case GEN_EMAIL: .email(text)
        default: .uri(text)
        }
    }
}
