internal import COpenSSL
import CertsCore

/// A distinguished name in a form that can be compared (RFC 5280 §7.1, as far as OpenSSL does it too: letter case and
/// runs of blanks do not count).
struct CanonicalName: Hashable, Sendable {
    struct Attribute: Hashable, Sendable {
        let type: [UInt8]
        let value: [UInt8]
    }

    /// Root first; the attributes of one RDN as a set.
    let rdns: [Set<Attribute>]
    /// `emailAddress` attributes, to which constraints on mail addresses apply too.
    let emails: [[UInt8]]
    /// All common names, in the order of the name.
    let commonNames: [String]

    var isEmpty: Bool { rdns.isEmpty }

    init(_ name: OpaquePointer?) {
        var rdns: [Set<Attribute>] = []
        var emails: [[UInt8]] = []
        var commonNames: [String] = []
        var current: Int32 = -1
        for index in 0..<max(0, name.map { X509_NAME_entry_count($0) } ?? 0) {
            guard let entry = X509_NAME_get_entry(name, index), let object = X509_NAME_ENTRY_get_object(entry),
                let value = X509_NAME_ENTRY_get_data(entry)
            else { continue }
            let type = Array(UnsafeBufferPointer(start: OBJ_get0_data(object), count: OBJ_length(object)))
            let attribute = Attribute(type: type, value: Self.normalized(value))
            let set = X509_NAME_ENTRY_set(entry)
            if set != current || rdns.isEmpty {
                rdns.append([attribute])
                current = set
            } else {
                rdns[rdns.count - 1].insert(attribute)
            }
            switch OBJ_obj2nid(object) {
            case NID_pkcs9_emailAddress: emails.append(Array(ASN1.bytes(value)))
            case NID_commonName: commonNames.append(DistinguishedName.utf8(value))
            default: break
            }
        }
        self.rdns = rdns
        self.emails = emails
        self.commonNames = commonNames
    }

    static func == (left: CanonicalName, right: CanonicalName) -> Bool { left.rdns == right.rdns }
    func hash(into hasher: inout Hasher) { hasher.combine(rdns) }

    /// Whether this name is `base` or below it.
    func isWithin(_ base: CanonicalName) -> Bool { rdns.starts(with: base.rdns) }

    private static func normalized(_ value: UnsafeMutablePointer<asn1_string_st>) -> [UInt8] {
        let text = DistinguishedName.withUTF8(value) { bytes -> [UInt8] in
            var result: [UInt8] = []
            result.reserveCapacity(bytes.count)
            for byte in bytes {
                switch byte {
                case UInt8(ascii: " "), 9...13:
                    if let last = result.last, last != UInt8(ascii: " ") { result.append(UInt8(ascii: " ")) }
                default: result.append(NameSyntax.lowercased(byte))
                }
            }
            if result.last == UInt8(ascii: " ") { result.removeLast() }
            return result
        }
        // A value that is no text is compared octet by octet, and never equals a text.
        return text ?? [0xff] + ASN1.bytes(value)
    }
}

/// A name of a subjectAltName, or the base of a name constraint (RFC 5280 §4.2.1.6, §4.2.1.10), as it is encoded.
enum GeneralName: Hashable, Sendable {
    case dns([UInt8])
    case email([UInt8])
    case uri([UInt8])
    case ip([UInt8])
    case directory(CanonicalName)
    /// otherName, x400Address, ediPartyName, registeredID: kept by kind, because a constraint on a form that cannot be
    /// judged must refuse names of that form.
    case other(kind: Int32)

    init(_ name: UnsafeMutablePointer<GENERAL_NAME>) {
        switch name.pointee.type {
        case GEN_DNS: self = .dns(Array(ASN1.bytes(name.pointee.d.dNSName)))
        case GEN_EMAIL: self = .email(Array(ASN1.bytes(name.pointee.d.rfc822Name)))
        case GEN_URI: self = .uri(Array(ASN1.bytes(name.pointee.d.uniformResourceIdentifier)))
        case GEN_IPADD: self = .ip(Array(ASN1.bytes(name.pointee.d.iPAddress)))
        case GEN_DIRNAME: self = .directory(CanonicalName(name.pointee.d.directoryName))
        default: self = .other(kind: name.pointee.type)
        }
    }

    /// All names of a `GENERAL_NAMES *`.
    static func all(_ names: OpaquePointer) -> [GeneralName] {
        ASN1.elements(names).map { GeneralName($0.assumingMemoryBound(to: GENERAL_NAME.self)) }
    }

    /// For messages.
    var text: String {
        switch self {
        case .dns(let bytes), .email(let bytes), .uri(let bytes):
            TerminalText.sanitized(String(decoding: bytes, as: UTF8.self), limit: 128)
        case .ip(let bytes): IPAddress(bytes: bytes)?.description ?? "#" + Hex.encode(bytes.prefix(40))
        case .directory: "a directory name"
        case .other: "a name of another form"
        }
    }

    /// What is wrong with the name itself, or `nil`.
    var syntaxProblem: String? {
        switch self {
        case .dns(let bytes): NameSyntax.problem(inDNSName: bytes, allowsWildcard: true)
        case .email(let bytes): NameSyntax.isMailbox(bytes) ? nil : "it is no mail address"
        case .uri(let bytes): NameSyntax.isURI(bytes) ? nil : "it is no absolute URI"
        case .ip(let bytes):
            bytes.count == 4 || bytes.count == 16 ? nil : "an IP address has 4 or 16 octets, not \(bytes.count)"
        case .directory, .other: nil
        }
    }
}
