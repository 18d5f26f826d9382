internal import CLDNS
import CertsCore

extension DNSRecord {
    /// `nil` for types and classes that nobody here asks for, and for records whose fields do not fit their type.
    init?(parsing record: UnsafeMutablePointer<ldns_rr>) {
        guard ldns_rr_get_class(record) == LDNS_RR_CLASS_IN, let name = Names.decode(ldns_rr_owner(record)),
            let value = Value(parsing: record)
        else { return nil }
        self.init(name: name, value: value)
    }
}

extension DNSRecord.Value {
    fileprivate init?(parsing record: UnsafeMutablePointer<ldns_rr>) {
        let fields = (0..<ldns_rr_rd_count(record)).compactMap { ldns_rr_rdf(record, $0) }
        switch ldns_rr_get_type(record) {
        case LDNS_RR_TYPE_A, LDNS_RR_TYPE_AAAA:
            guard let field = fields.first, let address = IPAddress(bytes: Self.bytes(field)) else { return nil }
            self = .address(address)
        case LDNS_RR_TYPE_CNAME:
            guard let target = Names.decode(fields.first) else { return nil }
            self = .alias(target)
        case LDNS_RR_TYPE_NS:
            guard let server = Names.decode(fields.first) else { return nil }
            self = .nameServer(server)
        case LDNS_RR_TYPE_SOA:
            guard fields.count == 7, let primary = Names.decode(fields[0]), ldns_rdf_size(fields[2]) == 4 else {
                return nil
            }
            self = .zone(primary: primary, serial: ldns_rdf2native_int32(fields[2]))
        case LDNS_RR_TYPE_TXT:
            // Each string begins with its length (RFC 1035 §3.3).
            self = .text(fields.flatMap { Self.bytes($0).dropFirst() })
        case LDNS_RR_TYPE_CAA:
            guard let caa = Self.caa(fields) else { return nil }
            self = .caa(caa)
        default: return nil
        }
    }

    /// RFC 8659 §4.1: flags, the tag with its length before it, and the rest.
    private static func caa(_ fields: [UnsafeMutablePointer<ldns_rdf>]) -> CAARecord? {
        guard fields.count == 3, let flags = bytes(fields[0]).first else { return nil }
        return CAARecord(
            flags: flags, tag: String(decoding: bytes(fields[1]).dropFirst(), as: UTF8.self),
            value: String(decoding: bytes(fields[2]), as: UTF8.self))
    }

    private static func bytes(_ field: UnsafeMutablePointer<ldns_rdf>) -> [UInt8] {
        guard let data = ldns_rdf_data(field) else { return [] }
        return Array(UnsafeBufferPointer(start: data, count: ldns_rdf_size(field)))
    }
}
